---@meta
-- What playbooks see of lockstep besides the ops: flow, and the types that arguments are made of. Written by hand.

---@alias lockstep.Member string The name of a member, as the cluster file has it.
---@alias lockstep.Channel string Track and risk, for example "squid/stable".
---@alias lockstep.Span string A length of time, for example "90s", "15m" or "1h30m".

---@class lockstep.Cluster
---@field name string What people call it.
---@field members lockstep.Member[] Its members, in the order in which waves visit them.
---@field machines lockstep.Member[] Other machines, on which programs can be run.

---@class lockstep.WaveEvent What the hooks around a wave are given.
---@field component string The component whose wave it is.

---@class lockstep.MemberEvent: lockstep.WaveEvent What the hooks around a member are given.
---@field member lockstep.Member The member.
---@field changed? boolean Behind it: whether it has another revision now.

---@class lockstep.RingEvent What the hooks around a ring of a rollout are given.
---@field ring string The ring.
---@field clusters lockstep.Member[] Its clusters.
---@field done? lockstep.Member[] Behind it: those whose runs are done.

---@class lockstep.ClusterEvent What the hooks around a cluster of a rollout are given.
---@field ring string Its ring.
---@field cluster lockstep.Member The cluster.
---@field labels table<string, string> Its labels.
---@field outcome? "done"|"skipped" Behind it: how its run stopped.

---@class lockstep.Extension What a site changes in update, upgrade, or a fleet's rollouts.
---@field params? table<string, any> Values for parameters; the command line still wins.
---@field waves? table<string, fun(wave: lockstep.Wave)> Waves in place of the shipped ones, by component.
---@field before_wave? fun(event: lockstep.WaveEvent)
---@field before_member? fun(event: lockstep.MemberEvent)
---@field after_member? fun(event: lockstep.MemberEvent)
---@field after_wave? fun(event: lockstep.WaveEvent)
---@field before_ring? fun(event: lockstep.RingEvent) Of a rollout.
---@field before_cluster? fun(event: lockstep.ClusterEvent) Of a rollout.
---@field after_cluster? fun(event: lockstep.ClusterEvent) Of a rollout.
---@field after_ring? fun(event: lockstep.RingEvent) Of a rollout.

---@class lockstep.Failure
---@field kind "args"|"command"|"unreachable"|"timeout"|"refused"|"conflict"|"taken"|"cancelled"|"script"|"several"|"unknown"
---@field message string What happened.
---@field op? string
---@field step? string
---@field member? lockstep.Member
---@field site? string The line of the playbook.
---@field detail? table<string, any> The command, how it ended, the end of its output.
---@field failures? lockstep.Failure[] What failed in which strand.

---@class lockstep.Tried
---@field ok boolean
---@field value any What the function returned.
---@field error lockstep.Failure Why it failed.

--- Gives the steps inside a label in their paths and a heading in the output.
---@generic T
---@param name string
---@param fn fun(): T
---@return T
function section(name, fn) end

--- Calls a function for each item, one after the other.
---@param list any[]
---@param fn fun(item: any, index: integer)
function each(list, fn) end

--- Calls a function for all items at the same time, and waits for all of them. Raises `several` if any failed.
---@param list any[]
---@param fn fun(item: any, index: integer): any
---@param options? { limit?: integer }
---@return any[]
function parallel(list, fn, options) end

--- Calls a function for each item in the list's order, `batch` at a time. Stops at the first failure, unless
--- `max_failed` allows more. `between` is called between two batches.
---@param list any[]
---@param fn fun(item: any, index: integer): any
---@param options? { batch?: integer, max_failed?: integer, between?: fun(batch: any[]) }
---@return any[]
function rolling(list, fn, options) end

--- Calls a function for all items, `limit` at a time, each as soon as there is room. A failure is data; once there are more than
--- `budget`, nothing more is begun. Then, when what is under way has ended, `over` gets the failures and returns those that
--- still count; without it, or with too many left, `several` is raised. An item that has to wait before it begins does so in
--- `waits`: others have its place meanwhile, `over` isn't kept waiting by it, and if the budget is used up by then, it is put back
--- and begun later, from its beginning.
---@param list any[]
---@param fn fun(item: any, index: integer, waits: fun(until_then: fun())): any
---@param options? { limit?: integer, budget?: integer, over?: fun(failures: lockstep.Failure[]): lockstep.Failure[] }
---@return lockstep.Tried[]
function window(list, fn, options) end

--- Calls a function, and returns its failure as data. A failing step inside doesn't hold the run.
---@param fn function
---@param ... any
---@return lockstep.Tried
function try(fn, ...) end

--- Calls `body`, and then `cleanup` in any case: also when a failure is delivered, but not when the run only pauses.
---@generic T
---@param body fun(): T
---@param cleanup fun(ok: boolean)
---@return T
function finally(body, cleanup) end

--- Asks the operator. The run continues after "yes"; where nobody is there it pauses, or continues if `unattended` says so.
---@param question string
---@param options? { unattended: "hold"|"go-on" }
function confirm(question, options) end

log = {}

--- Logs a message.
---@param ... any
function log.info(...) end

--- Logs a warning.
---@param ... any
function log.warn(...) end
