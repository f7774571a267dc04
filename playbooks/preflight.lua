-- Only looks: whether an update, or an upgrade to the given channels, can start.

local channels = require "playbooks.channels"
local flow = require "flow"
local waves = require "playbooks.waves"

return flow.playbook {
	api = 1,
	about = "Check whether the cluster is ready for an update, or an upgrade to the given channels.",
	params = channels.params(flow.component_params()),
	-- Parameters that contradict each other are refused before anything is looked at.
	stages = function(p)
		channels.only_moved(p)
		return {}
	end,
	run = function(_, p)
		return preflight.read(waves.preflight(channels.only_moved(p), channels.chosen(p)))
	end,
}
