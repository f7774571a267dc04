-- The channels that an upgrade moves components to: a set of the compatibility table, and those named one by one.

local compatibility = require "playbooks.data.compatibility"
local flow = require "flow"

local channels = {}

-- What kind of release a set is, and until when it is maintained, as far as the table says.
function channels.label(set)
	local parts = {}
	for _, field in ipairs { "about", "support" } do
		parts[#parts + 1] = set[field]
	end
	return table.concat(parts, ", ")
end

-- Adds the parameters that name channels.
function channels.params(params)
	local sets, labels = {}, {}
	for i, set in ipairs(compatibility.set) do
		local label = channels.label(set)
		sets[i] = set.name
		labels[i] = label == "" and set.name or set.name .. " (" .. label .. ")"
	end
	local about = "A set of channels that belong together, one per component: " .. table.concat(labels, ", ") .. "."
	params.to = { type = "string", one_of = sets, about = about }
	local newest = compatibility.set[#compatibility.set] or {}
	for _, component in ipairs(flow.components) do
		local example = newest[component.name] and (", for example " .. newest[component.name]) or ""
		params[component.name] = { type = "string", about = "Channel for " .. component.title .. example .. "." }
	end
	return params
end

-- The named set, if there is one.
function channels.set(p)
	for _, set in ipairs(compatibility.set) do
		if set.name == p.to then
			return set
		end
	end
end

-- The channels by component: the set's, overridden by those that are named.
function channels.chosen(p)
	local chosen, set = {}, channels.set(p) or {}
	for _, component in ipairs(flow.components) do
		chosen[component.name] = p[component.name] or set[component.name]
	end
	return chosen
end

-- The parameters with only the components that move, if any does: the others stay as they are, since an update is another
-- procedure.
function channels.only_moved(p)
	local chosen, only, given, kept = channels.chosen(p), {}, {}, {}
	if next(chosen) == nil then
		return p
	end
	for _, component in ipairs(flow.chosen(p)) do
		kept[component.name] = true
		if chosen[component.name] then
			only[#only + 1] = component.name
		end
	end
	for _, component in ipairs(flow.components) do
		if p[component.name] and not kept[component.name] then
			error(component.title .. " is given a channel, but left out by only or skip", 0)
		end
	end
	if #only == 0 then
		error("nothing to move: only and skip leave out every component that has a channel", 0)
	end
	for name, value in pairs(p) do
		given[name] = value
	end
	given.only, given.skip = only, nil
	return given
end

return channels
