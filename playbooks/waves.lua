-- One wave per component: how its snap is refreshed across all members. `update` and `upgrade` are made of these.

local flow = require "flow"
local compatibility = require "playbooks.data.compatibility"
local hazards = require "playbooks.data.hazards"

local waves = {}

-- The hooks that a playbook made of waves offers to sites.
waves.hooks = { "before_wave", "before_member", "after_member", "after_wave" }

-- A wave is a record: the playbook's `hook`, its `component` as it was before (members, health), the `channel` to move to
-- (none to stay), and how many good `looks` open a gate.

-- While a member is away Ceph shall not start to move its data. Whoever set the flag gives it back.
local function with_noout(member, body)
	local set = microceph.noout { member = member, on = true }
	finally(body, function()
		if set.changed then
			microceph.noout { member = member, on = false }
		end
	end)
end

-- Refreshes the wave's snap on one member between the site's hooks, and waits for the gate if anything moved.
local function refresh(wave, member, gate)
	local name = wave.component.name
	wave.hook("before_member", { member = member, component = name })
	local r = snap.refresh { member = member, snap = name, channel = wave.channel }
	if r.changed and gate then
		gate(member)
	end
	wave.hook("after_member", { member = member, component = name, changed = r.changed })
end

local run = {}

-- One member after the other. `noout` is set around each, and the next one begins only behind the gate.
function run.microceph(wave)
	local whole = microceph.wait { samples = 1 }
	rolling(wave.component.members, function(member)
		with_noout(member, function()
			refresh(wave, member, function()
				microceph.wait { member = member, osds = whole.health.osds, samples = wave.looks }
			end)
		end)
	end)
	microceph.wait { osds = whole.health.osds, samples = wave.looks }
end

-- One member after the other. With a newer schema the daemons wait until the last one has it, so all of them online is
-- asked for only behind the wave; so is the conversion of the databases.
function run.microovn(wave)
	rolling(wave.component.members, function(member)
		refresh(wave, member, function()
			microovn.wait { member = member, samples = wave.looks }
		end)
	end)
	microovn.wait { samples = wave.looks }
end

-- All members at once: those that are ahead are blocked until the last one has caught up, so a gate between two members
-- would never open. A member that lags behind refreshes itself within the channel it follows: all follow the target
-- before the first one moves.
function run.lxd(wave)
	-- Of members that are blocked from an earlier attempt, LXD can't tell what they run.
	local before = wave.component.health == "ok" and lxd.instances {} or nil
	parallel(wave.component.members, function(member)
		snap.switch { member = member, snap = "lxd", channel = wave.channel }
	end)
	parallel(wave.component.members, function(member)
		refresh(wave, member)
	end)
	lxd.wait {}
	if before then
		lxd.unharmed { since = before.instances }
	end
end

-- One member after the other, and only when LXD is ready everywhere: MicroCloud's daemon doesn't start without it.
function run.microcloud(wave)
	rolling(wave.component.members, function(member)
		refresh(wave, member, function()
			microcloud.wait { member = member }
		end)
	end)
	microcloud.wait {}
end

-- Whether any member would be changed by a wave. A component that is out of step is refreshed on every member.
local function needed(component, updates, channel)
	if not component.in_step or component.health ~= "ok" then
		return true
	end
	if channel and channel ~= component.channels[1] then
		return true
	end
	for _, offers in pairs(updates) do
		if offers[component.name] then
			return true
		end
	end
	return false
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

-- What is to be done: the chosen components that would be changed, each with the channel to move to.
local function to_do(p, report, channels)
	local list = {}
	for _, chosen in ipairs(flow.chosen(p)) do
		local component, channel = flow.component(report.status, chosen.name), channels[chosen.name]
		if #component.members == 0 then
			log.info(chosen.title .. " is not installed")
		elseif not needed(component, report.updates, channel) then
			log.info(chosen.title .. ": nothing to do")
		else
			list[#list + 1] = { title = chosen.title, component = component, channel = channel }
		end
	end
	return list
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

-- Copies the control plane on every member, and sees that the copies are whole. Returns where they are, by member.
local function back_up(members)
	local folders = {}
	section("Backup", function()
		parallel(members, function(member)
			folders[member] = backup.take({ member = member }).folder
			backup.verify { member = member }
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
	}
end

-- Runs a wave for each of the chosen components. `channels` gives the channel to move to, by component; without one, a
-- component stays in the channel that it follows. Returns what changed, by component.
function waves.run(M, cluster, p, channels)
	local report = preflight.require(waves.preflight(p, channels))
	local before, list = report.status, to_do(p, report, channels)
	if #list == 0 then
		return { changed = {}, components = {} }
	end

	return with_lock(function()
		local folders = {}
		if p.backup == false then
			log.warn "no backup is taken (backup = false)"
		else
			folders = back_up(cluster.members)
		end
		local moved = {}
		for i, item in ipairs(list) do
			local component, name = item.component, item.component.name
			section(item.title, function()
				parallel(component.members, function(member)
					snap.hold { member = member, snap = name }
				end)
				M.hook("before_wave", { component = name })
				run[name] { hook = M.hook, component = component, channel = item.channel, looks = p.looks }
				M.hook("after_wave", { component = name })
			end)
			moved[i] = name
		end
		local after = status.require { health = "ok", in_step = true }
		return { backup = folders, changed = changes(before, after), components = moved }
	end)
end

return waves
