-- MicroCloud: one member after the other, and only when LXD is ready everywhere: MicroCloud's daemon doesn't start without it.

---@param wave lockstep.Wave
return function(wave)
	local members = wave:behind_first(wave.members)
	wave:rolling(members, function(member)
		if member == members[#members] then
			wave:point_of_no_return()
		end
		wave:refresh(member, function(_, had)
			microcloud.wait { member = member, before = had, done = wave.done }
		end)
	end)
	microcloud.wait { done = wave.done }
end
