-- A wave: the refresh of one component's snap on all members. Each of the files beside this one is given one, and uses it
-- to say in which order members are refreshed, and after which gates. A site's own wave is given the same.

-- Waits until a refreshed member is well. `had` is the revision that it can still go back to.
---@alias lockstep.Gate fun(member: lockstep.Member, had: string?)

---@class lockstep.Wave
---@field component table What status.read says about the component before the run: name, title, health, in_step, halfway.
---@field members lockstep.Member[] The members that have it, in the cluster's order.
---@field moves table<lockstep.Member, boolean> Those that will get another release, as far as is known.
---@field channel? lockstep.Channel The channel to move to; none to stay.
---@field looks? integer How many good looks in a row open a gate.
---@field downtime boolean Whether it is accepted that storage or network stops during the wave.
---@field done lockstep.Member[] The members that were refreshed and passed their gate, which are watched from then on.
---@field notes string[] What is repeated at the end of the run.
---@field private has table<lockstep.Member, string> The revision that each refreshed member has.
---@field private revision? string The revision that all members are to have.
---@field private replaced? string The newer one that has replaced it in the store since.
---@field private ahead boolean Whether any member has the new release.
---@field private past boolean Whether the point of no return is passed.
---@field private hook fun(name: string, event: table) Calls what a site has put on a hook.
---@field private evacuate fun(member: lockstep.Member, work: fun()) Does the work with the member's instances out of the way.
local Wave = {}
Wave.__index = Wave

local wave = {}

-- The newer one of two revisions, either of which may be missing.
---@param one? string
---@param other? string
---@return string?
function wave.newer(one, other)
	if (tonumber(one) or 0) > (tonumber(other) or 0) then
		return one
	end
	return other
end

-- Makes a wave from what is known before it begins. `evacuate` does a member's work with its instances out of the way.
---@return lockstep.Wave
function wave.new(known)
	return setmetatable({
		component = known.component,
		members = known.component.members,
		moves = known.moves,
		channel = known.channel,
		revision = known.revision,
		looks = known.looks,
		downtime = known.downtime,
		hook = known.hook,
		evacuate = known.evacuate,
		done = {},
		notes = {},
		has = {},
		ahead = false,
		past = false,
	}, Wave)
end

-- Refreshes the snap on one member between the site's hooks, and waits for the gate if anything moved. `spared` is when
-- the gate before it was seen open.
---@param member lockstep.Member
---@param gate? lockstep.Gate
---@param spared? { at: string }
function Wave:refresh(member, gate, spared)
	local name = self.component.name
	self.hook("before_member", { member = member, component = name })
	local r = snap.refresh {
		member = member,
		snap = name,
		channel = self.channel,
		revision = self.revision,
		replaced = "tell",
		downtime = self.downtime,
		spared = spared,
	}
	self.has[member] = r.to
	self.replaced = wave.newer(r.replaced, self.replaced)
	-- Where nobody could tell beforehand, the first member that gets another one shows what all are to have.
	self.revision = self.revision or (r.changed and r.to or nil)
	if r.changed then
		local had = self:can_go_back() and r.from or nil
		self.ahead = true
		if gate then
			gate(member, had)
		end
		self.done[#self.done + 1] = member
	end
	self.hook("after_member", { member = member, component = name, changed = r.changed })
end

-- Whether a member that was refreshed now could go back: as long as no other one has the new release and the point of no
-- return isn't passed. Two that are ahead keep each other from going back, where the release has a newer schema.
---@private
---@return boolean
function Wave:can_go_back()
	return self.component.in_step and #self.members > 1 and not self.ahead and not self.past
end

-- Runs `fn`, which refreshes the member, with the member's instances out of the way if that is asked for.
---@param member lockstep.Member
---@param fn fun()
function Wave:away(member, fn)
	if self.moves[member] then
		self.evacuate(member, fn)
	else
		fn()
	end
end

-- Calls `fn` for one member after the other.
---@param members lockstep.Member[]
---@param fn fun(member: lockstep.Member)
function Wave:rolling(members, fn)
	self:through(rolling, members, fn)
end

-- Calls `fn` for all members at the same time.
---@param members lockstep.Member[]
---@param fn fun(member: lockstep.Member)
function Wave:parallel(members, fn)
	self:through(parallel, members, fn)
end

-- Takes the members through `fn`, and once more those that have fallen behind: where it isn't known beforehand what all
-- are to have, a member that got nothing new is noticed when another one does; and where a newer release comes out
-- meanwhile, no member is started until that is confirmed.
---@private
function Wave:through(way, members, fn)
	local function one(member)
		if not self.replaced then
			fn(member)
		end
	end
	way(members, one)
	self.revision = self.revision or self.has[members[1]]
	repeat
		local again = self.replaced ~= nil
		if again then
			self:take_newer(members)
		end
		for _, member in ipairs(members) do
			self.revision = wave.newer(self.has[member], self.revision)
		end
		local behind = {}
		for _, member in ipairs(members) do
			if self.has[member] ~= self.revision then
				behind[#behind + 1] = member
				self.moves[member] = true
			end
		end
		way(behind, one)
	until not again and not self.replaced
end

-- A newer release has replaced the one that members already have. Some with the one and some with the other would block
-- each other, so either all of them get the newer one or none.
---@private
---@param members lockstep.Member[]
function Wave:take_newer(members)
	local there = {}
	for _, member in ipairs(members) do
		if self.has[member] == self.revision then
			there[#there + 1] = member
		end
	end
	local title, old, new = self.component.title, self.revision, self.replaced
	local instead = #there > 0 and (", which " .. table.concat(there, ", ") .. (#there > 1 and " have" or " has")) or ""
	local what = title .. ": the store has " .. new .. " now in place of " .. old .. instead .. ". "
	local other = " If not, abort this run: what it did stays, and the next run takes all members to the newest."
	confirm(what .. "Take all members to " .. new .. "?" .. other)
	self.revision, self.replaced = new, nil
end

-- The same members, with those that are behind first: daemons of others may wait for them, or theirs may not run before.
-- Where the component moves to another channel, the order is the products' own.
---@param order lockstep.Member[]
---@return lockstep.Member[]
function Wave:behind_first(order)
	local halfway = self.component.halfway
	if not halfway or self.channel then
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

-- Call it before the member whose release changes the component's databases for good: mostly the last one. Where the
-- component moves to another channel, this is said, and confirmed if somebody is there.
function Wave:point_of_no_return()
	local component, channel = self.component, self.channel
	if not channel or (#component.channels == 1 and component.channels[1] == channel) then
		return
	end
	self.past = true
	local what = "there is no way back for " .. component.title .. " to an older release than " .. channel
	log.warn("point of no return: from here on " .. what)
	confirm("From here on " .. what .. ". Continue?", { unattended = "go-on" })
end

-- Warns whoever watches, and repeats it at the end of the run.
---@param text string
function Wave:note(text)
	log.warn(text)
	self.notes[#self.notes + 1] = text
end

return wave
