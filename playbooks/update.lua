-- Refreshes every component within its channel: MicroCeph, MicroOVN, LXD, MicroCloud.

local flow = require "flow"
local waves = require "playbooks.waves"

return flow.playbook {
	api = 1,
	about = "Refresh MicroCeph, MicroOVN, LXD and MicroCloud within their channels.",
	params = waves.params(),
	hooks = waves.hooks,
	waves = waves.shipped,
	stages = waves.stages,
	run = function(_, p, this)
		return waves.run { params = p, channels = {}, waves = this.waves, hook = this.hook }
	end,
}
