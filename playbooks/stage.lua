-- Fetches the snaps that an update, or an upgrade to the given channels, would install, so that its window has no download.

local channels = require "playbooks.channels"
local flow = require "flow"
local waves = require "playbooks.waves"

local all = flow.component_params()

return flow.playbook {
	api = 1,
	about = "Fetch the snaps of an update, or of an upgrade to the given channels, ahead of it.",
	params = channels.params { only = all.only, skip = all.skip },
	-- Parameters that contradict each other are refused before anything is looked at.
	stages = function(p)
		channels.only_moved(p)
		return {}
	end,
	run = function(_, p)
		local given = channels.only_moved(p)
		return waves.stage(given, channels.chosen(p))
	end,
}
