---@meta
-- Generated. Whether a cluster is fit for what is to be done to it.

preflight = {}

---@class (exact) preflight.read.Args
---@field accept? string[] Checks to accept even if they fail.
---@field channels? table<string, lockstep.Channel> The channels that components are to be moved to, by snap.
---@field components? ("microceph"|"microovn"|"lxd"|"microcloud")[] The components that are to be refreshed; all of them unless given.
---@field hazards? ({ accept: boolean, component: "microceph"|"microovn"|"lxd"|"microcloud", link: string, name: string, what: string, below?: string, buckets?: boolean, codes?: string[], kernel?: string, known?: "documented"|"reported"|"inferred", modules?: string[], os?: string, pools?: string[], running?: string, since?: string, snapd?: string, to?: string, tpm?: boolean, with?: { component: "microceph"|"microovn"|"lxd"|"microcloud", below?: string, since?: string } })[] What is known to go wrong: the rows of `playbooks.data.hazards`.
---@field paths? ({ component: "microceph"|"microovn"|"lxd"|"microcloud", from: string, link: string, by_version?: boolean, latest_first?: boolean, to?: string[], why?: string })[] Which tracks follow which: the rows of `playbooks.data.compatibility`.
---@field sets? { link: string, lxd: lockstep.Channel, microceph: lockstep.Channel, microcloud: lockstep.Channel, microovn: lockstep.Channel, name: string, about?: string, support?: string }[] Channels that go together: rows of `playbooks.data.compatibility`.
---@field together? ({ accept: boolean, link: string, name: string, of: { component: "microceph"|"microovn"|"lxd"|"microcloud", below?: string, since?: string }, what: string, with: { component: "microceph"|"microovn"|"lxd"|"microcloud", below?: string, since?: string } })[] Which versions go together: rows of `playbooks.data.compatibility`.
---@field tracks? ({ component: "microceph"|"microovn"|"lxd"|"microcloud", link: string, name: string, version: string })[] Tracks whose names aren't the beginning of their versions: rows of `playbooks.data.compatibility`.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) preflight.read.Result
---@field checks ({ about: string, evidence: string[], may_accept: boolean, name: string, verdict: "pass"|"fail"|"unknown"|"accepted", link?: string })[] The checks, in order.
---@field ok boolean Whether no check stops the run.
---@field status { cluster: string, components: ({ channels: string[], health: "ok"|"waiting"|"bad"|"unknown"|"absent", in_step: boolean, members: lockstep.Member[], name: string, problems: string[], skew: string[], title: string, halfway?: { ahead: lockstep.Member[], behind: lockstep.Member[], newest: string, stopped: lockstep.Member[], waiting: lockstep.Member[] }, notes?: string[], roster?: lockstep.Member[] })[], healthy: boolean, in_step: boolean, members: { changes: string[], name: lockstep.Member, reachable: boolean, snaps: table<string, { active: boolean, channel: string, cohort: string, held: boolean, revision: string, version: string }>, lock?: { member: lockstep.Member, away?: boolean, claim?: { began: string, holder: string, run: string, sitting?: { nonce: string, number: integer, who: string } }, last?: { began: string, holder: string, run: string, sitting?: { nonce: string, number: integer, who: string } }, problem?: string, says?: string }, problem?: string, silent?: boolean }[] } The cluster that they were made on.
---@field updates table<string, table<string, { revision: string, version: string }>> What the store has for members, in the channels that they follow: by member and snap.

--- Run all checks and report the result of each. It doesn't fail because one does.
---@param args preflight.read.Args
---@return preflight.read.Result
function preflight.read(args) end

---@class (exact) preflight.require.Args
---@field accept? string[] Checks to accept even if they fail.
---@field channels? table<string, lockstep.Channel> The channels that components are to be moved to, by snap.
---@field components? ("microceph"|"microovn"|"lxd"|"microcloud")[] The components that are to be refreshed; all of them unless given.
---@field hazards? ({ accept: boolean, component: "microceph"|"microovn"|"lxd"|"microcloud", link: string, name: string, what: string, below?: string, buckets?: boolean, codes?: string[], kernel?: string, known?: "documented"|"reported"|"inferred", modules?: string[], os?: string, pools?: string[], running?: string, since?: string, snapd?: string, to?: string, tpm?: boolean, with?: { component: "microceph"|"microovn"|"lxd"|"microcloud", below?: string, since?: string } })[] What is known to go wrong: the rows of `playbooks.data.hazards`.
---@field paths? ({ component: "microceph"|"microovn"|"lxd"|"microcloud", from: string, link: string, by_version?: boolean, latest_first?: boolean, to?: string[], why?: string })[] Which tracks follow which: the rows of `playbooks.data.compatibility`.
---@field sets? { link: string, lxd: lockstep.Channel, microceph: lockstep.Channel, microcloud: lockstep.Channel, microovn: lockstep.Channel, name: string, about?: string, support?: string }[] Channels that go together: rows of `playbooks.data.compatibility`.
---@field together? ({ accept: boolean, link: string, name: string, of: { component: "microceph"|"microovn"|"lxd"|"microcloud", below?: string, since?: string }, what: string, with: { component: "microceph"|"microovn"|"lxd"|"microcloud", below?: string, since?: string } })[] Which versions go together: rows of `playbooks.data.compatibility`.
---@field tracks? ({ component: "microceph"|"microovn"|"lxd"|"microcloud", link: string, name: string, version: string })[] Tracks whose names aren't the beginning of their versions: rows of `playbooks.data.compatibility`.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) preflight.require.Result
---@field checks ({ about: string, evidence: string[], may_accept: boolean, name: string, verdict: "pass"|"fail"|"unknown"|"accepted", link?: string })[] The checks, in order.
---@field ok boolean Whether no check stops the run.
---@field status { cluster: string, components: ({ channels: string[], health: "ok"|"waiting"|"bad"|"unknown"|"absent", in_step: boolean, members: lockstep.Member[], name: string, problems: string[], skew: string[], title: string, halfway?: { ahead: lockstep.Member[], behind: lockstep.Member[], newest: string, stopped: lockstep.Member[], waiting: lockstep.Member[] }, notes?: string[], roster?: lockstep.Member[] })[], healthy: boolean, in_step: boolean, members: { changes: string[], name: lockstep.Member, reachable: boolean, snaps: table<string, { active: boolean, channel: string, cohort: string, held: boolean, revision: string, version: string }>, lock?: { member: lockstep.Member, away?: boolean, claim?: { began: string, holder: string, run: string, sitting?: { nonce: string, number: integer, who: string } }, last?: { began: string, holder: string, run: string, sitting?: { nonce: string, number: integer, who: string } }, problem?: string, says?: string }, problem?: string, silent?: boolean }[] } The cluster that they were made on.
---@field updates table<string, table<string, { revision: string, version: string }>> What the store has for members, in the channels that they follow: by member and snap.

--- Continue only if all checks pass, or are accepted.
---@param args preflight.require.Args
---@return preflight.require.Result
function preflight.require(args) end
