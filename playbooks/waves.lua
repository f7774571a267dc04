-- What is around the waves, of which `update` and `upgrade` are made: checks, the lock, the backup, and the look at the end.
-- How one component is refreshed across all members is in a file of its own, `waves/lxd.lua` and the like.

local compatibility = require "playbooks.data.compatibility"
local evacuation = require "playbooks.evacuation"
local flow = require "flow"
local hazards = require "playbooks.data.hazards"
local wave = require "playbooks.waves.wave"

local waves = {}

-- The wave of each component. A site may replace any of them.
waves.shipped = {
	microceph = require "playbooks.waves.microceph",
	microovn = require "playbooks.waves.microovn",
	lxd = require "playbooks.waves.lxd",
	microcloud = require "playbooks.waves.microcloud",
}

-- The stages of a run with these parameters, for whoever watches it.
function waves.stages(p)
	local stages = { "Record" }
	stages[#stages + 1] = p.backup ~= false and "Backup" or nil
	stages[#stages + 1] = p.stage ~= false and "Downloads" or nil
	for _, component in ipairs(flow.chosen(p)) do
		stages[#stages + 1] = component.title
	end
	return stages
end

-- The hooks that a playbook made of waves offers to sites.
waves.hooks = { "before_wave", "before_member", "after_member", "after_wave" }

-- The parameters of a playbook made of waves.
function waves.params()
	local params = flow.component_params()
	for name, param in pairs(evacuation.params) do
		params[name] = param
	end
	return params
end

-- How many seconds a component's control plane may take no changes: for each member, or in all. Guesses, on the long side
-- of what was measured with small snaps. A plan knows better: it asks the runs that the cluster had.
local seconds = { microceph = { each = 25 }, microovn = { each = 20 }, lxd = { all = 60 }, microcloud = { each = 10 } }

-- About so long.
local function about(guess)
	if guess < 100 then
		return ("%d s"):format(guess)
	end
	return ("%d min"):format(math.ceil(guess / 60))
end

-- The members on which a refresh would bring another revision, as far as is known beforehand, and which that is.
local function moving(report, name, channel)
	local moves, any, revision = {}, false, nil
	for _, member in ipairs(report.status.members) do
		local has, offers = member.snaps[name], report.updates[member.name] or {}
		if has and (offers[name] or has.cohort ~= "+" or (channel and channel ~= has.channel)) then
			moves[member.name], any = true, true
		end
		if offers[name] and not channel then
			revision = wave.newer(offers[name].revision, revision)
		end
	end
	return moves, any, revision
end

-- Whether this check's refusal is accepted.
local function accepts(p, check)
	for _, accepted in ipairs(p.accept or {}) do
		if accepted == check then
			return true
		end
	end
	return false
end

-- Why storage or network stops while one of its members is away.
local stops = {}

function stops.microceph()
	return microceph.baseline({}).downtime
end

function stops.microovn(members)
	return microovn.order({ members = members }).downtime
end

-- Where storage or network can't do without a member, this is said before anything changes, and confirmed.
local function accepted(component, asked)
	local reasons = stops[component.name] and stops[component.name](component.members) or {}
	if #reasons > 0 and not asked then
		local why = table.concat(reasons, "; ")
		confirm(component.title .. " will stop while members are refreshed (" .. why .. "). Continue?")
	end
	return #reasons > 0
end

-- What is known beforehand about the waves to run, in order. A component that is out of step is refreshed on every
-- member.
local function planned(report, p, channels)
	local chain = {}
	for _, chosen in ipairs(flow.chosen(p)) do
		local component, channel = flow.component(report.status, chosen.name), channels[chosen.name]
		local moves, any, revision = moving(report, chosen.name, channel)
		if #component.members == 0 then
			log.info(chosen.title .. " is not installed")
		elseif not any and component.in_step and component.health == "ok" then
			log.info(chosen.title .. ": nothing to do")
		else
			chain[#chain + 1] = { component = component, channel = channel, moves = moves, revision = revision }
		end
	end
	return chain
end

-- What is worth knowing about a healthy cluster: Ceph may warn of what is no danger to data.
local function notes(status)
	local all = {}
	for _, component in ipairs(status.components) do
		for _, note in ipairs(component.notes) do
			all[#all + 1] = component.title .. ": " .. note
			log.warn(all[#all])
		end
	end
	return all
end

-- The snaps that aren't held, by member, of chosen components that are not refreshed: waves hold their own.
local function loose(status, p, chain)
	local left, found = {}, {}
	for _, chosen in ipairs(flow.chosen(p)) do
		left[chosen.name] = true
	end
	for _, plan in ipairs(chain) do
		left[plan.component.name] = nil
	end
	for _, member in ipairs(status.members) do
		local snaps = {}
		for name, snap in pairs(member.snaps) do
			if left[name] and not snap.held then
				snaps[#snaps + 1] = name
			end
		end
		if #snaps > 0 then
			found[#found + 1] = { name = member.name, snaps = snaps }
		end
	end
	return found
end

local function hold(unheld)
	if #unheld == 0 then
		return
	end
	section("Holds", function()
		parallel(unheld, function(member)
			for _, name in ipairs(member.snaps) do
				snap.hold { member = member.name, snap = name }
			end
		end)
	end)
end

-- What changed on which member, by component.
local function changes(before, after)
	local changed = {}
	for i, member in ipairs(after.members) do
		for name, now in pairs(member.snaps) do
			local was = before.members[i].snaps[name]
			if was and was.revision ~= now.revision then
				changed[name] = changed[name] or {}
				changed[name][member.name] = was.revision .. " → " .. now.revision
			end
		end
	end
	return changed
end

-- What an operator has to know during a wave. With a newer schema, refreshed members wait for the last one, and the
-- daemons of the others don't start again once they are stopped.
local function announce(plan)
	local component, count = plan.component, 0
	for _ in pairs(plan.moves) do
		count = count + 1
	end
	if count == 0 or #component.members == 1 then
		return
	end
	local guess = seconds[component.name]
	log.info(
		("%s may take no changes until all members have the release, for about %s (a guess). "):format(
			component.title,
			about(guess.all or guess.each * count)
		) .. "Don't reboot a member that isn't refreshed yet: its daemon may not start again until it is"
	)
end

-- Runs the wave of a component, the shipped one or a site's. Returns its notes for the end of the run.
local function run_wave(plan, given, away)
	local component, hook = plan.component, given.hook
	return section(component.title, function()
		announce(plan)
		parallel(component.members, function(member)
			snap.hold { member = member, snap = component.name }
		end)
		-- A program of the snap that somebody runs keeps that member from being refreshed, while the others are.
		if not accepts(given.params, "clients") then
			snap.wait { snap = component.name }
		end
		hook("before_wave", { component = component.name })
		local own = wave.new {
			component = component,
			channel = plan.channel,
			moves = plan.moves,
			revision = plan.revision,
			downtime = plan.downtime,
			looks = given.params.looks,
			hook = hook,
			evacuate = away,
		}
		given.waves[component.name](own)
		hook("after_wave", { component = component.name })
		return own.notes
	end)
end

-- While a run changes the cluster no other one does, whoever starts it and from wherever.
local function with_lock(body)
	return finally(function()
		lock.take {}
		return body()
	end, function()
		lock.release {}
	end)
end

-- The components whose daemon doesn't serve on a member because members have different releases.
local function unserved(status, member)
	local names = {}
	for _, component in ipairs(status.components) do
		local halfway = component.halfway or { waiting = {}, stopped = {} }
		for _, list in ipairs { halfway.waiting, halfway.stopped } do
			for _, name in ipairs(list) do
				names[#names + 1] = name == member and component.name or nil
			end
		end
	end
	return #names > 0 and names or nil
end

-- Copies the control plane on every member, and verifies the copies. Returns where they are, by member.
local function back_up(status)
	local folders = {}
	parallel(status.members, function(member)
		local taken = backup.take { member = member.name, unserved = unserved(status, member.name) }
		folders[member.name] = taken.folder
		backup.verify { member = member.name }
	end)
	return folders
end

-- Fetches what the members will be refreshed to, so that no wave waits for a download. What can't be fetched ahead is
-- downloaded by the refresh itself. Returns what was fetched, and what wasn't and why, by member and snap.
local function fetch(status, chain)
	local there, missing = {}, {}
	parallel(status.members, function(member)
		for _, plan in ipairs(chain) do
			local name = plan.component.name
			if plan.moves[member.name] then
				local fetched = try(snap.stage, { member = member.name, snap = name, channel = plan.channel })
				if fetched.ok then
					there[member.name] = there[member.name] or {}
					there[member.name][name] = fetched.value.revision
				else
					missing[member.name] = missing[member.name] or {}
					missing[member.name][name] = fetched.error.message
				end
			end
		end
	end)
	return there, missing
end

-- What isn't fetched, on which members and why: a line for each snap and reason.
local function unfetched(status, missing)
	local lines, known = {}, {}
	for _, member in ipairs(status.members) do
		for name, why in pairs(missing[member.name] or {}) do
			local key = name .. why
			if not known[key] then
				known[key] = { name = name, why = why, members = {} }
				lines[#lines + 1] = known[key]
			end
			local members = known[key].members
			members[#members + 1] = member.name
		end
	end
	for i, line in ipairs(lines) do
		lines[i] = line.name .. " on " .. table.concat(line.members, ", ") .. ": " .. line.why
	end
	return lines
end

-- What runs side by side before the first member is refreshed. Returns where the backups are, by member, and what must be
-- the same at the end.
local function prepare(p, before, chain)
	---@type any
	local lasting
	local folders = {}
	local jobs = {
		{
			name = "Record",
			run = function()
				lasting = status.lasting {}
			end,
		},
	}
	if p.backup == false then
		log.warn "no backup is taken (backup = false)"
	else
		jobs[#jobs + 1] = {
			name = "Backup",
			run = function()
				folders = back_up(before)
			end,
		}
	end
	if p.stage ~= false then
		jobs[#jobs + 1] = {
			name = "Downloads",
			run = function()
				local _, missing = fetch(before, chain)
				for _, line in ipairs(unfetched(before, missing)) do
					log.warn("not fetched ahead, so its refresh downloads it: " .. line)
				end
			end,
		}
	end
	parallel(jobs, function(job)
		job.run()
	end)
	return folders, lasting
end

-- Checks everything that speaks against continuing. The arguments of preflight.read and preflight.require.
function waves.preflight(p, channels)
	local components = {}
	for i, component in ipairs(flow.chosen(p)) do
		components[i] = component.name
	end
	return {
		accept = p.accept or {},
		channels = channels,
		components = components,
		hazards = hazards.hazard,
		paths = compatibility.path,
		sets = compatibility.set,
		together = compatibility.together,
		tracks = compatibility.track,
	}
end

-- Fetches what an update, or an upgrade to the given channels, would bring, and changes nothing else.
function waves.stage(p, channels)
	local given = { accept = {}, only = p.only, skip = p.skip }
	local report = preflight.read(waves.preflight(given, channels))
	local chain = planned(report, given, channels)
	local there, missing = fetch(report.status, chain)
	local lines = unfetched(report.status, missing)
	if #lines > 0 then
		error("not everything could be fetched: " .. table.concat(lines, "; "), 0)
	end
	return { fetched = there }
end

-- Runs a wave for each of the chosen components. `given` has the parameters, the `waves` by component, the `hook` that calls
-- what a site has put on it, and the `channels` to move to, by component; without one, a component stays in the channel it
-- follows. Returns what changed, by component.
function waves.run(given)
	local p, channels = given.params, given.channels
	local report = preflight.require(waves.preflight(p, channels))
	local before, chain = report.status, planned(report, p, channels)
	local unheld = loose(before, p, chain)
	if #chain == 0 and #unheld == 0 then
		return { changed = {}, components = {}, notes = notes(before) }
	end
	for _, plan in ipairs(chain) do
		local from = table.concat(plan.component.channels, " and ")
		if plan.channel and from ~= plan.channel then
			log.info(plan.component.title .. ": " .. from .. " → " .. plan.channel)
		end
	end
	for _, plan in ipairs(chain) do
		plan.downtime = accepted(plan.component, p.downtime)
	end

	return with_lock(function()
		hold(unheld)
		if #chain == 0 then
			return { changed = {}, components = {}, notes = notes(before) }
		end
		local folders, lasting = prepare(p, before, chain)
		local moved, noted = {}, {}
		evacuation.around(p, flow.component(before, "lxd"), chain, function(away)
			for i, plan in ipairs(chain) do
				for _, note in ipairs(run_wave(plan, given, away)) do
					noted[#noted + 1] = note
				end
				moved[i] = plan.component.name
			end
		end)
		-- Storage may still be catching up with a member that was away in the wave of another component.
		local patience = { times = 20, every = "15s" }
		local after = status.require { health = "ok", in_step = true, components = moved, retry = patience }
		status.unharmed { since = lasting }
		local all = notes(after)
		for _, note in ipairs(noted) do
			all[#all + 1] = note
		end
		return { backup = folders, changed = changes(before, after), components = moved, notes = all }
	end)
end

return waves
