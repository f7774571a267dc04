-- Calls that don't fit their ops, where no run on a healthy cluster comes by.
local function rescue(members)
	for _, member in ipairs(members) do
		snap.refesh { member = member, snap = "lxd" }
		snap.refresh { membr = member, snap = "lxd" }
		snap.refresh { member = member }
		snap.switch { member = member, snap = "lxd", channel = "latest" }
		status.require { health = "good" }
		time.sleep { length = 5 }
		lxd.wait { timeout = "soon" }
		exec { member = member, argv = "uptime" }
	end
end

return {
	api = 1,
	run = function(cluster)
		if #cluster.members > 50 then
			rescue(cluster.members)
		end
		local microceph = { wait = function(_) end }
		microceph.wait { storage = "of one's own" }
	end,
}
