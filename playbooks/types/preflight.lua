---@meta
-- Generated. Whether a cluster is fit for what is to be done to it.

preflight = {}

---@class (exact) preflight.read.Args
---@field accept? string[] Checks of which a "no" is accepted.
---@field channels? table<string, lockstep.Channel> The channels that components are to be moved to, by snap.
---@field components? ("microceph"|"microovn"|"lxd"|"microcloud")[] The components that are to be refreshed; all of them unless given.
---@field hazards? ({ accept: boolean, component: "microceph"|"microovn"|"lxd"|"microcloud", link: string, name: string, to: string, what: string, below?: string, kernel?: string, running?: string, snapd?: string })[] What is known to go wrong: the rows of `playbooks.data.hazards`.
---@field paths? ({ component: "microceph"|"microovn"|"lxd"|"microcloud", from: string, link: string, to: string[], latest_first?: boolean })[] Which tracks follow which: the rows of `playbooks.data.compatibility`.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) preflight.read.Result
---@field checks ({ about: string, evidence: string[], may_accept: boolean, name: string, verdict: "pass"|"fail"|"unknown"|"accepted", link?: string })[] The checks, in order.
---@field ok boolean Whether nothing speaks against going on.
---@field status { cluster: string, components: ({ channels: string[], health: "ok"|"waiting"|"bad"|"unknown"|"absent", in_step: boolean, members: string[], name: string, problems: string[], skew: string[], title: string, notes?: string[] })[], healthy: boolean, in_step: boolean, members: { changes: string[], name: string, reachable: boolean, snaps: table<string, { active: boolean, channel: string, cohort: string, held: boolean, revision: string, version: string }>, lock?: { member: string, claim?: { began: string, holder: string, run: string }, problem?: string }, problem?: string }[] } The cluster that they were made on.
---@field updates table<string, table<string, { revision: string, version: string }>> What the store has for members, in the channels that they follow: by member and snap.

--- Make all checks and tell what each came to. It doesn't fail because one does.
---@param args preflight.read.Args
---@return preflight.read.Result
function preflight.read(args) end

---@class (exact) preflight.require.Args
---@field accept? string[] Checks of which a "no" is accepted.
---@field channels? table<string, lockstep.Channel> The channels that components are to be moved to, by snap.
---@field components? ("microceph"|"microovn"|"lxd"|"microcloud")[] The components that are to be refreshed; all of them unless given.
---@field hazards? ({ accept: boolean, component: "microceph"|"microovn"|"lxd"|"microcloud", link: string, name: string, to: string, what: string, below?: string, kernel?: string, running?: string, snapd?: string })[] What is known to go wrong: the rows of `playbooks.data.hazards`.
---@field paths? ({ component: "microceph"|"microovn"|"lxd"|"microcloud", from: string, link: string, to: string[], latest_first?: boolean })[] Which tracks follow which: the rows of `playbooks.data.compatibility`.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) preflight.require.Result
---@field checks ({ about: string, evidence: string[], may_accept: boolean, name: string, verdict: "pass"|"fail"|"unknown"|"accepted", link?: string })[] The checks, in order.
---@field ok boolean Whether nothing speaks against going on.
---@field status { cluster: string, components: ({ channels: string[], health: "ok"|"waiting"|"bad"|"unknown"|"absent", in_step: boolean, members: string[], name: string, problems: string[], skew: string[], title: string, notes?: string[] })[], healthy: boolean, in_step: boolean, members: { changes: string[], name: string, reachable: boolean, snaps: table<string, { active: boolean, channel: string, cohort: string, held: boolean, revision: string, version: string }>, lock?: { member: string, claim?: { began: string, holder: string, run: string }, problem?: string }, problem?: string }[] } The cluster that they were made on.
---@field updates table<string, table<string, { revision: string, version: string }>> What the store has for members, in the channels that they follow: by member and snap.

--- Go on only if all checks pass, or are accepted.
---@param args preflight.require.Args
---@return preflight.require.Result
function preflight.require(args) end
