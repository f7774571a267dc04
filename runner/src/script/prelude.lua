-- What playbooks see of lockstep, built over the primitives that the host hands in.
-- There are two ways out of here, both by `yield`: a step, and a fork of strands. All else is plain Lua.
local host, library, strands = ...

local yield, isyieldable = coroutine.yield, coroutine.isyieldable
local raw_pcall, raw_xpcall, raw_tostring, raw_load = pcall, xpcall, tostring, load
local raw_getmetatable, raw_setmetatable, raw_format = getmetatable, setmetatable, string.format
-- In here patterns are matched as ever: these are short.
local raw_match, raw_find = string.match, string.find
local pack, unpack = table.pack, table.unpack

local prelude = {}

-- Errors: a record with a metatable of its own, so that it is one good line when printed.

local Failure = {}

function Failure.__tostring(e)
	local who = e.member and (e.member .. ": ") or ""
	local what = e.op and (e.op .. ": ") or ""
	local where = e.site and (" (" .. e.site .. ")") or ""
	return who .. what .. raw_tostring(e.message) .. where
end

function prelude.failure(fields)
	for _, inner in ipairs(fields.failures or {}) do
		prelude.failure(inner)
	end
	return raw_setmetatable(fields, Failure)
end

local function raise(kind, message)
	error(prelude.failure { kind = kind, message = message, site = host.site() }, 0)
end

-- Where errors came from, by error. Rethrowing one (as sections do) would lose it.
local tracebacks = raw_setmetatable({}, { __mode = "k" })

local function traced(e)
	if e ~= nil and not tracebacks[e] then
		tracebacks[e] = host.traceback()
	end
	return e
end

local function safe_tostring(v)
	local mt = raw_getmetatable(v)
	if (type(v) == "table" or type(v) == "function") and not (type(mt) == "table" and mt.__tostring) then
		return type(v)
	end
	return raw_tostring(v)
end

-- An error as the playbook may have it: what Rust raises is no text, and of a memory that is used up Lua says next to nothing.
local function told(e)
	if type(e) == "userdata" or e == "not enough memory" then
		return host.message(e)
	end
	return e
end

-- Any error as a record.
local function normal(e)
	e = told(e)
	if raw_getmetatable(e) == Failure then
		return e
	end
	local fields = { kind = "script" }
	if type(e) == "table" then
		fields.message = type(e.message) == "string" and e.message or "the playbook raised a table"
	else
		fields.message = safe_tostring(e)
		local site, rest = raw_match(fields.message, "^([^\n:]+:%d+): (.*)$")
		if site then
			fields.site, fields.message = site, rest
		end
	end
	return prelude.failure(fields)
end

-- Scopes: the labels that make up a step's path.

local function scoped(label, fn, ...)
	local depth = host.depth()
	host.enter(label)
	local r = pack(raw_xpcall(fn, traced, ...))
	host.leave(depth)
	if not r[1] then
		error(r[2], 0)
	end
	return unpack(r, 2, r.n)
end

local function callable(fn)
	local mt = raw_getmetatable(fn)
	return type(fn) == "function" or (type(mt) == "table" and mt.__call ~= nil)
end

local function check_label(who, label)
	if type(label) ~= "string" or label == "" or raw_find(label, "[/#%c]") then
		local what = "%s: a label is a text without '/', '#' and line breaks, got %q"
		raise("script", raw_format(what, who, safe_tostring(label)))
	end
	return label
end

local function check_function(who, fn)
	if not callable(fn) then
		raise("script", who .. ": expected a function, got " .. type(fn))
	end
end

-- One label an item: a text stands for itself, a record is known by its name.
local function labels_of(who, list)
	if type(list) ~= "table" then
		raise("script", who .. ": expected a list, got " .. type(list))
	end
	local labels, seen = {}, {}
	for i, item in ipairs(list) do
		local label = item
		if type(item) == "table" then
			label = rawget(item, "name") or rawget(item, "label")
		elseif type(item) == "number" then
			label = raw_tostring(item)
		end
		check_label(who, label)
		if seen[label] then
			raise(
				"script",
				who
					.. ": the label "
					.. raw_format("%q", label)
					.. " stands twice in the list: steps are known by their labels"
			)
		end
		seen[label], labels[i] = true, label
	end
	return labels
end

local function check_options(who, options, known)
	for key in pairs(options or {}) do
		if not known[key] then
			local option = safe_tostring(key)
			raise("script", raw_format("%s: unknown option %q%s", who, option, host.hint(option, known)))
		end
	end
	return options or {}
end

local function check_count(who, name, value, least)
	if value ~= nil and (math.type(value) ~= "integer" or value < least) then
		raise("script", who .. ": " .. name .. " is a whole number from " .. least .. " on")
	end
end

-- Steps.

local function may_wait(what)
	if host.loading() then
		raise("script", what .. " can't be called while a file is being loaded: wrap it in a function")
	end
	if not isyieldable() then
		raise(
			"script",
			what
				.. " can't be called here: Lua can't wait inside a sort comparator or __tostring;"
				.. " ask for what you need before"
		)
	end
end

local function check_cancelled()
	if host.cancelled() then
		raise("cancelled", "the run is being aborted")
	end
end

local function step(op, args)
	may_wait(op)
	check_cancelled()
	local ok, result = yield("step", op, args, host.site(), host.traceback())
	if ok then
		return result
	end
	error(result, 0)
end

local function confirm(question, options)
	if type(question) ~= "string" then
		raise("args", "confirm: expected a question, got " .. type(question))
	end
	options = check_options("confirm", options, { unattended = true })
	step("confirm", { question = question, unattended = options.unattended })
end

-- Flow.

local function section(name, fn)
	check_label("section", name)
	check_function("section", fn)
	return scoped(name, fn)
end

local function each(list, fn)
	local labels = labels_of("each", list)
	check_function("each", fn)
	for i, label in ipairs(labels) do
		scoped(label, fn, list[i], i)
	end
end

-- Errors as data.

local function catching(protected, fn, ...)
	local depth = host.depth()
	host.catch(1)
	local r = pack(protected(fn, ...))
	host.leave(depth)
	host.catch(-1)
	if not r[1] then
		-- Nobody tries again, or something else, while the run is aborted.
		check_cancelled()
		r[2] = told(r[2])
	end
	return r
end

local function try(fn, ...)
	check_function("try", fn)
	local r = catching(raw_xpcall, fn, traced, ...)
	if r[1] then
		return { ok = true, value = r[2] }
	end
	return { ok = false, error = normal(r[2]) }
end

local function finally(body, cleanup)
	check_function("finally", body)
	check_function("finally", cleanup)
	local depth = host.depth()
	local r = pack(raw_xpcall(body, traced))
	host.leave(depth)
	host.clean(1)
	local cleaned = pack(raw_xpcall(scoped, traced, "finally", cleanup, r[1]))
	host.clean(-1)
	if not cleaned[1] then
		error(cleaned[2], 0)
	end
	if not r[1] then
		error(r[2], 0)
	end
	return unpack(r, 2, r.n)
end

local library = library(host, raise, traced, safe_tostring)

local strands = strands(host, {
	check_cancelled = check_cancelled,
	check_count = check_count,
	check_function = check_function,
	check_options = check_options,
	labels_of = labels_of,
	may_wait = may_wait,
	failure = prelude.failure,
	scoped = scoped,
	try = try,
})

-- A table that can only be read, and only where something is.
local function frozen(name, t)
	return raw_setmetatable({}, {
		__index = function(_, key)
			local value = t[key]
			if value == nil then
				raise(
					"script",
					raw_format("there is no %s.%s%s", name, safe_tostring(key), host.hint(safe_tostring(key), t))
				)
			end
			return value
		end,
		__newindex = function(_, key)
			raise("script", raw_format("%s.%s can't be set: %s belongs to lockstep", name, safe_tostring(key), name))
		end,
		__pairs = function()
			return library.pairs(t)
		end,
		__metatable = false,
	})
end

-- A result: reading a field that the op doesn't have is a mistake, not nil. Optional fields that are absent are nil.
function prelude.strict(names)
	return {
		__index = function(_, key)
			if names[key] then
				return nil
			end
			raise(
				"script",
				raw_format("there is no field %q here%s", safe_tostring(key), host.hint(safe_tostring(key), names))
			)
		end,
	}
end

-- What nobody can know before it is done: looking at it is a mistake, passing it on isn't.
function prelude.unknown(what)
	local function ask(_, key)
		raise(
			"unknown",
			raw_format("%s is asked for, and can't be known before it is done: %s", safe_tostring(key), what)
		)
	end
	return raw_setmetatable({}, { __index = ask, __pairs = ask, __len = ask, __metatable = false })
end

local function without(t, removed, replaced)
	local copy = {}
	for key, value in pairs(t) do
		copy[key] = value
	end
	for _, key in ipairs(removed) do
		copy[key] = nil
	end
	for key, value in pairs(replaced or {}) do
		copy[key] = value
	end
	return copy
end

-- The environment of playbooks.

local safe_string = frozen(
	"string",
	without(string, { "dump" }, {
		find = host.find,
		format = library.format,
		gmatch = library.gmatch,
		gsub = library.gsub,
		match = host.match,
		rep = host.rep,
	})
)
raw_getmetatable("").__index = safe_string
raw_getmetatable("").__metatable = false

local function say(level)
	return function(...)
		local words = pack(...)
		for i = 1, words.n do
			words[i] = safe_tostring(words[i])
		end
		host[level](table.concat(words, "\t"))
	end
end

local known = {
	assert = assert,
	each = each,
	error = error,
	finally = finally,
	getmetatable = getmetatable,
	ipairs = library.ipairs,
	log = frozen("log", { info = say "info", warn = say "warn" }),
	math = frozen("math", without(math, { "randomseed" })),
	next = library.next,
	pairs = library.pairs,
	parallel = strands.parallel,
	print = say "info",
	rawequal = rawequal,
	rawget = rawget,
	rawlen = rawlen,
	rolling = strands.rolling,
	section = section,
	select = select,
	setmetatable = library.setmetatable,
	string = safe_string,
	table = frozen(
		"table",
		without(table, {}, { insert = library.insert, move = library.move, remove = library.remove })
	),
	tonumber = tonumber,
	tostring = safe_tostring,
	try = try,
	type = type,
	utf8 = frozen("utf8", utf8),
	window = strands.window,
}

function known.pcall(fn, ...)
	local r = catching(raw_pcall, fn, ...)
	return unpack(r, 1, r.n)
end

function known.xpcall(fn, handler, ...)
	local function handle(e)
		return handler(told(e))
	end
	local r = catching(raw_xpcall, fn, type(handler) == "function" and handle or handler, ...)
	return unpack(r, 1, r.n)
end

-- Modules of ops; a module of one op of its own name is that function.
for module, names in pairs(host.ops) do
	local functions = {}
	for _, name in ipairs(names) do
		local verb = raw_match(name, "%.(.*)$")
		local function call(args, ...)
			if select("#", ...) > 0 or (args ~= nil and type(args) ~= "table") then
				raise("args", name .. ": takes one table of named arguments")
			end
			return step(name, args or {})
		end
		if verb then
			functions[verb] = call
		else
			known[name] = call
		end
	end
	if next(functions) then
		known[module] = frozen(module, functions)
	end
end

-- A question reads best as one.
known.confirm = confirm

local env = raw_setmetatable({}, {
	__index = function(_, name)
		local value = known[name]
		if value == nil then
			local why = host.removed[name]
			if why then
				raise("script", raw_format("%s isn't there in playbooks: %s", safe_tostring(name), why))
			end
			raise("script", raw_format("there is no %q%s", safe_tostring(name), host.hint(safe_tostring(name), known)))
		end
		return value
	end,
	__newindex = function(_, name)
		raise(
			"script",
			raw_format('%q is assigned but not declared: write "local %s"', safe_tostring(name), safe_tostring(name))
		)
	end,
	__metatable = false,
})

-- require: ours. A file is loaded once, in the environment above, and may not wait for anything.

local loaded, being_loaded = {}, {}

function prelude.load(name)
	if loaded[name] then
		return loaded[name].value
	end
	if being_loaded[name] then
		raise("script", raw_format("require: %q requires itself", name))
	end
	if not host.loading() then
		raise("script", raw_format("require %q: only at the top of a file, so that it is captured with the run", name))
	end
	local chunk, text = host.source(name)
	if not chunk then
		raise("script", raw_format("require: %s", text))
	end
	if raw_find(chunk, "%.toml$") then
		local table, complaint = host.data(name, chunk, text)
		if complaint then
			error(complaint, 0)
		end
		loaded[name] = { value = table }
		return table
	end
	local fn, complaint = raw_load(text, "@" .. chunk, "t", env)
	if not fn then
		local placed = complaint:sub(1, #chunk + 1) == chunk .. ":"
		error(placed and complaint or raw_format("%s:1: %s", chunk, complaint), 0)
	end
	local required = next(being_loaded) ~= nil
	being_loaded[name] = true
	local value = fn(name)
	being_loaded[name] = nil
	if value == nil and required then
		raise("script", raw_format('require: %s returns nothing: end it with "return M"', chunk))
	end
	loaded[name] = { value = value }
	return loaded[name].value
end

function known.require(name)
	if type(name) ~= "string" then
		raise("script", "require: expected the name of a module, got " .. type(name))
	end
	return prelude.load(name)
end

-- The root of every strand: errors become records here at the latest.
function prelude.strand(fn, ...)
	local r = pack(raw_xpcall(fn, traced, ...))
	if r[1] then
		return true, r[2]
	end
	local record, traceback = normal(r[2]), tracebacks[r[2]]
	record.traceback = record.traceback or traceback
	record.site = record.site or raw_match(traceback or "", "^[^\n]-:%d+") or host.site()
	return false, record
end

return prelude
