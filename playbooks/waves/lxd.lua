-- LXD: all members at once. Those that are ahead are blocked until the last one has caught up, so that a gate between two
-- members would never open.

---@param wave lockstep.Wave
return function(wave)
	-- Of members that are blocked from an earlier attempt, LXD can't tell what they run.
	local before = wave.component.health == "ok" and lxd.instances {} or nil
	wave:point_of_no_return()

	-- A member that lags behind refreshes itself within the channel it follows: all follow the target before the first one
	-- moves.
	parallel(wave.members, function(member)
		snap.switch { member = member, snap = "lxd", channel = wave.channel }
	end)
	wave:parallel(wave.members, function(member)
		wave:refresh(member)
	end)
	lxd.wait {}

	if before then
		local started = lxd.unharmed({ since = before.instances }).started or {}
		if #started > 0 then
			wave:note(
				"LXD started instances that were stopped before (boot.autostart): " .. table.concat(started, ", ")
			)
		end
	end
end
