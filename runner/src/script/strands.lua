-- Strands: what runs side by side, in batches, or in a window that slides.
local host, of = ...

local yield, running, unpack, sort = coroutine.yield, coroutine.running, table.unpack, table.sort
local raw_format, raw_tostring, raw_pcall = string.format, tostring, pcall
local check_cancelled, check_count, check_function = of.check_cancelled, of.check_count, of.check_function
local check_options, labels_of, may_wait = of.check_options, of.labels_of, of.may_wait
local scoped, try, record = of.scoped, of.try, of.failure

local strands = {}

local function fork(who, list, fn, limit)
	local labels = labels_of(who, list)
	check_function(who, fn)
	may_wait(who)
	if #labels == 0 then
		return labels, {}
	end
	return labels, yield("fork", labels, limit or #labels, function(i)
		return fn(list[i], i)
	end)
end

local function several(labels, results)
	local failures = {}
	for i, label in ipairs(labels) do
		if results[i] and not results[i].ok then
			local failure = results[i].error
			failure.label = label
			failures[#failures + 1] = failure
		end
	end
	return failures
end

local function raise_several(failures, of)
	-- Where the run is aborted, that is why the strands failed, and all there is to say.
	check_cancelled()
	local first = failures[1]
	local more = #failures > 1 and raw_format(" and %d more", #failures - 1) or ""
	error(
		record {
			kind = "several",
			message = raw_format("%d of %d failed: %s: %s%s", #failures, of, first.label, first.message, more),
			failures = failures,
			site = host.site(),
		},
		0
	)
end

local function values(results)
	local out = {}
	for i, result in ipairs(results) do
		out[i] = result.value
	end
	return out
end

function strands.parallel(list, fn, options)
	options = check_options("parallel", options, { limit = true })
	check_count("parallel", "limit", options.limit, 1)
	local labels, results = fork("parallel", list, fn, options.limit)
	local failures = several(labels, results)
	if #failures > 0 then
		raise_several(failures, #labels)
	end
	return values(results)
end

function strands.rolling(list, fn, options)
	options = check_options("rolling", options, { batch = true, max_failed = true, between = true })
	check_count("rolling", "batch", options.batch, 1)
	check_count("rolling", "max_failed", options.max_failed, 0)
	local all, batch, max_failed = labels_of("rolling", list), options.batch or 1, options.max_failed or 0
	local failures, out = {}, {}
	for first = 1, #all, batch do
		local part = { unpack(list, first, math.min(first + batch - 1, #all)) }
		-- As long as a failure more would be put up with, failures are data and not a reason to hold.
		local tolerant = #failures < max_failed
		if tolerant then
			host.catch(1)
		end
		local labels, results = fork("rolling", part, fn)
		if tolerant then
			host.catch(-1)
		end
		for _, failure in ipairs(several(labels, results)) do
			failures[#failures + 1] = failure
			if #failures <= max_failed then
				host.warn(raw_tostring(failure))
			end
		end
		for i, value in pairs(values(results)) do
			out[first + i - 1] = value
		end
		if #failures > max_failed then
			raise_several(failures, #all)
		end
		if options.between and first + batch <= #all then
			scoped("between", options.between, part)
		end
	end
	return out
end

-- Sliding: one more is begun whenever one has ended. Failures are data, and counted before each start; once they are more than
-- the budget, nothing more is begun, and `over` has the last word when those under way have ended: it gets the failures and
-- returns those that still count. An item that has to wait before it begins does so in `waits`, its third argument: others have its
-- place meanwhile, and `over` isn't kept waiting by it.
function strands.window(list, fn, options)
	options = check_options("window", options, { limit = true, budget = true, over = true })
	check_count("window", "limit", options.limit, 1)
	check_count("window", "budget", options.budget, 0)
	if options.over ~= nil then
		check_function("window", options.over)
	end
	local budget, failures, out = options.budget or 0, {}, {}
	local labels, put_back = labels_of("window", list), {}
	-- What ends it all, and that nothing more is begun because of that.
	local fatal, over
	local function one(item, i)
		local own, away = running(), false
		-- Over the budget an item is put back, now or later, as long as it has begun nothing.
		local function room()
			if over or #failures > budget then
				put_back[i] = true
				error("no more is begun", 0)
			end
		end
		local function waits(until_then)
			check_function("waits", until_then)
			may_wait "waits"
			if away or running() ~= own then
				error("waits: an item waits for one thing at a time, and not in strands of its own", 2)
			end
			away = true
			yield "aside"
			local ended, why = raw_pcall(until_then)
			yield "back"
			away = false
			if not ended then
				error(why, 0)
			end
			room()
		end
		local result = try(function()
			room()
			return fn(item, i, waits)
		end)
		if put_back[i] then
			return
		end
		out[i] = result
		if not result.ok then
			result.error.label = labels[i]
			failures[#failures + 1] = result.error
			host.warn(labels[i] .. ": " .. raw_tostring(result.error))
		end
	end
	-- Comes back whenever no item has a place: those that aren't among the results wait.
	local _, results, number = fork("window", list, one, options.limit)
	while true do
		local waiting, again = false, {}
		for i in ipairs(labels) do
			local result = results[i]
			waiting = waiting or not result
			-- What `one` itself raises is that the run is being aborted.
			if result and not result.ok then
				fatal = fatal or result
			end
		end
		if not fatal and not over and #failures > budget then
			local asked = { ok = true, value = failures }
			if options.over then
				asked.ok, asked.value = raw_pcall(options.over, failures)
			end
			if asked.ok and type(asked.value) ~= "table" then
				asked = { value = raw_format("window: over returned %s, no list of failures", type(asked.value)) }
			end
			if asked.ok then
				failures = asked.value
			else
				fatal = { error = asked.value }
			end
		end
		over = fatal ~= nil or #failures > budget
		for i in pairs(put_back) do
			if not over then
				again[#again + 1] = i
			end
		end
		sort(again)
		if #again == 0 and not waiting then
			break
		end
		put_back = {}
		results = yield("rejoin", number, again)
	end
	if fatal then
		error(fatal.error, 0)
	elseif over then
		raise_several(failures, #labels)
	end
	return out
end

return strands
