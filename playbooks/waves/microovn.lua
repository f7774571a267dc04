-- Network: as with storage, one member after the other, with a gate before and a gate after each.

-- A busy server must not be taken for dead in the middle of a conversion. Whoever raised the timers restores them.
local function with_patience(body)
	local timers = microovn.timers {}
	finally(body, function()
		if timers.changed then
			microovn.timers { back = timers.was }
		end
	end)
end

---@param wave lockstep.Wave
return function(wave)
	local function gate(member, had)
		microovn.wait { member = member, before = had, done = wave.done, samples = wave.looks }
	end

	with_patience(function()
		local order = wave:behind_first(microovn.order({ members = wave.members }).members)
		wave:rolling(order, function(member)
			-- A member that has the release already stops for nothing, and needs no gate before it.
			if not wave.moves[member] then
				return wave:refresh(member, gate)
			end
			if member == order[#order] then
				wave:point_of_no_return()
			end
			wave:away(member, function()
				local spared = microovn.spare { member = member, done = wave.done, downtime = wave.downtime }
				wave:refresh(member, gate, spared.seen)
			end)
		end)
		-- With a newer schema the daemons wait until the last member has it, so all of them online is asked for only now; so
		-- is the conversion of the databases.
		microovn.wait { done = wave.done, samples = wave.looks }
	end)
end
