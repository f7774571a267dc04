-- Our update: the shipped one, with what our site does around it.
--
--   lockstep run FILE --help     what it takes
--   lockstep plan FILE           what it will do
--   lockstep check FILE          which rules it breaks under faults and interruptions
--   lockstep doc                 everything that it can call
--
-- FILE can also be run on a simulated cluster: add --cluster twin:3.

local update = require "playbooks.update"

return update:extend {
	-- Values for its parameters at our site. The command line still wins.
	params = {
		backup = true,
	},

	-- A wave in place of the shipped one: a function in a file of ours, lib/lxd.lua. Of microceph, microovn, lxd and microcloud
	-- each has one; `lockstep types` writes the shipped ones to types/playbooks/waves/, where ours may begin.
	--
	--   waves = { lxd = require "lib.lxd" },

	-- Around the wave of a component: event.component.
	before_wave = function(event)
		log.info(event.component .. " is next")
	end,
	after_wave = function(event)
		log.info(event.component .. " is done")
	end,

	-- Around each of its members: event.member, event.component. Every call of an op is a step like those of the update:
	-- it is in the plan, in the journal, and holds the run when it fails.
	before_member = function(event)
		exec {
			member = event.member,
			argv = { "/usr/bin/logger", "lockstep: " .. event.component .. " is about to be refreshed" },
			effect = "converge",
		}
	end,
	-- Afterwards also event.changed: whether it has another revision now.
	after_member = function(event)
		if event.changed then
			-- Wrap steps that may fail in try: then they don't hold the run.
			local said = try(exec, {
				member = event.member,
				argv = { "/usr/bin/logger", "lockstep: " .. event.component .. " was refreshed" },
				effect = "converge",
			})
			if not said.ok then
				log.warn(said.error.message)
			end
		end
	end,
}
