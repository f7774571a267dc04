-- Moves components to other channels, in the order in which they depend on each other.

local flow = require "flow"
local waves = require "playbooks.waves"

local params = waves.params()
for _, component in ipairs(flow.components) do
	params[component.name] =
		{ type = "string", about = "Channel for " .. component.title .. ", for example 5.21/stable." }
end

local M = flow.playbook {
	api = 1,
	about = "Move MicroCeph, MicroOVN, LXD and MicroCloud to other channels.",
	params = params,
	hooks = waves.hooks,
}

function M.run(cluster, p)
	local channels, only = {}, {}
	for _, component in ipairs(flow.components) do
		local channel = p[component.name]
		if channel then
			channels[component.name] = channel
			only[#only + 1] = component.name
		end
	end
	if #only == 0 then
		error "no channel is given: name one for each component that is to move, for example -p microceph=tentacle/stable"
	end
	-- What isn't moved stays as it is: an update is another procedure.
	local chosen = { only = only }
	for name, value in pairs(p) do
		chosen[name] = chosen[name] or value
	end
	return waves.run(M, cluster, chosen, channels)
end

return M
