-- What playbooks are written with: how one is declared, extended, and asked for its hooks. Everything here is plain Lua.

local flow = {}

-- The components in the order in which they are refreshed, as MicroCloud's own guide has it.
flow.components = {
	{ name = "microceph", title = "MicroCeph" },
	{ name = "microovn", title = "MicroOVN" },
	{ name = "lxd", title = "LXD" },
	{ name = "microcloud", title = "MicroCloud" },
}

local function known_names(list)
	local names = {}
	for _, name in ipairs(list) do
		names[name] = true
	end
	return names
end

-- Declares a playbook:
--
--   local M = flow.playbook { api = 1, about = "…", params = { … }, hooks = { "before_member" } }
--   function M.run(cluster, p) … end
--   return M
function flow.playbook(spec)
	local known = known_names { "api", "about", "params", "hooks", "stages" }
	for key in pairs(spec) do
		if not known[key] then
			error('flow.playbook: unknown field "' .. key .. '"', 2)
		end
	end
	local M = { api = spec.api, about = spec.about, params = spec.params or {}, stages = spec.stages }
	local names, hooks = known_names(spec.hooks or {}), {}

	-- Calls what a site has put on a hook, in a scope of its own: a plan shows what the site added.
	function M.hook(name, event)
		if not names[name] then
			error('there is no hook "' .. name .. '"', 2)
		end
		if hooks[name] then
			section(name, function()
				hooks[name](event)
			end)
		end
	end

	-- A site's version of a playbook: values for its parameters, and functions for its hooks.
	function M.extend(_, changes)
		for key, value in pairs(changes) do
			if key == "params" then
				for param, default in pairs(value) do
					local declared = M.params[param]
					if not declared then
						error('there is no parameter "' .. param .. '"', 2)
					end
					declared.default = default
				end
			elseif names[key] then
				hooks[key] = value
			else
				local all = {}
				for hook in pairs(names) do
					all[#all + 1] = hook
				end
				error('there is no hook "' .. key .. '"; there are: ' .. table.concat(all, ", "), 2)
			end
		end
		return M
	end

	return M
end

-- The component's record in what status.read or status.require returned.
function flow.component(state, name)
	for _, component in ipairs(state.components) do
		if component.name == name then
			return component
		end
	end
	error('there is no component "' .. name .. '"', 2)
end

-- The components that a run is about, by its parameters `only` and `skip`.
function flow.chosen(p)
	local only, skip, chosen = known_names(p.only or {}), known_names(p.skip or {}), {}
	for _, component in ipairs(flow.components) do
		local wanted = next(only) == nil or only[component.name]
		if wanted and not skip[component.name] then
			chosen[#chosen + 1] = component
		end
	end
	return chosen
end

-- Parameters that every procedure over components takes. Fewer looks make a gate open sooner, and on less evidence.
function flow.component_params()
	local names = {}
	for i, component in ipairs(flow.components) do
		names[i] = component.name
	end
	return {
		downtime = {
			type = "boolean",
			about = "Allow storage or network downtime without asking (clusters of fewer than three members).",
		},
		accept = { type = "list", about = "Preflight checks to accept even if they fail." },
		backup = {
			type = "boolean",
			default = true,
			about = "Copy the control plane on each member before the first change.",
		},
		only = { type = "list", one_of = names, about = "Only these components." },
		looks = { type = "integer", about = "Consecutive healthy checks before a storage or network gate opens." },
		skip = { type = "list", one_of = names, about = "Skip these components." },
	}
end

return flow
