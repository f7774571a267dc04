-- Refreshes every component within its channel: MicroCeph, MicroOVN, LXD, MicroCloud.

local flow = require "flow"
local waves = require "playbooks.waves"

local M = flow.playbook {
	api = 1,
	about = "Refresh MicroCeph, MicroOVN, LXD and MicroCloud within their channels.",
	params = waves.params(),
	hooks = waves.hooks,
	stages = waves.stages,
}

function M.run(_, p)
	return waves.run(M, p, {})
end

return M
