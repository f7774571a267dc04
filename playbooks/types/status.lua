---@meta
-- Generated. The whole cluster as one record.

status = {}

---@class (exact) status.read.Args
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) status.read.Result
---@field cluster string The cluster's name.
---@field components ({ channels: string[], health: "ok"|"waiting"|"bad"|"unknown"|"absent", in_step: boolean, members: lockstep.Member[], name: string, problems: string[], skew: string[], title: string, halfway?: { ahead: lockstep.Member[], behind: lockstep.Member[], newest: string, stopped: lockstep.Member[], waiting: lockstep.Member[] }, notes?: string[], roster?: lockstep.Member[] })[] The components, in the order in which they are refreshed.
---@field healthy boolean Whether every member was seen, and every installed component is healthy.
---@field in_step boolean Whether all members are known to run the same revision of each component, from the same channel, in the cohort.
---@field members { changes: string[], name: lockstep.Member, reachable: boolean, snaps: table<string, { active: boolean, channel: string, cohort: string, held: boolean, revision: string, version: string }>, lock?: { member: lockstep.Member, away?: boolean, claim?: { began: string, holder: string, run: string, sitting?: { nonce: string, number: integer, who: string } }, last?: { began: string, holder: string, run: string, sitting?: { nonce: string, number: integer, who: string } }, problem?: string, says?: string }, problem?: string, silent?: boolean }[] The members, in the cluster's order.

--- Inspect the whole cluster: what is installed on each member, whether all members are in step, and the health of each component.
---
--- It doesn't fail because something is wrong or a member can't be reached; that is part of the record.
---@param args status.read.Args
---@return status.read.Result
function status.read(args) end

---@class (exact) status.require.Args
---@field health "ok"|"converging" How healthy every component must be.
---@field components? string[] Only these components have to be in step and through with waiting; without them, all.
---@field in_step? boolean All members must run the same revision of each component, from the same channel, in the cohort.
---@field same_channels? boolean All members must follow the same channel, for each component.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) status.require.Result
---@field cluster string The cluster's name.
---@field components ({ channels: string[], health: "ok"|"waiting"|"bad"|"unknown"|"absent", in_step: boolean, members: lockstep.Member[], name: string, problems: string[], skew: string[], title: string, halfway?: { ahead: lockstep.Member[], behind: lockstep.Member[], newest: string, stopped: lockstep.Member[], waiting: lockstep.Member[] }, notes?: string[], roster?: lockstep.Member[] })[] The components, in the order in which they are refreshed.
---@field healthy boolean Whether every member was seen, and every installed component is healthy.
---@field in_step boolean Whether all members are known to run the same revision of each component, from the same channel, in the cohort.
---@field members { changes: string[], name: lockstep.Member, reachable: boolean, snaps: table<string, { active: boolean, channel: string, cohort: string, held: boolean, revision: string, version: string }>, lock?: { member: lockstep.Member, away?: boolean, claim?: { began: string, holder: string, run: string, sitting?: { nonce: string, number: integer, who: string } }, last?: { began: string, holder: string, run: string, sitting?: { nonce: string, number: integer, who: string } }, problem?: string, says?: string }, problem?: string, silent?: boolean }[] The members, in the cluster's order.

--- Continue only if the cluster is as it must be. Everything that isn't is named, not only the first thing.
---
--- All members must be reachable, and no change of a component may be in progress.
---@param args status.require.Args
---@return status.require.Result
function status.require(args) end

---@class (exact) status.snapshot.Args
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) status.snapshot.Result
---@field channels table<string, table<string, { revision: string, version: string }>> What the store has in every channel, by snap and channel.
---@field config table<string, string> LXD's configuration.
---@field instances { config: table<string, string>, devices: table<string, table<string, string>>, ephemeral: boolean, kind: string, location: string, memory: integer, name: string, project: string, running: boolean, size: integer }[] LXD's instances.
---@field status { cluster: string, components: ({ channels: string[], health: "ok"|"waiting"|"bad"|"unknown"|"absent", in_step: boolean, members: lockstep.Member[], name: string, problems: string[], skew: string[], title: string, halfway?: { ahead: lockstep.Member[], behind: lockstep.Member[], newest: string, stopped: lockstep.Member[], waiting: lockstep.Member[] }, notes?: string[], roster?: lockstep.Member[] })[], healthy: boolean, in_step: boolean, members: { changes: string[], name: lockstep.Member, reachable: boolean, snaps: table<string, { active: boolean, channel: string, cohort: string, held: boolean, revision: string, version: string }>, lock?: { member: lockstep.Member, away?: boolean, claim?: { began: string, holder: string, run: string, sitting?: { nonce: string, number: integer, who: string } }, last?: { began: string, holder: string, run: string, sitting?: { nonce: string, number: integer, who: string } }, problem?: string, says?: string }, problem?: string, silent?: boolean }[] } What `status.read` tells.
---@field unknown string[] What could not be read, in sentences.
---@field updates table<string, table<string, { revision: string, version: string }>> What the store offers to each member, by member and snap.
---@field buckets? { name: string, pool: string }[] LXD's buckets in pools that aren't Ceph's own object storage, where LXD can tell.
---@field lasting? { facts: table<string, string>, name: string, unread?: string }[] What must be the same after a run, and what of it could not be read: that is no part of what is simulated.
---@field machines? table<string, { kernel: string, os: string, snapd: string }> Each member's machine.
---@field network? { central: lockstep.Member[], election_timer?: integer, northbound_leader?: lockstep.Member, southbound_leader?: lockstep.Member } OVN, where there is MicroOVN.
---@field pools? { driver: string, name: string }[] LXD's storage pools.
---@field storage? { flags: string[], host_flags: table<string, string[]>, manager: string, monitors: string[], osds: table<string, integer[]>, pgs: integer, modules?: string[], raised?: ({ about: string, class: "passing"|"data"|"expected"|"standing"|"unknown", code: string, message: string, severity: "HEALTH_WARN"|"HEALTH_ERR", count?: integer, muted?: boolean })[] } Ceph, where there is MicroCeph.

--- Look at everything about the cluster that a simulated one needs to be like it. It changes nothing.
---
--- What can't be read is reported, and left out.
---@param args status.snapshot.Args
---@return status.snapshot.Result
function status.snapshot(args) end

---@class (exact) status.lasting.Args
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) status.lasting.Result
---@field areas { facts: table<string, string>, name: string, unread?: string }[] Each area by itself.

--- Record what must be the same after a run: disks and their keys, pools, file systems and networks of storage, the network's tunnels, LXD's members, addresses, networks, pools and profiles, and which instances there are. It changes nothing.
---
--- What can't be read is reported, and left out.
---@param args status.lasting.Args
---@return status.lasting.Result
function status.lasting(args) end

---@class (exact) status.unharmed.Args
---@field since { areas: { facts: table<string, string>, name: string, unread?: string }[] } What `status.lasting` returned before.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) status.unharmed.Result
---@field same? integer How much was compared.
---@field unread? string[] What was not compared, and why.

--- Check that everything is as it was before a run. Fails otherwise, and names what differs.
---
--- Additions do no harm. What can't be read is tried again; what could not be read before is reported.
---@param args status.unharmed.Args
---@return status.unharmed.Result
function status.unharmed(args) end
