---@meta
-- Generated. Network: MicroOVN and the OVN it runs.

microovn = {}

---@class (exact) microovn.health.Args
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) microovn.health.Result
---@field central string[] Members that run the databases.
---@field leaders string[] Members that lead one.
---@field ok boolean Whether nothing speaks against taking one member down.
---@field problems string[] What does.
---@field terms integer[] The terms of both databases; they change with every election.

--- Tell how the network's databases are, as every server of them sees it.
---@param args microovn.health.Args
---@return microovn.health.Result
function microovn.health(args) end

---@class (exact) microovn.wait.Args
---@field member? lockstep.Member The member that was just refreshed.
---@field samples? integer Good looks in a row, 5 s apart.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) microovn.wait.Result
---@field database "online"|"waiting" How MicroOVN's database stands.
---@field health { central: string[], leaders: string[], ok: boolean, problems: string[], terms: integer[] } How OVN's databases are.

--- Wait until the network's databases are whole again: the gate before the next member.
---
--- Every server of both databases answers, one leads each, all are connected, nothing is pending, and no election takes place for some looks. With a member: its MicroOVN daemon is online, or waits for the members that don't have the release yet. Without: the daemons of all members are online, and both databases have the schema that they expect.
---@param args microovn.wait.Args
---@return microovn.wait.Result
function microovn.wait(args) end
