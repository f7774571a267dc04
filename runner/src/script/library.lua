-- What playbooks have of Lua's own library where that isn't as it was, or could take for ever.
local host, raise, traced, safe_tostring = ...

-- In here patterns are matched as ever: these are short.
local find, format, gsub, match, sub = string.find, string.format, string.gsub, string.match, string.sub
local concat, move, pack, sort, unpack = table.concat, table.move, table.pack, table.sort, table.unpack

local library = {}

-- Order: what depends on hash seeds or addresses elsewhere doesn't here.

local function sorted_keys(t)
	local keys = {}
	for key in next, t do
		if type(key) ~= "number" and type(key) ~= "string" then
			raise("script", "a table with a " .. type(key) .. " as a key has no order")
		end
		keys[#keys + 1] = key
	end
	sort(keys, function(a, b)
		if type(a) ~= type(b) then
			return type(a) == "number"
		end
		return a < b
	end)
	return keys
end

function library.next(t, key)
	for _, candidate in ipairs(sorted_keys(t)) do
		local behind = key == nil
			or type(candidate) == type(key) and candidate > key
			or type(candidate) == "string" and type(key) == "number"
		if behind then
			return candidate, rawget(t, candidate)
		end
	end
	return nil
end

-- What to write where there may be nothing.
local function or_empty(t)
	return t == nil and ': where there may be none, write "or {}" behind it' or ""
end

function library.ipairs(t)
	if type(t) ~= "table" then
		raise("script", "ipairs: expected a list, got " .. type(t) .. or_empty(t))
	end
	return ipairs(t)
end

function library.pairs(t)
	local mt = getmetatable(t)
	if type(mt) == "table" and mt.__pairs then
		return mt.__pairs(t)
	end
	if type(t) ~= "table" then
		raise("script", "pairs: expected a table, got " .. type(t) .. or_empty(t))
	end
	local keys, i = sorted_keys(t), 0
	return function()
		while true do
			i = i + 1
			local key = keys[i]
			if key == nil or rawget(t, key) ~= nil then
				return key, rawget(t, key)
			end
		end
	end,
		t,
		nil
end

-- Calls a function of Lua's own for the playbook: what it complains of has the playbook's line, not the one in here.
local function lend(fn, ...)
	local r = pack(xpcall(fn, traced, ...))
	if r[1] then
		return unpack(r, 2, r.n)
	end
	local e = r[2]
	local placed = type(e) ~= "string" or match(e, "^[^\n:]+:%d+: ")
	error(e, placed and 0 or 2)
end

function library.setmetatable(t, mt)
	if type(mt) == "table" and (rawget(mt, "__gc") ~= nil or rawget(mt, "__mode") ~= nil) then
		raise("script", "setmetatable: __gc and __mode depend on the collector's timing")
	end
	return lend(setmetatable, t, mt)
end

function library.format(template, ...)
	if type(template) == "string" and find(gsub(template, "%%%%", ""), "%%[-+ #0-9.]*p") then
		raise("script", "string.format: %p prints an address, which differs from run to run")
	end
	local args = pack(...)
	for i = 1, args.n do
		if type(args[i]) == "table" or type(args[i]) == "function" then
			args[i] = safe_tostring(args[i])
		end
	end
	return lend(format, template, unpack(args, 1, args.n))
end

-- Nothing but numbers says how much there is to move.
function library.move(...)
	local _, first, last = ...
	if math.type(first) == "integer" and math.type(last) == "integer" and first <= last then
		local count = last - first
		if count < 0 or not host.affords(count) then
			error("table.move: this is more than a playbook may move between two steps", 2)
		end
	end
	return lend(move, ...)
end

-- A table may say that it is longer than anything that could be moved.
local MOST_MOVED = 1 << 20

local function of_length(name)
	local plain = table[name]
	return function(t, ...)
		if type(t) == "table" and #t > MOST_MOVED then
			raise("script", format("table.%s: there are more than %d elements to move", name, MOST_MOVED))
		end
		return lend(plain, t, ...)
	end
end

library.insert, library.remove = of_length "insert", of_length "remove"

-- Patterns are matched by the host, which ends what takes too long.

function library.gmatch(...)
	local ok, subject, pattern, from = host.gmatch(...)
	if not ok then
		error(subject, 2)
	end
	local last
	local function found(ok, first, behind, ...)
		if not ok then
			error(first, 2)
		elseif first then
			from, last = behind, behind
			return ...
		end
	end
	return function()
		return found(host.scan(subject, pattern, from, last))
	end
end

function library.gsub(...)
	local ok, subject, pattern, anchored, most = host.gsub(...)
	if not ok then
		error(subject, 2)
	elseif not most then
		return subject, pattern
	end
	-- What a function or a table says takes the matches' place. It is asked from here, so that errors and steps pass through.
	local by = select(3, ...)
	local indexed = type(by) == "table"
	local parts, count, changed, from, last = {}, 0, false, 1, nil
	while count < most do
		local found = pack(host.scan(subject, pattern, from, last, anchored, indexed))
		local first, behind = found[2], found[3]
		if not found[1] then
			error(first, 2)
		elseif not first then
			break
		end
		local value
		if indexed then
			value = by[found[4]]
		else
			value = by(unpack(found, 4, found.n))
		end
		local kind = type(value)
		if not value then
			value = sub(subject, first, behind - 1)
		elseif kind == "string" or kind == "number" then
			changed = true
		else
			error("invalid replacement value (a " .. kind .. ")", 2)
		end
		parts[#parts + 1], parts[#parts + 2] = sub(subject, from, first - 1), value
		count, from, last = count + 1, behind, behind
		if anchored then
			break
		end
	end
	if not changed then
		return subject, count
	end
	parts[#parts + 1] = sub(subject, from)
	return concat(parts), count
end

return library
