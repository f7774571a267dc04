-- Mistakes that the type checker must find, each of another kind. Not a playbook.

local M = { api = 1 }

function M.run()
	local r = snap.refresh { member = "m", snp = "lxd" }
	if r.chnged then
		snap.refresh { snap = "lxd" }
	end
	exec { member = "m", argv = { "x" }, effect = "maybe" }
	microceph.wait { samples = "three" }
end

return M
