-- Storage: one member after the other, with a gate before and a gate after each.

-- While a member is away, Ceph must not start to move its data. Whoever set the flag clears it.
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

---@param wave lockstep.Wave
return function(wave)
	-- How storage is now: after each member it has to be as good again.
	local before = microceph.baseline {}
	-- `spared` is how storage was just before: what the gate sees has to be newer.
	local function gate(spared)
		return function(member, had)
			microceph.wait {
				member = member,
				before = had,
				since = before,
				spared = spared,
				done = wave.done,
				samples = wave.looks,
			}
		end
	end

	local order = wave:behind_first(microceph.order({ members = wave.members }).members)
	local last = last_monitor(wave, order, before.mons)
	wave:rolling(order, function(member)
		-- A member that has the release already stops for nothing, and needs no gate before it.
		if not wave.moves[member] then
			return wave:refresh(member, gate())
		end
		if member == last then
			wave:point_of_no_return()
		end
		wave:away(member, function()
			local spared = microceph.spare {
				member = member,
				since = before,
				done = wave.done,
				downtime = wave.downtime,
			}
			with_noout(member, function()
				wave:refresh(member, gate(spared), spared.seen)
			end)
		end)
	end)
	microceph.finish { since = before, done = wave.done, samples = wave.looks }
end
