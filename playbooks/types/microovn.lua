---@meta
-- Generated. Network: MicroOVN and the OVN it runs.

microovn = {}

---@class (exact) microovn.health.Args
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) microovn.health.Result
---@field central lockstep.Member[] Members that run the databases.
---@field leaders lockstep.Member[] Members that lead one.
---@field ok boolean Whether nothing speaks against taking one member down.
---@field problems string[] What does.
---@field terms integer[] The terms of both databases; they change with every election.

--- Tell how the network's databases are, as every server of them sees it.
---@param args microovn.health.Args
---@return microovn.health.Result
function microovn.health(args) end

---@class (exact) microovn.order.Args
---@field members lockstep.Member[] The members of the wave, in the cluster's order.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) microovn.order.Result
---@field central lockstep.Member[] Those that run the databases.
---@field downtime string[] Why the databases stop while a member is away; empty if they needn't.
---@field leaders lockstep.Member[] Those that lead one.
---@field members lockstep.Member[] The members, the first to be refreshed first.

--- Put members into the order of a wave: those that run no database first, and those that lead one last.
---
--- That is upstream's order of a rolling upgrade: `ovn-controller` everywhere before the databases (`ovn-upgrades.rst`).
---
--- A server that stops hands its leadership to nobody, and the database has no leader until an election: with leaders last there is one election for each database. Also reports where a wave needs downtime: fewer than three servers.
---@param args microovn.order.Args
---@return microovn.order.Result
function microovn.order(args) end

---@class (exact) microovn.timers.Args
---@field back? { northbound?: integer, southbound?: integer } Set them to exactly this instead: what `was` said.
---@field millis? integer At least this many milliseconds. Longer timers stay as they are.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) microovn.timers.Result
---@field changed boolean Whether any was otherwise before.
---@field now { northbound?: integer, southbound?: integer } How they are now.
---@field was { northbound?: integer, southbound?: integer } How they were before.

--- Raise the election timers of OVN's databases to at least `millis` milliseconds, or restore them.
---
--- With a short one a busy server is taken for dead, and schema conversions fail (MicroOVN asks for 16 s before an upgrade; clusters from before it did so may have 1 s). A server doubles the timer at most at a time, so this goes in steps and looks again after each. `was` is how they were before, whatever happened in between.
---@param args microovn.timers.Args
---@return microovn.timers.Result
function microovn.timers(args) end

---@class (exact) microovn.spare.Args
---@field member lockstep.Member The member that is to be refreshed.
---@field done? lockstep.Member[] Members that were refreshed before: their services have to run still.
---@field downtime? boolean The databases may stop in the meantime: accept that the other servers are no majority.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) microovn.spare.Result
---@field spared boolean Always true: a member that can't be spared is a failure.
---@field seen? { at: string } When that was seen.

--- Wait until the network's databases can spare a member: the gate before it is refreshed.
---
--- Of both databases all other servers answer, are connected with each other and have nothing pending, and they are a majority. What is wrong with the server of this very member doesn't count.
---@param args microovn.spare.Args
---@return microovn.spare.Result
function microovn.spare(args) end

---@class (exact) microovn.wait.Args
---@field before? string The revision that it had before, as long as it can go back to it: named where the gate stays closed.
---@field done? lockstep.Member[] Members that were refreshed before: their services have to run still.
---@field member? lockstep.Member The member that was just refreshed.
---@field samples? integer Good looks in a row, 5 s apart, without an election in between.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) microovn.wait.Result
---@field database "online"|"waiting" How MicroOVN's database stands.
---@field health { central: lockstep.Member[], leaders: lockstep.Member[], ok: boolean, problems: string[], terms: integer[] } How OVN's databases are.

--- Wait until the network's databases are healthy again: the gate before the next member.
---
--- Every server of both databases answers for itself, one leads each, all are connected, and nothing is pending. With a member: its services run, and its MicroOVN daemon is online, or waits for the members that don't have the release yet. Without: the daemons of all members are online, and both databases have the schema that they expect.
---@param args microovn.wait.Args
---@return microovn.wait.Result
function microovn.wait(args) end
