---@meta
-- Generated. A copy of the control plane on each member.

backup = {}

---@class (exact) backup.take.Args
---@field member lockstep.Member Member to act on.
---@field keep? integer How many backups are kept there, this one counted.
---@field unserved? string[] Components whose daemon doesn't serve there, since members have different releases: of their databases only the files are copied.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) backup.take.Result
---@field bytes integer Bytes in all.
---@field files { bytes: integer, name: string, sha256: string }[] What is in it.
---@field folder string Where it is.
---@field pruned string[] Backups that were removed.

--- Copy the control plane of a member into a folder of this run's there, which only root can read.
---
--- Older backups are removed until this many are left. See [`backup.verify`](#backupverify).
---@param args backup.take.Args
---@return backup.take.Result
function backup.take(args) end

---@class (exact) backup.verify.Args
---@field member lockstep.Member Member to ask.
---@field folder? string The backup's folder; this run's own unless given.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) backup.verify.Result
---@field files { bytes: integer, name: string, sha256: string }[] What is in it.
---@field folder string Where it is.

--- Compare a member's backup with its checksums, and check that its dumps are complete.
---@param args backup.verify.Args
---@return backup.verify.Result
function backup.verify(args) end
