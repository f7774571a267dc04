---@meta
-- Generated. Instances: LXD and its cluster.

lxd = {}

---@class (exact) lxd.members.Args
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) lxd.members.Result
---@field members { message: string, name: string, status: string, roles?: string[] }[] The members.

--- List the members of the LXD cluster and how LXD sees them.
---@param args lxd.members.Args
---@return lxd.members.Result
function lxd.members(args) end

---@class (exact) lxd.wait.Args
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) lxd.wait.Result
---@field members { message: string, name: string, status: string, roles?: string[] }[] The members.

--- Wait until LXD is ready on every member, with networks and storage, and all members are online with one version.
---
--- The gate behind a refresh. While versions differ, members are blocked and refreshed ones serve no API, so there is no gate between two members: all are refreshed, and then this is asked for.
---@param args lxd.wait.Args
---@return lxd.wait.Result
function lxd.wait(args) end

---@class (exact) lxd.instances.Args
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) lxd.instances.Result
---@field instances { location: string, name: string, project: string, started: string, status: string }[] The instances, by project and name.

--- List all instances of the cluster: where each is, how it is, and when it was started.
---@param args lxd.instances.Args
---@return lxd.instances.Result
function lxd.instances(args) end

---@class (exact) lxd.unharmed.Args
---@field since { location: string, name: string, project: string, started: string, status: string }[] The instances as they were: what `lxd.instances` returned before.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) lxd.unharmed.Result
---@field instances { location: string, name: string, project: string, started: string, status: string }[] The instances, by project and name.

--- Check that every instance is where and how it was, and that none was restarted. Refuses to go on otherwise.
---
--- Just after a member came back the others have no answer from it yet and show its instances as `Error`: that is not known, and so it is asked again.
---@param args lxd.unharmed.Args
---@return lxd.unharmed.Result
function lxd.unharmed(args) end
