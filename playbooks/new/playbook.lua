-- What this playbook is for, and who runs it when.
--
--   lockstep run FILE --help     what it takes
--   lockstep plan FILE           what it will do
--   lockstep check FILE          which rules it breaks under faults and interruptions
--   lockstep doc                 everything that it can call
--
-- FILE can also be run on a simulated cluster: add --cluster twin:3.

local M = {
	-- The newest API that it was written for.
	api = 1,
	about = "Write a line into the log of every member, one after the other.",
	-- Each becomes a flag: --message TEXT. The types are boolean, integer, string and list; a string or list may have
	-- one_of = { "these", "values" }.
	params = {
		message = { type = "string", default = "lockstep was here", about = "The line." },
	},
	-- The sections that it goes through, for whoever watches.
	stages = { "Look", "Write" },
}

-- A call of an op (status.require, exec, …) is a step. It is written down before it starts and after it has ended, so that
-- a run that was held or killed continues after it. Between two steps this is plain Lua, without clock, files, or random
-- numbers: a resumed run passes here again, and must do the same.
function M.run(cluster, p)
	-- Nothing is changed in a cluster that isn't healthy. A step that fails holds the run: the cluster is left as it is, and
	-- your options are printed.
	section("Look", function()
		status.require { health = "ok", in_step = true }
	end)

	-- What was taken is released, however this ends: also after a failure, and when the run is aborted.
	finally(function()
		lock.take {}
		section("Write", function()
			-- One after the other. All at the same time: parallel(cluster.members, function(member) … end)
			rolling(cluster.members, function(member)
				-- The effect says what doing it twice would mean. "read" looks; "converge" may be done again; "once" must
				-- not: where nobody can determine whether it was done, the run is held and you are asked.
				exec { member = member, argv = { "/usr/bin/logger", p.message }, effect = "converge" }
				log.info(member .. " has it in its log")
				-- The gate before the next member.
				status.require { health = "ok", retry = { times = 20, every = "15s" } }
			end)
		end)
	end, function()
		lock.release {}
	end)
end

return M
