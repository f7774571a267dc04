---@meta
-- Generated. Storage: MicroCeph and the Ceph it runs.

microceph = {}

---@class (exact) microceph.health.Args
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) microceph.health.Result
---@field codes string[] Health codes that are raised and not muted, for the record.
---@field mons integer Monitors in all.
---@field ok boolean Whether nothing speaks against taking one member down.
---@field osds integer OSDs in all.
---@field osds_up integer OSDs that are up.
---@field pgs integer Placement groups.
---@field problems string[] What does.
---@field quorum string[] Monitors in quorum.

--- Tell how the storage is, by facts and not by Ceph's own verdict.
---@param args microceph.health.Args
---@return microceph.health.Result
function microceph.health(args) end

---@class (exact) microceph.wait.Args
---@field member? lockstep.Member The member that was just refreshed.
---@field osds? integer OSDs that there must be. One that has vanished altogether is missed by no other check.
---@field samples? integer Good looks in a row, 5 s apart.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) microceph.wait.Result
---@field database "online"|"waiting" How MicroCeph's database stands.
---@field health { codes: string[], mons: integer, ok: boolean, osds: integer, osds_up: integer, pgs: integer, problems: string[], quorum: string[] } How the storage is.

--- Wait until the storage is whole again: the gate before the next member.
---
--- All monitors in quorum, a manager, all OSDs up and in, all placement groups clean, no code that speaks against it, several looks in a row. With a member: its OSDs are up, and its MicroCeph daemon is online, or waits for the members that don't have the release yet.
---@param args microceph.wait.Args
---@return microceph.wait.Result
function microceph.wait(args) end

---@class (exact) microceph.noout.Args
---@field member lockstep.Member The member, which is the host in Ceph's map.
---@field on boolean `true` to set it, `false` to clear it.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) microceph.noout.Result
---@field changed boolean Whether it was otherwise before.

--- Set or clear `noout` for a member: while it is set, Ceph doesn't start moving data because that member is away.
---
--- Only for that member (`set-group`), so that the failure of another isn't hidden. `changed` says whether it was otherwise before: who set it gives it back, and nobody else's is touched. Where `noout` is set for the whole cluster there is nothing to do for a member.
---@param args microceph.noout.Args
---@return microceph.noout.Result
function microceph.noout(args) end
