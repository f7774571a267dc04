-- The channels that an upgrade moves components to: a set of the compatibility table, and those named one by one.

local compatibility = require "playbooks.data.compatibility"
local flow = require "flow"

local channels = {}

-- Adds the parameters that name channels.
function channels.params(params)
	local sets = {}
	for i, set in ipairs(compatibility.set) do
		sets[i] = set.name
	end
	params.to = { type = "string", one_of = sets, about = "A set of channels that go together, one a component." }
	local newest = compatibility.set[#compatibility.set] or {}
	for _, component in ipairs(flow.components) do
		local example = newest[component.name] and (", for example " .. newest[component.name]) or ""
		params[component.name] = { type = "string", about = "Channel for " .. component.title .. example .. "." }
	end
	return params
end

-- The channels by component: the set's, and over it those that are named.
function channels.chosen(p)
	local chosen = {}
	for _, set in ipairs(compatibility.set) do
		if set.name == p.to then
			for _, component in ipairs(flow.components) do
				chosen[component.name] = set[component.name]
			end
		end
	end
	for _, component in ipairs(flow.components) do
		chosen[component.name] = p[component.name] or chosen[component.name]
	end
	return chosen
end

return channels
