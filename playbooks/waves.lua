-- One wave per component: how its snap is refreshed across all members. `update` and `upgrade` are made of these.

local flow = require "flow"

local waves = {}

-- While a member is away Ceph shall not start to move its data. Whoever set the flag gives it back.
local function with_noout(member, body)
	local set = microceph.noout { member = member, on = true }
	finally(body, function()
		if set.changed then
			microceph.noout { member = member, on = false }
		end
	end)
end

-- Refreshes a snap on one member between the site's hooks, and waits for the gate if anything moved.
local function refresh(M, component, member, channel, gate)
	M.hook("before_member", { member = member, component = component.name })
	local r = snap.refresh { member = member, snap = component.name, channel = channel }
	if r.changed then
		gate(member)
	end
	M.hook("after_member", { member = member, component = component.name, changed = r.changed })
end

-- One member after the other. `noout` is set around each, and the next one begins only behind the gate.
function waves.microceph(M, component, state, channel, looks)
	local before = microceph.wait { samples = 1 }
	local function gate(member)
		microceph.wait { member = member, osds = before.health.osds, samples = looks }
	end
	rolling(component.members, function(member)
		with_noout(member, function()
			refresh(M, component, member, channel, gate)
		end)
	end)
	microceph.wait { osds = before.health.osds, samples = looks }
end

-- One member after the other. With a newer schema the daemons wait until the last one has it, so all of them online is
-- asked for only behind the wave; so is the conversion of the databases.
function waves.microovn(M, component, state, channel, looks)
	rolling(component.members, function(member)
		refresh(M, component, member, channel, function()
			microovn.wait { member = member, samples = looks }
		end)
	end)
	microovn.wait { samples = looks }
end

-- All members at once: those that are ahead are blocked until the last one has caught up, so a gate between two members
-- would never open. A member that lags behind refreshes itself within the channel it follows: all follow the target
-- before the first one moves.
function waves.lxd(M, component, state, channel)
	local half_done = flow.component(state, "lxd").health ~= "ok"
	local before = not half_done and lxd.instances {} or nil
	parallel(component.members, function(member)
		snap.switch { member = member, snap = "lxd", channel = channel }
	end)
	parallel(component.members, function(member)
		refresh(M, component, member, channel, function() end)
	end)
	lxd.wait {}
	if before then
		lxd.unharmed { since = before.instances }
	end
end

-- One member after the other, and only when LXD is ready everywhere: MicroCloud's daemon doesn't start without it.
function waves.microcloud(M, component, state, channel)
	rolling(component.members, function(member)
		refresh(M, component, member, channel, function()
			microcloud.wait { member = member }
		end)
	end)
	microcloud.wait {}
end

-- Whether any member would be changed by a wave. A snap that is out of step is refreshed on every member.
local function needed(component, offers, channel)
	if not component.in_step or component.health ~= "ok" then
		return true
	end
	if channel and channel ~= component.channels[1] then
		return true
	end
	for _, offer in ipairs(offers) do
		if offer.updates[component.name] then
			return true
		end
	end
	return false
end

-- The hooks that a playbook made of waves offers to sites.
waves.hooks = { "before_wave", "before_member", "after_member", "after_wave" }

-- Runs a wave for each of the chosen components. `channels` gives the channel to move to, by component; without one, a
-- component stays in the channel that it follows. Returns what changed, by component.
function waves.run(M, cluster, p, channels)
	local before = status.require { health = "converging", same_channels = true }
	local offers = parallel(cluster.members, function(member)
		return snap.updates { member = member }
	end)

	local moved = {}
	for _, chosen in ipairs(flow.chosen(p)) do
		local component, channel = flow.component(before, chosen.name), channels[chosen.name]
		if #component.members == 0 then
			log.info(chosen.title .. " is not installed")
		elseif not needed(component, offers, channel) then
			log.info(chosen.title .. ": nothing to do")
		else
			section(chosen.title, function()
				parallel(component.members, function(member)
					snap.hold { member = member, snap = chosen.name }
				end)
				M.hook("before_wave", { component = chosen.name })
				waves[chosen.name](M, component, before, channel, p.looks)
				M.hook("after_wave", { component = chosen.name })
			end)
			moved[#moved + 1] = chosen.name
		end
	end

	local after = #moved > 0 and status.require { health = "ok", in_step = true } or before
	return { changed = waves.changes(before, after), components = moved }
end

-- What became different on which member, by component.
function waves.changes(before, after)
	local changes = {}
	for i, member in ipairs(after.members) do
		for name, snap_now in pairs(member.snaps) do
			local was = before.members[i].snaps[name]
			if was and was.revision ~= snap_now.revision then
				changes[name] = changes[name] or {}
				changes[name][member.name] = was.revision .. " → " .. snap_now.revision
			end
		end
	end
	return changes
end

return waves
