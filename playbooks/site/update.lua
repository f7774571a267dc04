-- A worked example of a site's own update: our load balancer and our chat room, around the shipped playbook.
--
--   lockstep run site/update.lua --cluster cluster.toml
--
-- `lb` is a module of ours, the program modules/lb.py. It works on lb1, a machine beside the cluster. The cluster file has
-- it so:
--
--   [[machines]]
--   name = "lb1"

-- luacheck: read globals lb

local update = require "playbooks.update"

return update:extend {
	-- A parameter's value for this site; the command line still wins.
	params = { skip = { "microcloud" } },

	-- A wave of ours in place of the shipped one: lib/lxd.lua.
	waves = { lxd = require "lib.lxd" },

	before_member = function(event)
		lb.drain { backend = event.member }
	end,

	after_member = function(event)
		lb.enable { backend = event.member }
		-- A chat room that is down is no reason to stop.
		local sent = try(exec, {
			member = "lb1",
			argv = { "/usr/local/bin/say", event.member .. " has " .. event.component },
			effect = "once",
		})
		if not sent.ok then
			log.warn("the chat room is down: " .. sent.error.message)
		end
	end,
}
