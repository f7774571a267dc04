---@meta
-- Generated. The clusters of a fleet, in a rollout.

cluster = {}

---@class (exact) cluster.run.Args
---@field member lockstep.Member The cluster.
---@field barred? string Why the run may not begin. Then nothing is begun, and the outcome is "refused".
---@field window? { hours: string, days?: string[], not_on?: string[], room?: lockstep.Span, zone?: string } The window in which the run may begin. Where it is shut by now, nothing is begun, and the outcome is "did not begin".
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) cluster.run.Result
---@field outcome "did not begin"|"running"|"held"|"suspended"|"broken off"|"refused"|"failed"|"aborted"|"skipped"|"done" Where it stands.
---@field run string Its name.
---@field seconds integer For how many seconds it was waited for; 0 where that isn't known.
---@field why? string Why it isn't done.

--- Run the rollout's playbook on a cluster, and wait until that run stops.
---
--- The run belongs to the cluster and goes on whatever becomes of the rollout; it is begun once, by its name. A run that was held, refused, aborted or failed is a result: `outcome` says so, and `why`.
---@param args cluster.run.Args
---@return cluster.run.Result
function cluster.run(args) end

---@class (exact) cluster.budget.Args
---@field budget integer How many may be left as they are.
---@field clusters lockstep.Member[] The clusters.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) cluster.budget.Result
---@field left lockstep.Member[] The clusters whose runs aren't done yet.

--- Look again at clusters whose runs stopped before their end, and go on only if no more of them than the budget still are.
---
--- The rollout holds here otherwise. Whoever brings one of the runs to its end, or takes its cluster out of the rollout, makes room; then the rollout continues.
---@param args cluster.budget.Args
---@return cluster.budget.Result
function cluster.budget(args) end

---@class (exact) cluster.settle.Args
---@field clusters lockstep.Member[] The clusters whose runs stopped before their end, as far as the playbook saw.
---@field ring string The ring.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) cluster.settle.Result
---@field done lockstep.Member[] Those whose runs are done by now.
---@field left lockstep.Member[] The clusters whose runs aren't done.
---@field skipped lockstep.Member[] Those that were taken out of the rollout meanwhile.

--- End a ring: continue if the runs of all these clusters are done, or if the operator agrees to leave the others behind.
---
--- Where nobody is there to be asked, the rollout holds here.
---@param args cluster.settle.Args
---@return cluster.settle.Result
function cluster.settle(args) end

---@class (exact) cluster.verify.Args
---@field member lockstep.Member The cluster.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) cluster.verify.Result

--- Look at a cluster: its members are in step and all components are healthy. It is what `lockstep status` looks at.
---@param args cluster.verify.Args
---@return cluster.verify.Result
function cluster.verify(args) end

---@class (exact) cluster.state.Args
---@field member lockstep.Member The cluster.
---@field window? { hours: string, days?: string[], not_on?: string[], room?: lockstep.Span, zone?: string } The window in which the run may begin. Without one it always may.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) cluster.state.Result
---@field open boolean Whether its window is open now.
---@field outcome "did not begin"|"running"|"held"|"suspended"|"broken off"|"refused"|"failed"|"aborted"|"skipped"|"done" Where it stands.
---@field why? string Why it isn't done.

--- Look how a cluster's run stands. Nothing is begun by it, and the cluster isn't asked.
---@param args cluster.state.Args
---@return cluster.state.Result
function cluster.state(args) end

---@class (exact) cluster.window.Args
---@field member lockstep.Member The cluster.
---@field window { hours: string, days?: string[], not_on?: string[], room?: lockstep.Span, zone?: string } The window.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) cluster.window.Result
---@field open boolean Whether its window is open now.
---@field outcome "did not begin"|"running"|"held"|"suspended"|"broken off"|"refused"|"failed"|"aborted"|"skipped"|"done" Where it stands.
---@field why? string Why it isn't done.

--- Wait until a cluster's window is open, or until its run needs none any more because somebody began it, or took the cluster out of the rollout.
---@param args cluster.window.Args
---@return cluster.window.Result
function cluster.window(args) end

---@class (exact) cluster.look.Args
---@field member lockstep.Member The cluster.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) cluster.look.Result
---@field components table<string, string[]> What its members run of each component, as `REVISION CHANNEL`: one entry where they are in step.
---@field wrong string[] What is wrong with it, in sentences; empty where it is in step and healthy.

--- Look at a cluster, as `lockstep status` does. What is wrong with it is a result and no failure.
---@param args cluster.look.Args
---@return cluster.look.Result
function cluster.look(args) end

---@class (exact) cluster.plan.Args
---@field member lockstep.Member The cluster.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) cluster.plan.Result
---@field changes integer How many steps would change something.
---@field digest string Its digest: plans that differ only in names have the same. It is what `lockstep fleet approve` takes.
---@field whole boolean Whether the plan is known up to the playbook's end.

--- Plan the rollout's playbook on a simulated cluster that is like this one.
---@param args cluster.plan.Args
---@return cluster.plan.Result
function cluster.plan(args) end

---@class (exact) cluster.stage.Args
---@field member lockstep.Member The cluster.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) cluster.stage.Result

--- Fetch the snaps that the cluster's run would install onto each of its members, as `lockstep stage` does.
---
--- Nothing is installed by it and no service stops, so it needn't wait for the cluster's window.
---@param args cluster.stage.Args
---@return cluster.stage.Result
function cluster.stage(args) end

---@class (exact) cluster.skip.Args
---@field member lockstep.Member The cluster.
---@field why string Why; it is kept with the rollout.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) cluster.skip.Result

--- Take a cluster out of the rollout, as `lockstep fleet skip` does. A run that is under way goes on.
---@param args cluster.skip.Args
---@return cluster.skip.Result
function cluster.skip(args) end
