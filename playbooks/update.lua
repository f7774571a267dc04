-- Refreshes every component within its channel: MicroCeph, MicroOVN, LXD, MicroCloud.

local flow = require "flow"
local waves = require "playbooks.waves"

local M = flow.playbook {
	api = 1,
	about = "Refresh MicroCeph, MicroOVN, LXD and MicroCloud within their channels.",
	params = flow.component_params(),
	hooks = waves.hooks,
}

function M.run(cluster, p)
	return waves.run(M, cluster, p, {})
end

return M
