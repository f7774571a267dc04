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
---@field notes? string[] What is worth knowing and no reason to stop: codes that aren't about data, and for whom `noout` is set.
---@field raised? ({ about: string, class: "passing"|"data"|"expected"|"standing"|"unknown", code: string, message: string, severity: "HEALTH_WARN"|"HEALTH_ERR", count?: integer, muted?: boolean })[] The same codes, with what each means.

--- Tell how the storage is, by facts and not by Ceph's own verdict.
---@param args microceph.health.Args
---@return microceph.health.Result
function microceph.health(args) end

---@class (exact) microceph.baseline.Args
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) microceph.baseline.Result
---@field codes table<string, integer> Health codes that are raised and not muted, with their counts.
---@field downtime string[] Why storage stops while a member is away; empty if it needn't.
---@field flags string[] Flags of the whole cluster.
---@field host_flags table<string, string[]> Flags of single hosts.
---@field mons string[] All monitors.
---@field osds table<string, integer[]> The OSDs of each member.
---@field pgs table<string, integer> Placement groups by state.
---@field quorum string[] Those in quorum.
---@field require_osd_release string The release that OSDs have to run.
---@field versions table<string, integer> How many daemons run which release.

--- Record how the storage is before a wave. What comes later is held against it.
---
--- Also reports where a wave needs downtime: fewer than three monitors, no second manager or metadata server, pools that can't miss a member's OSDs.
---@param args microceph.baseline.Args
---@return microceph.baseline.Result
function microceph.baseline(args) end

---@class (exact) microceph.order.Args
---@field members lockstep.Member[] The members of the wave, in the cluster's order.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) microceph.order.Result
---@field members lockstep.Member[] The members, the first to be refreshed first.

--- Put members into the order of a wave: hosts of monitors first, the active manager's last among them, then the rest.
---
--- All monitors have a release before daemons that depend on them, and there is one change of managers only.
---@param args microceph.order.Args
---@return microceph.order.Result
function microceph.order(args) end

---@class (exact) microceph.spare.Args
---@field member lockstep.Member The member that is to be refreshed.
---@field done? lockstep.Member[] Members that were refreshed before: their services have to run still.
---@field downtime? boolean Storage may stop in the meantime: accept that the others can't do without the member.
---@field since? { codes: table<string, integer>, downtime: string[], flags: string[], host_flags: table<string, string[]>, mons: string[], osds: table<string, integer[]>, pgs: table<string, integer>, quorum: string[], require_osd_release: string, versions: table<string, integer> } What `microceph.baseline` returned: codes that were raised then don't count.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) microceph.spare.Result
---@field spared boolean Always true: a member that can't be spared is a failure.
---@field election? integer The number of the monitors' last election.
---@field osdmap? integer The number of the OSDs' map.
---@field seen? { at: string } When that was seen.

--- Wait until storage can spare a member: the gate before it is refreshed.
---
--- Without the member the monitors keep their majority, a manager and a metadata server stand by elsewhere where it has the active one, and Ceph says that its OSDs can be stopped. Everything else is healthy: monitors, OSDs, placement groups, no code against it. What is down on this very member doesn't count.
---@param args microceph.spare.Args
---@return microceph.spare.Result
function microceph.spare(args) end

---@class (exact) microceph.noout.Args
---@field member lockstep.Member The member, which is the host in Ceph's map.
---@field on boolean `true` to set it, `false` to clear it.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) microceph.noout.Result
---@field changed boolean Whether it was otherwise before.
---@field kept? "member"|"cluster" Whose it is, where it was set before and so stays: somebody else set it for the member, or for the whole cluster.

--- Set or clear `noout` for a member: while it is set, Ceph doesn't start moving data because that member is away.
---
--- Only for that member (`set-group`), so that the failure of another isn't hidden. `changed` says whether it was different before: whoever set it restores it, and nobody else's is touched. Where `noout` is set for the whole cluster there is nothing to do for a member, nor for one without OSDs.
---@param args microceph.noout.Args
---@return microceph.noout.Result
function microceph.noout(args) end

---@class (exact) microceph.wait.Args
---@field before? string The revision that it had before, as long as it can go back to it: named where the gate stays closed.
---@field done? lockstep.Member[] Members that were refreshed before: their services have to run still.
---@field member? lockstep.Member The member that was just refreshed.
---@field samples? integer Good looks in a row, 5 s apart.
---@field since? { codes: table<string, integer>, downtime: string[], flags: string[], host_flags: table<string, string[]>, mons: string[], osds: table<string, integer[]>, pgs: table<string, integer>, quorum: string[], require_osd_release: string, versions: table<string, integer> } What `microceph.baseline` returned: monitors and OSDs that were there then have to be there, and codes that were raised then don't count.
---@field spared? { spared: boolean, election?: integer, osdmap?: integer, seen?: { at: string } } What `microceph.spare` returned before the refresh.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) microceph.wait.Result
---@field database "online"|"waiting" How MicroCeph's database stands.
---@field health { codes: string[], mons: integer, ok: boolean, osds: integer, osds_up: integer, pgs: integer, problems: string[], quorum: string[], notes?: string[], raised?: ({ about: string, class: "passing"|"data"|"expected"|"standing"|"unknown", code: string, message: string, severity: "HEALTH_WARN"|"HEALTH_ERR", count?: integer, muted?: boolean })[] } How the storage is.

--- Wait until the storage is healthy again: the gate before the next member.
---
--- All monitors in quorum, a manager, all OSDs up and in, all placement groups clean, no code that speaks against it. With a member: its services run, its OSDs are all there, its daemons run what its snap has, and its MicroCeph daemon is online, or waits for the members that don't have the release yet.
---
--- With `spared`, nothing counts that may be older than the refresh: the member's OSDs have come up since, its monitor was in an election since, and each placement group of its OSDs was reported on since they came up. Where only such reports are missing, all OSDs are told to report now (`flush_pg_stats`), which changes nothing else.
---@param args microceph.wait.Args
---@return microceph.wait.Result
function microceph.wait(args) end

---@class (exact) microceph.finish.Args
---@field since { codes: table<string, integer>, downtime: string[], flags: string[], host_flags: table<string, string[]>, mons: string[], osds: table<string, integer[]>, pgs: table<string, integer>, quorum: string[], require_osd_release: string, versions: table<string, integer> } What `microceph.baseline` returned before the wave.
---@field done? lockstep.Member[] Members that were refreshed: their services have to run still.
---@field samples? integer Good looks in a row, 5 s apart.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) microceph.finish.Result
---@field flags_changed string[] Flags of the whole cluster that others have set or cleared in the meantime.
---@field release string The release that all daemons run, for example `19.2.3 squid`.
---@field require_osd_release string The release that OSDs have to run.

--- Wait until storage has finished a wave: everything healthy, MicroCeph online on every member, all daemons of one release, and that release required of OSDs.
---
--- MicroCeph requires it by itself; where it has not after three minutes, this does, without the option that would skip Ceph's own check. Flags of members have to be as they were before.
---@param args microceph.finish.Args
---@return microceph.finish.Result
function microceph.finish(args) end
