---@meta
-- Generated. Snaps of a member: what is installed, and refreshing it.

snap = {}

---@class (exact) snap.info.Args
---@field member lockstep.Member Member to ask.
---@field snap string Snap to inspect.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) snap.info.Result
---@field active boolean Whether it is enabled and not in mid-refresh.
---@field channel string The channel it follows; empty for a local snap.
---@field cohort string Its cohort: `+`, another key, or empty.
---@field held boolean Whether refreshes that don't name it are held.
---@field revision string Revision, for example `33110`.
---@field version string Version, as its publisher writes it.

--- Show how a snap is installed on a member.
---@param args snap.info.Args
---@return snap.info.Result
function snap.info(args) end

---@class (exact) snap.list.Args
---@field member lockstep.Member Member to ask.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) snap.list.Result
---@field snaps table<string, { active: boolean, channel: string, cohort: string, held: boolean, revision: string, version: string }> Every installed snap, by name.

--- List the snaps of a member.
---@param args snap.list.Args
---@return snap.list.Result
function snap.list(args) end

---@class (exact) snap.updates.Args
---@field member lockstep.Member Member to ask.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) snap.updates.Result
---@field updates table<string, { revision: string, version: string }> The revision that each snap with an update would get, by snap.

--- Ask the store what it has for a member's snaps, in the channel and cohort that each is in.
---@param args snap.updates.Args
---@return snap.updates.Result
function snap.updates(args) end

---@class (exact) snap.changes.Args
---@field member lockstep.Member Member to ask.
---@field in_progress? boolean Only changes in progress.
---@field snap? string Only changes that concern this snap.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) snap.changes.Result
---@field changes { id: string, kind: string, ready: boolean, status: string, summary: string, error?: string }[] The changes. snapd forgets them a day after they end.

--- List the changes that snapd made or is making on a member.
---@param args snap.changes.Args
---@return snap.changes.Result
function snap.changes(args) end

---@class (exact) snap.clients.Args
---@field member lockstep.Member Member to ask.
---@field snap? string Only programs of this snap.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) snap.clients.Result
---@field clients { app: string, member: lockstep.Member, pid: integer, snap: string }[] The processes. What runs for less than two seconds isn't among them.

--- List the programs of snaps that people run on a member: snapd doesn't refresh a snap while one of its programs runs.
---@param args snap.clients.Args
---@return snap.clients.Result
function snap.clients(args) end

---@class (exact) snap.wait.Args
---@field snap string Snap that is to be refreshed.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) snap.wait.Result
---@field members integer How many members were asked.

--- Wait until nobody runs a program of a snap on any member, so that snapd can refresh it everywhere.
---@param args snap.wait.Args
---@return snap.wait.Result
function snap.wait(args) end

---@class (exact) snap.stage.Args
---@field member lockstep.Member Member to act on.
---@field snap string Snap to fetch.
---@field channel? lockstep.Channel Channel to fetch it from, for example `squid/stable`. Without it, the one that the snap follows.
---@field revision? string Revision to fetch, whatever the channel has.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) snap.stage.Result
---@field changed boolean Whether it was fetched: not, where it was there, or where that revision is installed.
---@field removed boolean Whether a file under its name that had other bytes was removed.
---@field revision string The revision whose file is there.
---@field size integer Its size in bytes.

--- Fetch a snap's file ahead, so that its refresh downloads nothing.
---
--- The file is that of the channel that the snap follows, or of another one, as the cohort has it now; or the one of `revision`. snapd downloads it, the member compares its digest with the one that the store gives, and puts it where snapd's refresh finds it. No service is touched. A file that is there already and isn't what it should be is removed.
---
--- A snap that comes to another revision until it is refreshed is downloaded then.
---@param args snap.stage.Args
---@return snap.stage.Result
function snap.stage(args) end

---@class (exact) snap.refresh.Args
---@field member lockstep.Member Member to act on.
---@field snap string Snap to refresh.
---@field channel? lockstep.Channel Channel to move to, for example `squid/stable`. Without it, the one that the snap follows.
---@field downtime? boolean Storage or network may stop in the meantime: accept that the others can't do without the member.
---@field replaced? "fail"|"tell" What to do if the store has a newer release in place of `revision`.
---@field revision? string The revision that it has to come to, because all members must have the same one.
---@field spared? { at: string } The `seen` of `microceph.spare` or `microovn.spare`: that storage or network can spare the member isn't looked at again within 15 s.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) snap.refresh.Result
---@field changed boolean Whether the revision is another one than before.
---@field channel string The channel it follows now.
---@field from string The revision before.
---@field to string The revision now.
---@field version string The version now.
---@field change? string snapd's change, if one was made.
---@field replaced? string The newer revision that took the place of the one that was asked for; all members should have that one.

--- Refresh a snap on a member: to the newest revision of the channel it follows, or of another one.
---
--- Joins the cohort, so that all members get the same revision. If the cohort offers a member another one than `revision`, `revision` is requested by number, and the member is put back into the cohort. If a newer release has replaced `revision` in the store, nothing is done. Does nothing either if the member already has that revision.
---
--- A change of the same snap in progress (an LXD that refreshes itself, for example) is waited for first. The result is judged by what snapd says afterwards: revision, channel, cohort, and whether the snap is enabled.
---
--- MicroCeph and MicroOVN aren't refreshed while storage or network can't spare the member, however long ago a gate was open.
---@param args snap.refresh.Args
---@return snap.refresh.Result
function snap.refresh(args) end

---@class (exact) snap.switch.Args
---@field member lockstep.Member Member to act on.
---@field snap string Snap to switch.
---@field channel? lockstep.Channel Channel to follow. Unchanged if left out.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) snap.switch.Result
---@field changed boolean Whether it had to be switched.
---@field channel string The channel it follows now.

--- Make a snap follow a channel and be in the cohort, without refreshing it: nothing restarts.
---
--- Before LXD is refreshed anywhere every member must already follow the target: a member that lags behind refreshes itself, within the channel that it follows at that moment.
---@param args snap.switch.Args
---@return snap.switch.Result
function snap.switch(args) end

---@class (exact) snap.hold.Args
---@field member lockstep.Member Member to act on.
---@field snap string Snap to hold.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) snap.hold.Result
---@field changed boolean Whether it was otherwise before.

--- Hold a snap's refreshes, so that only refreshes that name it happen.
---
--- This does not hold back a refresh by name, nor an LXD that lags behind its cluster.
---@param args snap.hold.Args
---@return snap.hold.Result
function snap.hold(args) end

---@class (exact) snap.unhold.Args
---@field member lockstep.Member Member to act on.
---@field snap string Snap to release.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) snap.unhold.Result
---@field changed boolean Whether it was otherwise before.

--- Let a snap be refreshed by snapd again.
---@param args snap.unhold.Args
---@return snap.unhold.Result
function snap.unhold(args) end
