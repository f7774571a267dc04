-- Moves components to other channels, in the order in which they depend on each other.

local channels = require "playbooks.channels"
local flow = require "flow"
local waves = require "playbooks.waves"

return flow.playbook {
	api = 1,
	about = "Move MicroCeph, MicroOVN, LXD and MicroCloud to other channels.",
	params = channels.params(waves.params()),
	hooks = waves.hooks,
	waves = waves.shipped,
	stages = function(p)
		return waves.stages(channels.only_moved(p))
	end,
	run = function(_, p, this)
		local chosen = channels.chosen(p)
		if next(chosen) == nil then
			error "no channel is given; name a set (--to 2), or components (for example --microcloud 2/stable)"
		end
		local set = channels.set(p)
		if set then
			log.info("set " .. set.name .. ": " .. channels.label(set))
		end
		return waves.run { params = channels.only_moved(p), channels = chosen, waves = this.waves, hook = this.hook }
	end,
}
