---@meta
-- Generated. Instances: LXD and its cluster.

lxd = {}

---@class (exact) lxd.members.Args
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) lxd.members.Result
---@field members { message: string, name: lockstep.Member, status: string, architecture?: string, config?: table<string, string>, groups?: string[], roles?: string[] }[] The members.

--- List the members of the LXD cluster and how LXD sees them.
---@param args lxd.members.Args
---@return lxd.members.Result
function lxd.members(args) end

---@class (exact) lxd.wait.Args
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) lxd.wait.Result
---@field members { message: string, name: lockstep.Member, status: string, architecture?: string, config?: table<string, string>, groups?: string[], roles?: string[] }[] The members.
---@field unasked? string[] Members whose LXD can't be asked for its networks and storage: it is from before 5.21.4, or before 6.4.

--- Wait until LXD is ready on every member, with networks and storage, and all members are online with one version.
---
--- The gate after a refresh. While versions differ, members are blocked and refreshed ones serve no API, so there is no gate between two members: all are refreshed, and then this is asked for.
---@param args lxd.wait.Args
---@return lxd.wait.Result
function lxd.wait(args) end

---@class (exact) lxd.instances.Args
---@field member? lockstep.Member Only those on this member. Without it, all of the cluster.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) lxd.instances.Result
---@field instances { location: string, name: string, project: string, started: string, status: string, autostarts?: boolean }[] The instances, by project and name.

--- List instances: where each is, how it is, and when it was started.
---@param args lxd.instances.Args
---@return lxd.instances.Result
function lxd.instances(args) end

---@class (exact) lxd.unharmed.Args
---@field since { location: string, name: string, project: string, started: string, status: string, autostarts?: boolean }[] The instances as they were: what `lxd.instances` returned before.
---@field evacuated? lockstep.Member[] Members that were evacuated and restored since: their instances may have been restarted.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) lxd.unharmed.Result
---@field running? integer How many run.
---@field started? string[] Instances that didn't run, and that LXD started by itself when its daemon was, as their configuration has it.

--- Check that every instance is where and how it was, and that none was restarted. Fails otherwise.
---
--- Just after a member came back the others have no answer from it yet and show its instances as `Error`: that is not known, and so it is asked again.
---@param args lxd.unharmed.Args
---@return lxd.unharmed.Result
function lxd.unharmed(args) end

---@class (exact) lxd.predict.Args
---@field member lockstep.Member Member that would be evacuated.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) lxd.predict.Result
---@field instances ({ action: "live"|"cold"|"stop"|"cannot", name: string, project: string, reason: string, target?: lockstep.Member })[] The running instances of the member.
---@field refusals string[] What speaks against it. Empty where nothing does.
---@field starts? string[] Instances that don't run, and that LXD starts on the way; `lxd.restore` stops them again.

--- Tell what an evacuation of a member would do with each of its running instances, and what speaks against it.
---
--- Live: moved while it runs. Cold: stopped, moved and started, and once more on the way back. Stop: stopped where it is until the member is restored. Cannot: it would be lost, or left behind, or end the evacuation halfway.
---@param args lxd.predict.Args
---@return lxd.predict.Result
function lxd.predict(args) end

---@class (exact) lxd.evacuate.Args
---@field member lockstep.Member Member to evacuate.
---@field anyway? boolean Continue although something speaks against it: instances that can't be moved are left to LXD.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) lxd.evacuate.Result
---@field left string[] Instances that were left running on the member, which only `anyway` allows.
---@field moved string[] Instances that run elsewhere now, as `name to member`.
---@field stopped string[] Instances that were stopped where they are.

--- Evacuate a member: LXD moves its instances to other members, or stops those that can't be moved.
---
--- Refused while another member isn't online or versions differ, and where `lxd.predict` says that an instance can't be moved. Done is when the operation has ended, no instance runs on the member, and every one that ran there runs elsewhere or was to be stopped. What went wrong halfway is reported with what moved and what didn't; trying again continues from there.
---@param args lxd.evacuate.Args
---@return lxd.evacuate.Result
function lxd.evacuate(args) end

---@class (exact) lxd.restore.Args
---@field member lockstep.Member Member to restore.
---@field since? { location: string, name: string, project: string, started: string, status: string, autostarts?: boolean }[] The member's instances as they were before the evacuation: what `lxd.instances` returned.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) lxd.restore.Result
---@field differences string[] What is different from the record.
---@field home integer Instances of the record that are on the member again, as they were.
---@field moved string[] Instances that LXD had left elsewhere, and that were moved.
---@field started string[] Instances that LXD had left stopped, and that were started.
---@field stopped? string[] Instances that LXD had started although they didn't run before, and that were stopped.

--- Restore a member: what an evacuation moved away comes home, and what it stopped is started.
---
--- LXD forgets that an instance ran when it failed to start it once. So the record from before counts: what ran is started, what LXD started by itself is stopped, what was on the member is moved back to it, and what else is different is reported. A member that isn't evacuated is not restored, but its instances are still compared with the record.
---@param args lxd.restore.Args
---@return lxd.restore.Result
function lxd.restore(args) end

---@class (exact) lxd.healing.Args
---@field threshold integer Seconds.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) lxd.healing.Result
---@field changed boolean Whether it was otherwise before.
---@field previous integer The value before, in seconds.

--- Set after how many seconds of silence LXD starts a member's instances on others; 0 switches that off.
---
--- While a snap is refreshed a daemon may be silent for longer than that, and its instances run on: they would run twice. The result has the value before, so that a playbook can restore it.
---@param args lxd.healing.Args
---@return lxd.healing.Result
function lxd.healing(args) end
