---@meta
-- Generated. The cluster of clusters: MicroCloud itself.

microcloud = {}

---@class (exact) microcloud.members.Args
---@field member lockstep.Member Member to ask.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) microcloud.members.Result
---@field members { address: string, name: lockstep.Member, role: string, status: string }[] The members.

--- List the members of the MicroCloud, as one of them sees them.
---@param args microcloud.members.Args
---@return microcloud.members.Result
function microcloud.members(args) end

---@class (exact) microcloud.wait.Args
---@field before? string The revision that it had before, as long as it can go back to it: named where the gate stays closed.
---@field done? lockstep.Member[] Members that were refreshed before: their services have to run still.
---@field member? lockstep.Member The member that was just refreshed.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) microcloud.wait.Result
---@field database "online"|"waiting" How MicroCloud's database stands.
---@field services? string How many members each service has, all online, as MicroCloud finds them; absent where it wasn't asked, or has no overview.

--- Wait until MicroCloud's daemon is online: on a member, or waiting there for members without the release; without a member, on all of them, and MicroCloud finds the services of all members online.
---@param args microcloud.wait.Args
---@return microcloud.wait.Result
function microcloud.wait(args) end
