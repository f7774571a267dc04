-- Takes the clusters of a fleet through a playbook, ring by ring. It isn't listed: its parameters are the fleet's rings, which
-- `lockstep fleet rollout` makes of fleet.toml.

local flow = require "flow"

-- The names in a list of failures, each of which carries that of its cluster.
local function labels(failures)
	local names = {}
	for i, failure in ipairs(failures) do
		names[i] = failure.label
	end
	return names
end

-- Those failures whose clusters are in a list of names.
local function of(failures, names)
	local left = {}
	for _, failure in ipairs(failures) do
		for _, name in ipairs(names) do
			if failure.label == name then
				left[#left + 1] = failure
			end
		end
	end
	return left
end

-- The names of clusters.
local function names(clusters)
	local all = {}
	for i, entry in ipairs(clusters) do
		all[i] = entry.name
	end
	return all
end

-- The cluster of this name.
local function named(clusters, name)
	for _, entry in ipairs(clusters) do
		if entry.name == name then
			return entry
		end
	end
end

-- What the hooks around a cluster are given.
local function event(ring, entry, outcome)
	return { ring = ring.name, cluster = entry.name, labels = entry.labels or {}, outcome = outcome }
end

-- The cluster is done, or out of the rollout, whatever becomes of the hook.
local function after(ring, hook, entry, outcome)
	local result = try(hook, "after_cluster", event(ring, entry, outcome))
	if not result.ok then
		log.warn(("%s: after_cluster: %s"):format(entry.name, result.error.message))
	end
end

-- Begins the run of each cluster of a ring as soon as there is room, as long as the budget allows. Returns the names of the
-- clusters whose runs are done, of those that were skipped, and of the others. `this` is the playbook as a site has extended it.
local function take(ring, this)
	local hook = this.hook
	-- How long a run of this ring takes, as far as is known: what is begun has to fit into the rest of its window.
	local longest = 0
	local function hours(w)
		return w
			and {
				days = w.days,
				hours = w.hours,
				zone = w.zone,
				not_on = w.not_on,
				room = longest > 0 and longest .. "s" or nil,
			}
	end
	local function one(entry, _, waits)
		local staged, run = not ring.stage, nil
		-- Whether anything may come before its run, which looks for itself whether there is one.
		local ahead = ring.stage or entry.window or this.hooked "before_cluster"
		repeat
			-- While it waited for its window or for a place, the window may have shut, and somebody may have seen to the cluster.
			local stands = ahead and cluster.state { member = entry.name, window = hours(entry.window) } or {}
			local waiting = stands.outcome == "did not begin"
			if waiting and not staged then
				staged = true
				-- What isn't there when the run begins is fetched then.
				local fetched = try(cluster.stage, { member = entry.name })
				if not fetched.ok then
					log.warn(entry.name .. ": its snaps are not staged: " .. fetched.error.message)
				end
			elseif waiting and not stands.open then
				waits(function()
					cluster.window { member = entry.name, window = hours(entry.window) }
				end)
			else
				local before = waiting and try(hook, "before_cluster", event(ring, entry)) or {}
				run = cluster.run {
					member = entry.name,
					-- The hook may have taken long, or the controller was away.
					window = hours(entry.window),
					barred = before.error and "before_cluster: " .. before.error.message or nil,
				}
			end
		until run and run.outcome ~= "did not begin"
		if run.outcome == "done" then
			longest = math.max(longest, run.seconds)
		elseif run.outcome ~= "skipped" then
			error(run.why and run.outcome .. ": " .. run.why or run.outcome, 0)
		end
		after(ring, hook, entry, run.outcome)
		return run.outcome
	end
	local taken = window(ring.clusters, one, {
		limit = ring.limit,
		budget = ring.budget,
		-- Holds the rollout until enough of them are done, or taken out of it.
		over = function(failures)
			return of(failures, cluster.budget({ clusters = labels(failures), budget = ring.budget }).left)
		end,
	})
	local done, skipped, others = {}, {}, {}
	for i, entry in ipairs(ring.clusters) do
		local list = taken[i].ok and done or others
		if taken[i].value == "skipped" then
			list = skipped
		end
		list[#list + 1] = entry.name
	end
	return done, skipped, others
end

local function add(all, more)
	for _, name in ipairs(more) do
		all[#all + 1] = name
	end
end

return flow.playbook {
	api = 1,
	about = "Take the clusters of a fleet through a playbook, ring by ring.",
	stages = function(p)
		if next(p) == nil then
			error("this belongs to a fleet; try it with: lockstep fleet rollout PLAYBOOK --dry-run", 0)
		end
		return names(p.rings)
	end,
	hooks = { "before_ring", "before_cluster", "after_cluster", "after_ring" },
	run = function(_, p, this)
		local count, skipped, left = 0, {}, {}
		each(p.rings, function(ring)
			if ring.approve then
				confirm(("Start ring %s with %d clusters?"):format(ring.name, #ring.clusters))
			end
			this.hook("before_ring", { ring = ring.name, clusters = names(ring.clusters) })
			local done, out, others = take(ring, this)
			add(skipped, out)
			if #others > 0 then
				local settled = cluster.settle { ring = ring.name, clusters = others }
				-- Their runs came to their ends after the rollout had seen them stop.
				for _, outcome in ipairs { "done", "skipped" } do
					each(settled[outcome], function(name)
						after(ring, this.hook, named(ring.clusters, name), outcome)
					end)
				end
				add(done, settled.done)
				add(skipped, settled.skipped)
				add(left, settled.left)
			end
			count = count + #done
			if ring.soak then
				time.sleep { span = ring.soak }
				parallel(done, function(name)
					cluster.verify { member = name }
				end, { limit = ring.limit })
			end
			this.hook("after_ring", { ring = ring.name, clusters = names(ring.clusters), done = done })
		end)
		return { clusters = count, skipped = skipped, left = left }
	end,
}
