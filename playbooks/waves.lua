-- One wave per component: how its snap is refreshed across all members. `update` and `upgrade` are made of these.

local evacuation = require "playbooks.evacuation"
local flow = require "flow"

local waves = {}

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

-- A wave is a record: the playbook's `hook`, its `component` as it was before (members, health), the `channel` to move to
-- (none to stay), which members it `moves`, how many good `looks` open a gate, and `away`, which runs a member's refresh
-- with its instances out of the way if that is asked for.

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
		wave:away(member, function()
			with_noout(member, function()
				refresh(wave, member, function()
					microceph.wait { member = member, osds = whole.health.osds, samples = wave.looks }
				end)
			end)
		end)
	end)
	microceph.wait { osds = whole.health.osds, samples = wave.looks }
end

-- One member after the other. With a newer schema the daemons wait until the last one has it, so all of them online is
-- asked for only behind the wave; so is the conversion of the databases.
function run.microovn(wave)
	rolling(wave.component.members, function(member)
		wave:away(member, function()
			refresh(wave, member, function()
				microovn.wait { member = member, samples = wave.looks }
			end)
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

-- Which members a wave would change, by name, or none where there is nothing to do. A component that is out of step is
-- refreshed on every member, and changes those that aren't at the target.
local function moves(component, cluster, offers, channel)
	local other = channel and channel ~= component.channels[1]
	local moving, any = {}, not component.in_step or component.health ~= "ok"
	for i, member in ipairs(cluster.members) do
		if other or offers[i].updates[component.name] then
			moving[member], any = true, true
		end
	end
	return any and moving or nil
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

local function run_wave(wave)
	local name = wave.component.name
	section(wave.title, function()
		parallel(wave.component.members, function(member)
			snap.hold { member = member, snap = name }
		end)
		wave.hook("before_wave", { component = name })
		run[name](wave)
		wave.hook("after_wave", { component = name })
	end)
end

-- Runs a wave for each of the chosen components. `channels` gives the channel to move to, by component; without one, a
-- component stays in the channel that it follows. Returns what changed, by component.
function waves.run(M, cluster, p, channels)
	local before = status.require { health = "converging", same_channels = true }
	local offers = parallel(cluster.members, function(member)
		return snap.updates { member = member }
	end)

	local due, moved = {}, {}
	for _, chosen in ipairs(flow.chosen(p)) do
		local name, title = chosen.name, chosen.title
		local component, channel = flow.component(before, name), channels[name]
		local moving = moves(component, cluster, offers, channel)
		if #component.members == 0 then
			log.info(title .. " is not installed")
		elseif not moving then
			log.info(title .. ": nothing to do")
		else
			due[#due + 1] = {
				title = title,
				hook = M.hook,
				component = component,
				channel = channel,
				moves = moving,
				looks = p.looks,
			}
			moved[#moved + 1] = name
		end
	end
	if #due > 0 then
		evacuation.around(p, flow.component(before, "lxd"), due, function(away)
			for _, wave in ipairs(due) do
				wave.away = away
				run_wave(wave)
			end
		end)
	end

	local after = #moved > 0 and status.require { health = "ok", in_step = true } or before
	return { changed = changes(before, after), components = moved }
end

return waves
