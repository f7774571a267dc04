-- The base of all playbooks: how one is declared, extended, and asked for its hooks. Everything here is plain Lua.

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

-- The line is that of the caller: lockstep finds it even where `return update:extend { … }` leaves none on the stack.
local function refuse(why)
	error(why, 0)
end

-- A change to a copy changes nothing else: `require` gives the same table to everybody.
local function copy(t)
	local other = {}
	for key, value in pairs(t or {}) do
		other[key] = value
	end
	return other
end

-- The functions of a playbook's hooks or waves, with a site's in place of those that it names.
local function with_functions(kind, known, functions, own)
	local all = copy(functions)
	for name, fn in pairs(own) do
		if not known[name] then
			local names = {}
			for there in pairs(known) do
				names[#names + 1] = there
			end
			local there = #names > 0 and "there are: " .. table.concat(names, ", ") or "this playbook has none"
			refuse(("there is no %s %q; %s"):format(kind, name, there))
		end
		if type(fn) ~= "function" then
			refuse(("the %s %q: expected a function, got %s"):format(kind, name, type(fn)))
		end
		all[name] = fn
	end
	return all
end

-- The parameters of a playbook, with a site's defaults.
local function with_defaults(params, own)
	local all = {}
	for name, param in pairs(params or {}) do
		all[name] = copy(param)
	end
	for name, default in pairs(own) do
		if not all[name] then
			refuse('there is no parameter "' .. name .. '"')
		end
		all[name].default = default
	end
	return all
end

-- A playbook as it is declared, with what a site has put on its hooks.
local function made(spec, placed)
	local M = { api = spec.api, about = spec.about, params = spec.params, stages = spec.stages, waves = spec.waves }
	local hooks = known_names(spec.hooks or {})

	local run = spec.run and function(cluster, p)
		return spec.run(cluster, p, M)
	end
	M.run = run

	-- What a site has put on a hook.
	local function placed_on(name)
		if not hooks[name] then
			error('there is no hook "' .. name .. '"', 3)
		end
		return placed[name]
	end

	-- Whether a site has put something on a hook.
	function M.hooked(name)
		return placed_on(name) ~= nil
	end

	-- Calls what a site has put on a hook, in a scope of its own: a plan shows what the site added.
	function M.hook(name, event)
		local fn = placed_on(name)
		if fn then
			section(name, function()
				fn(event)
			end)
		end
	end

	-- A site's version of a playbook, beside it: values for its parameters, functions for its hooks, and waves in place of
	-- its own.
	---@param changes lockstep.Extension
	function M.extend(_, changes)
		if M.run ~= run then
			refuse "only a playbook that has its run in flow.playbook { … } can be extended"
		end
		local own, hooked = copy(spec), copy(changes)
		own.params = with_defaults(spec.params, changes.params or {})
		own.waves = with_functions("wave", spec.waves or {}, spec.waves, changes.waves or {})
		hooked.params, hooked.waves = nil, nil
		return made(own, with_functions("hook", hooks, placed, hooked))
	end

	return M
end

-- Declares a playbook:
--
--   return flow.playbook {
--     api = 1, about = "…", params = { … }, hooks = { "before_member" }, waves = { lxd = function(wave) … end },
--     run = function(cluster, p, this) … end,
--   }
--
-- `this` is the playbook as a site has extended it: `this.hook(name, event)` calls what the site has put there,
-- `this.hooked(name)` says whether it has put anything, and `this.waves` are the waves with the site's among them. One that
-- can't be extended may have its `run` added afterwards:
--
--   local M = flow.playbook { api = 1, about = "…" }
--   function M.run(cluster, p) … end
--   return M
function flow.playbook(spec)
	local known = known_names { "api", "about", "params", "hooks", "waves", "stages", "run" }
	for key in pairs(spec) do
		if not known[key] then
			refuse('flow.playbook: unknown field "' .. key .. '"')
		end
	end
	return made(spec, {})
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
		stage = {
			type = "boolean",
			default = true,
			about = "Fetch all snaps on each member before the first service stops.",
		},
		only = { type = "list", one_of = names, about = "Only these components." },
		looks = { type = "integer", about = "Consecutive healthy checks before a storage or network gate opens." },
		skip = { type = "list", one_of = names, about = "Skip these components." },
	}
end

return flow
