-- Instances move out of the way of a refresh, and back home after it.

local evacuation = {}

-- The parameters of a playbook that evacuates.
evacuation.params = {
	evacuate = {
		type = "boolean",
		default = false,
		about = "Move instances away from a member while its storage or network is refreshed.",
	},
	evacuate_anyway = {
		type = "boolean",
		default = false,
		about = "Continue even if some instances can't be moved or, with a single member, none can.",
	},
}

local function refuse(reasons)
	error(
		"instances can't be moved out of the way; nothing was changed: "
			.. table.concat(reasons, "; ")
			.. ". Fix that, or proceed anyway with: --evacuate-anyway"
	)
end

-- The members that the waves of storage and network will refresh and that have LXD.
local function disturbed(waves, members)
	local touched, chosen = {}, {}
	for _, wave in ipairs(waves) do
		local name = wave.component.name
		if name == "microceph" or name == "microovn" then
			for _, member in ipairs(wave.component.members) do
				touched[member] = touched[member] or wave.moves[member]
			end
		end
	end
	for _, member in ipairs(members) do
		if touched[member] then
			chosen[#chosen + 1] = member
		end
	end
	return chosen
end

-- Looks at all members before the first one is changed. Returns those that are to be evacuated.
local function foresee(p, component, waves)
	local members = disturbed(waves, component.members)
	if #members == 0 then
		return {}
	end
	if component.health ~= "ok" then
		refuse {
			"LXD isn't healthy ("
				.. table.concat(component.problems, "; ")
				.. "); update it alone first: lockstep update --only lxd",
		}
	end
	if #component.members == 1 then
		if not p.evacuate_anyway then
			refuse { "there is only " .. members[1] .. ", and nowhere to move to" }
		end
		log.warn("there is nowhere to move instances to; they stay on " .. members[1])
		return {}
	end
	local reasons = {}
	local foretold = parallel(members, function(member)
		return lxd.predict { member = member }
	end)
	for i, member in ipairs(members) do
		for _, reason in ipairs(foretold[i].refusals) do
			reasons[#reasons + 1] = member .. ": " .. reason
		end
		for _, name in ipairs(foretold[i].starts) do
			log.warn(
				member .. ": LXD will start " .. name .. ", which isn't running; it is stopped again once it is back"
			)
		end
	end
	if #reasons > 0 and not p.evacuate_anyway then
		refuse(reasons)
	end
	for _, reason in ipairs(reasons) do
		log.warn(reason)
	end
	return members
end

-- Switches healing off. Where members have different releases some or all of LXD doesn't serve: then this is attempted,
-- and reported if it can't be done.
local function switch_off(component)
	if component.health == "ok" then
		return lxd.healing { threshold = 0 }
	end
	local halfway = component.halfway
	if halfway and #halfway.waiting + #halfway.stopped == #component.members then
		log.warn "LXD's healing can't be switched off, since LXD serves on no member; until it does, it heals nothing either"
		return
	end
	local tried = try(lxd.healing, { threshold = 0 })
	if tried.ok then
		return tried.value
	end
	log.warn(
		"LXD's healing can't be switched off until all members have the same release ("
			.. tried.error.message
			.. "): if cluster.healing_threshold is set, keep every member powered and connected in the meantime"
	)
end

-- Runs `body` with LXD's healing switched off: a daemon that is silent while its snap is refreshed isn't dead, and what
-- runs there would be started a second time.
local function without_healing(component, body)
	if #component.members == 0 then
		return body()
	end
	local healing = switch_off(component)
	if not healing or not healing.changed then
		return body()
	end
	log.info(
		"LXD's healing (after "
			.. healing.previous
			.. " s) is off until this run ends, even while it is held: instances of a member that dies stay where they are"
	)
	return finally(body, function()
		lxd.healing { threshold = healing.previous }
	end)
end

-- Runs `body`, which runs the `waves`. It is given a function that does a member's work: between evacuating and restoring it,
-- if that is asked for. LXD's `component` is as it was before.
function evacuation.around(p, component, waves, body)
	local members = p.evacuate and foresee(p, component, waves) or {}
	local evacuated = {}
	for _, member in ipairs(members) do
		evacuated[member] = true
	end

	local function away(member, work)
		if not evacuated[member] then
			return work()
		end
		local since = lxd.instances({ member = member }).instances
		finally(function()
			lxd.evacuate { member = member, anyway = p.evacuate_anyway }
			work()
		end, function()
			local r = lxd.restore { member = member, since = since }
			for _, difference in ipairs(r.differences) do
				log.warn(member .. ": " .. difference)
			end
		end)
	end

	without_healing(component, function()
		local before = #members > 0 and lxd.instances {} or nil
		body(away)
		if before then
			lxd.unharmed { since = before.instances, evacuated = members }
		end
	end)
end

return evacuation
