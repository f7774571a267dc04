-- One wave per component: how its snap is refreshed across all members. `update` and `upgrade` are made of these.

local evacuation = require "playbooks.evacuation"
local flow = require "flow"
local compatibility = require "playbooks.data.compatibility"
local hazards = require "playbooks.data.hazards"

local waves = {}

-- What a run with these parameters goes through, for whoever watches it.
function waves.stages(p)
	local stages = p.backup ~= false and { "Backup" } or {}
	for _, component in ipairs(flow.chosen(p)) do
		stages[#stages + 1] = component.title
	end
	return stages
end

-- The hooks that a playbook made of waves offers to sites.
waves.hooks = { "before_wave", "before_member", "after_member", "after_wave" }

-- What a playbook made of waves takes.
function waves.params()
	local params = flow.component_params()
	for name, param in pairs(evacuation.params) do
		params[name] = param
	end
	return params
end

-- How many minutes a component's control plane may take no changes: for each member, or in all. Guesses, on the long side.
local minutes = { microceph = { each = 2 }, microovn = { each = 1 }, lxd = { all = 5 }, microcloud = { each = 0.5 } }

-- A wave is a record: the playbook's `hook`, its `component` as it was before (members, health), the `channel` to move to
-- (none to stay), the `revision` that all members are to have and the newer one that took its place (`replaced`), which one
-- each `has` by now, those that have it coming (`moves`), how many good `looks` open a gate, whether `downtime` is accepted,
-- and so programs of the snap that people run (`clients`), whether any member is `ahead` of the others and the point of no
-- return is `past` by now, and `away`, which runs a member's refresh with its instances out of the way if that is asked for.

-- While a member is away Ceph shall not start to move its data. Whoever set the flag gives it back.
local function with_noout(member, body)
	local set = microceph.noout { member = member, on = true }
	finally(body, function()
		if set.changed then
			local back = microceph.noout { member = member, on = false }
			if not (back.changed or back.kept) then
				log.warn(member .. ": noout, which this run had set, was cleared by somebody else")
			end
		end
	end)
end

-- A server that is busy shall not be taken for dead in the middle of a conversion. Whoever raised the timers gives them back.
local function with_patience(body)
	local timers = microovn.timers {}
	finally(body, function()
		if timers.changed then
			microovn.timers { back = timers.was }
		end
	end)
end

-- The revision that a refreshed member could go back to: what it had, as long as no other member has the new release and the
-- point of no return isn't behind. Two that are ahead keep each other from going back, where the release has a newer schema.
local function way_back(wave, had)
	local alone = wave.component.in_step and #wave.component.members > 1 and not wave.ahead
	wave.ahead = true
	if alone and not wave.past then
		return had
	end
end

-- The newer one of two revisions, either of which may be missing.
local function newer(one, other)
	if (tonumber(one) or 0) > (tonumber(other) or 0) then
		return one
	end
	return other
end

-- Refreshes the wave's snap on one member between the site's hooks, and waits for the gate if anything moved.
local function refresh(wave, member, gate)
	local name = wave.component.name
	wave.hook("before_member", { member = member, component = name })
	local r = snap.refresh {
		member = member,
		snap = name,
		channel = wave.channel,
		revision = wave.revision,
		replaced = "tell",
		downtime = wave.downtime,
	}
	wave.has[member] = r.to
	wave.replaced = newer(r.replaced, wave.replaced)
	-- Where nobody could tell beforehand, the first member that gets another one shows what all are to have.
	wave.revision = wave.revision or (r.changed and r.to or nil)
	if r.changed and gate then
		gate(member, way_back(wave, r.from))
	end
	wave.hook("after_member", { member = member, component = name, changed = r.changed })
end

-- A component's databases change for good when its last member gets the new release, and what Ceph's monitors keep with the
-- last of them. Where it is moved to another channel, that is said, and asked if somebody is there.
local function point_of_no_return(wave)
	local component, channel = wave.component, wave.channel
	if channel and (#component.channels > 1 or component.channels[1] ~= channel) then
		wave.past = true
		local what = "from here on there is no way back for "
			.. component.title
			.. " to an older release than "
			.. channel
		log.warn("point of no return: " .. what)
		confirm(what:gsub("^f", "F") .. ". Continue?", { unattended = "go-on" })
	end
end

-- A newer release took the place of the one that members have by now. Some with the one and some with the other would block
-- each other, so either all of them get the newer one or none.
local function take_newer(wave, members)
	local there = {}
	for _, member in ipairs(members) do
		if wave.has[member] == wave.revision then
			there[#there + 1] = member
		end
	end
	local title, old, new = wave.component.title, wave.revision, wave.replaced
	local instead = #there > 0 and (", which " .. table.concat(there, ", ") .. (#there > 1 and " have" or " has")) or ""
	local what = title .. ": the store has " .. new .. " now in place of " .. old .. instead .. ". "
	local other = " If not, abort this run: what it did stays, and the next run takes all members to the newest."
	confirm(what .. "Take all members to " .. new .. "?" .. other)
	wave.revision, wave.replaced = new, nil
end

-- Takes the members through `each` (`rolling` or `parallel`), and once more those that have fallen behind: where nobody could
-- tell beforehand what all are to have, a member that was given nothing new is noticed when another one is; and where a
-- newer release comes out meanwhile, nobody is begun with until it is agreed upon.
local function together(wave, each, members, fn)
	local function one(member)
		if not wave.replaced then
			fn(member)
		end
	end
	each(members, one)
	wave.revision = wave.revision or wave.has[members[1]]
	repeat
		local again = wave.replaced ~= nil
		if again then
			take_newer(wave, members)
		end
		for _, member in ipairs(members) do
			wave.revision = newer(wave.has[member], wave.revision)
		end
		local behind = {}
		for _, member in ipairs(members) do
			if wave.has[member] ~= wave.revision then
				behind[#behind + 1] = member
				wave.moves[member] = true
			end
		end
		each(behind, one)
	until not again and not wave.replaced
end

-- The last of the members with a monitor that are to get a new release. Until it has it, the others' monitors can go back:
-- monmap and their stores change when all of them have it (seen from 18.2 to 20.2).
local function last_monitor(wave, order, mons)
	local has_monitor, last = {}, nil
	for _, name in ipairs(mons) do
		has_monitor[name] = true
	end
	for _, member in ipairs(order) do
		last = has_monitor[member] and wave.moves[member] and member or last
	end
	return last
end

-- Members that are behind come first: daemons of others may wait for them, or theirs may not run before. Where the
-- component goes to another channel the order is the products' own.
local function behind_first(wave, order)
	local halfway = wave.component.halfway
	if not halfway or wave.channel then
		return order
	end
	local is_behind, first, rest = {}, {}, {}
	for _, member in ipairs(halfway.behind) do
		is_behind[member] = true
	end
	for _, member in ipairs(order) do
		local list = is_behind[member] and first or rest
		list[#list + 1] = member
	end
	for _, member in ipairs(rest) do
		first[#first + 1] = member
	end
	return first
end

local run = {}

-- One member after the other, each behind a gate before and a gate after it. A member that has the release already stops
-- for nothing, and needs none.
function run.microceph(wave)
	local before = microceph.baseline {}
	local function gate(member, had)
		microceph.wait { member = member, before = had, since = before, samples = wave.looks }
	end
	local order = behind_first(wave, microceph.order({ members = wave.component.members }).members)
	local last = last_monitor(wave, order, before.mons)
	together(wave, rolling, order, function(member)
		if not wave.moves[member] then
			return refresh(wave, member, gate)
		end
		if member == last then
			point_of_no_return(wave)
		end
		wave:away(member, function()
			microceph.spare { member = member, since = before, downtime = wave.downtime }
			with_noout(member, function()
				refresh(wave, member, gate)
			end)
		end)
	end)
	microceph.finish { since = before, samples = wave.looks }
end

-- As with storage. With a newer schema the daemons wait until the last member has it, so all of them online is asked for
-- only behind the wave; so is the conversion of the databases.
function run.microovn(wave)
	local function gate(member, had)
		microovn.wait { member = member, before = had, samples = wave.looks }
	end
	with_patience(function()
		local order = behind_first(wave, microovn.order({ members = wave.component.members }).members)
		together(wave, rolling, order, function(member)
			if not wave.moves[member] then
				return refresh(wave, member, gate)
			end
			if member == order[#order] then
				point_of_no_return(wave)
			end
			wave:away(member, function()
				microovn.spare { member = member, downtime = wave.downtime }
				refresh(wave, member, gate)
			end)
		end)
		microovn.wait { samples = wave.looks }
	end)
end

-- All members at once: those that are ahead are blocked until the last one has caught up, so a gate between two members
-- would never open. A member that lags behind refreshes itself within the channel it follows: all follow the target
-- before the first one moves.
function run.lxd(wave)
	-- Of members that are blocked from an earlier attempt, LXD can't tell what they run.
	local before = wave.component.health == "ok" and lxd.instances {} or nil
	point_of_no_return(wave)
	parallel(wave.component.members, function(member)
		snap.switch { member = member, snap = "lxd", channel = wave.channel }
	end)
	together(wave, parallel, wave.component.members, function(member)
		refresh(wave, member)
	end)
	lxd.wait {}
	if before then
		local started = lxd.unharmed({ since = before.instances }).started or {}
		if #started > 0 then
			local names = table.concat(started, ", ")
			wave.note = "LXD started instances that were stopped before (boot.autostart): " .. names
			log.warn(wave.note)
		end
	end
end

-- One member after the other, and only when LXD is ready everywhere: MicroCloud's daemon doesn't start without it.
function run.microcloud(wave)
	local members = behind_first(wave, wave.component.members)
	together(wave, rolling, members, function(member)
		if member == members[#members] then
			point_of_no_return(wave)
		end
		refresh(wave, member, function(_, had)
			microcloud.wait { member = member, before = had }
		end)
	end)
	microcloud.wait {}
end

-- The members on which a refresh would bring another revision, as far as can be told beforehand, and which that is.
local function moving(report, name, channel)
	local moves, any, revision = {}, false, nil
	for _, member in ipairs(report.status.members) do
		local has, offers = member.snaps[name], report.updates[member.name] or {}
		if has and (offers[name] or has.cohort ~= "+" or (channel and channel ~= has.channel)) then
			moves[member.name], any = true, true
		end
		if offers[name] and not channel then
			revision = newer(offers[name].revision, revision)
		end
	end
	return moves, any, revision
end

-- Why storage or network stops while one of its members is away.
local stops = {}

function stops.microceph()
	return microceph.baseline({}).downtime
end

function stops.microovn(members)
	return microovn.order({ members = members }).downtime
end

-- Where storage or network can't do without a member, that is said before anything is changed, and asked.
local function accepted(component, asked)
	local reasons = stops[component.name] and stops[component.name](component.members) or {}
	if #reasons > 0 and not asked then
		local why = table.concat(reasons, "; ")
		confirm(component.title .. " will stop while members are refreshed (" .. why .. "). Continue?")
	end
	return #reasons > 0
end

-- The waves that are to be run, in order. A component that is out of step is refreshed on every member.
local function planned(M, report, p, channels)
	local chain = {}
	for _, chosen in ipairs(flow.chosen(p)) do
		local component, channel = flow.component(report.status, chosen.name), channels[chosen.name]
		local moves, any, revision = moving(report, chosen.name, channel)
		if #component.members == 0 then
			log.info(chosen.title .. " is not installed")
		elseif not any and component.in_step and component.health == "ok" then
			log.info(chosen.title .. ": nothing to do")
		else
			chain[#chain + 1] = {
				hook = M.hook,
				component = component,
				channel = channel,
				revision = revision,
				has = {},
				moves = moves,
				looks = p.looks,
			}
		end
	end
	return chain
end

-- What is worth knowing of a cluster that is well: Ceph may call it ill for what is no harm to data.
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
	for _, wave in ipairs(chain) do
		left[wave.component.name] = nil
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

-- What became different on which member, by component.
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

-- What an operator has to know while a wave is on. With a newer schema refreshed members wait for the last one, and the
-- daemons of the others don't start again once they are stopped.
local function announce(wave)
	local component, count = wave.component, 0
	for _ in pairs(wave.moves) do
		count = count + 1
	end
	if count == 0 or #component.members == 1 then
		return
	end
	local guess = minutes[component.name]
	log.info(
		("%s may take no changes until all members have the release, for about %d min (a guess). "):format(
			component.title,
			math.ceil(guess.all or guess.each * count)
		) .. "Don't reboot a member that isn't refreshed yet: its daemon may not start again until it is"
	)
end

local function run_wave(wave)
	local component = wave.component
	section(component.title, function()
		announce(wave)
		parallel(component.members, function(member)
			snap.hold { member = member, snap = component.name }
		end)
		-- A program of the snap that somebody runs keeps that member from being refreshed, while the others are.
		if not wave.clients then
			snap.wait { snap = component.name }
		end
		wave.hook("before_wave", { component = component.name })
		run[component.name](wave)
		wave.hook("after_wave", { component = component.name })
	end)
end

-- While a run changes the cluster no other one does, whoever begins it and from wherever.
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

-- Copies the control plane on every member, and sees that the copies are whole. Returns where they are, by member.
local function back_up(status)
	local folders = {}
	section("Backup", function()
		parallel(status.members, function(member)
			local taken = backup.take { member = member.name, unserved = unserved(status, member.name) }
			folders[member.name] = taken.folder
			backup.verify { member = member.name }
		end)
	end)
	return folders
end

-- Looks at everything that speaks against going on. The arguments of preflight.read and preflight.require.
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

-- Runs a wave for each of the chosen components. `channels` gives the channel to move to, by component; without one, a
-- component stays in the channel that it follows. Returns what changed, by component.
function waves.run(M, p, channels)
	local report = preflight.require(waves.preflight(p, channels))
	local before, chain = report.status, planned(M, report, p, channels)
	local unheld = loose(before, p, chain)
	if #chain == 0 and #unheld == 0 then
		return { changed = {}, components = {}, notes = notes(before) }
	end
	for _, wave in ipairs(chain) do
		local from = table.concat(wave.component.channels, " and ")
		if wave.channel and from ~= wave.channel then
			log.info(wave.component.title .. ": " .. from .. " → " .. wave.channel)
		end
	end
	for _, wave in ipairs(chain) do
		wave.downtime = accepted(wave.component, p.downtime)
		for _, check in ipairs(p.accept or {}) do
			wave.clients = wave.clients or check == "clients"
		end
	end

	return with_lock(function()
		hold(unheld)
		if #chain == 0 then
			return { changed = {}, components = {}, notes = notes(before) }
		end
		local lasting, folders = status.lasting {}, {}
		if p.backup == false then
			log.warn "no backup is taken (backup = false)"
		else
			folders = back_up(before)
		end
		local moved = {}
		evacuation.around(p, flow.component(before, "lxd"), chain, function(away)
			for i, wave in ipairs(chain) do
				wave.away = away
				run_wave(wave)
				moved[i] = wave.component.name
			end
		end)
		-- Storage may still be catching up with a member that was away in the wave of another component.
		local patience = { times = 20, every = "15s" }
		local after = status.require { health = "ok", in_step = true, components = moved, retry = patience }
		status.unharmed { since = lasting }
		local all = notes(after)
		for _, wave in ipairs(chain) do
			all[#all + 1] = wave.note
		end
		return { backup = folders, changed = changes(before, after), components = moved, notes = all }
	end)
end

return waves
