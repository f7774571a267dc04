-- One op, on one, several or all members, or on the cluster: what `lockstep op` runs. It isn't listed, since its parameters
-- can't be typed: the op's name, its arguments as a record, and the members.

local M = { api = 1, about = "Run one op.", leaves_on = true }

-- snap.info is the function `info` of the module `snap`; exec is a function by itself.
local function named(op)
	local module, verb = op:match "^(.-)%.(.*)$"
	if module then
		return _ENV[module][verb]
	end
	return _ENV[op]
end

-- Failures are reported as successes are, member by member.
function M.run(_, call)
	local op = named(call.op)
	if #call.members == 0 then
		return { try(op, call.args) }
	end
	return parallel(call.members, function(member)
		local args = {}
		for name, value in pairs(call.args) do
			args[name] = value
		end
		args.member = member
		return try(op, args)
	end)
end

return M
