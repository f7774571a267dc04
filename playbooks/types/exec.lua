---@meta
-- Generated. Any other program on a member.

---@class (exact) exec.Args
---@field argv string[] The program, by its absolute path, and its arguments.
---@field effect "read"|"converge"|"once" What running it a second time would mean.
---@field member lockstep.Member Member to run it on.
---@field allow? integer[] Exit statuses other than 0 that aren't failures.
---@field plan? { code?: integer, stdout?: string } What a simulated cluster takes it to have done, where it doesn't know the program: a plan is exact then.
---@field root? boolean Run it as root.
---@field stdin? string Text for its standard input: the place for a secret, which in `argv` any user of the member could read while it runs.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) exec.Result
---@field code integer Its exit status.
---@field stderr string The end of its standard error, 32 KiB at most.
---@field stdout string The end of its standard output, 32 KiB at most.
---@field cut? boolean Whether it printed more than that: the beginning is missing.

--- Run a program on a member. It fails unless the program exits with 0, or with a status that is allowed.
---
--- The program is a list of words, never a shell line. `effect` says what running it a second time would mean, because lockstep can't know: after a crash a `read` or `converge` is simply run again, and about a `once` the operator is asked.
---@param args exec.Args
---@return exec.Result
function exec(args) end
