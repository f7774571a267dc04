-- Our LXD wave: the shipped one, with our portal closed meanwhile, since it speaks to LXD's API. However the wave ends, the
-- portal is opened again.

local shipped = require "playbooks.waves.lxd"

local function portal(what)
	exec { member = "lb1", argv = { "/usr/local/bin/portal", what }, effect = "converge" }
end

---@param wave lockstep.Wave
return function(wave)
	finally(function()
		portal "close"
		shipped(wave)
	end, function()
		portal "open"
	end)
end
