---@meta
-- Generated. The cluster belongs to one run at a time.

lock = {}

---@class (exact) lock.read.Args
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) lock.read.Result
---@field members { member: lockstep.Member, away?: boolean, claim?: { began: string, holder: string, run: string, sitting?: { nonce: string, number: integer, who: string } }, last?: { began: string, holder: string, run: string, sitting?: { nonce: string, number: integer, who: string } }, problem?: string, says?: string }[] One a member, by name.

--- Tell whose the cluster is, member by member.
---@param args lock.read.Args
---@return lock.read.Result
function lock.read(args) end

---@class (exact) lock.take.Args
---@field best_effort? boolean Members on which it can't be taken are left out, such as those that don't answer: unless somebody else has it.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) lock.take.Result
---@field claim { began: string, holder: string, run: string, sitting?: { nonce: string, number: integer, who: string } } What the lock says on every member.
---@field members lockstep.Member[] The members, by name.

--- Take the cluster for this run, on every member.
---
--- It is refused where another run has it, or another process that continued this run, and where that can't be determined. What the run has already stays its own, however often it is resumed: the claim of a session that the run knows of is replaced.
---@param args lock.take.Args
---@return lock.take.Result
function lock.take(args) end

---@class (exact) lock.release.Args
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) lock.release.Result
---@field members { member: lockstep.Member, away?: boolean, claim?: { began: string, holder: string, run: string, sitting?: { nonce: string, number: integer, who: string } }, last?: { began: string, holder: string, run: string, sitting?: { nonce: string, number: integer, who: string } }, problem?: string, says?: string }[] How each member's lock is now: free, or another run's.

--- Give the cluster back, on every member where this run has it.
---@param args lock.release.Args
---@return lock.release.Result
function lock.release(args) end

---@class (exact) lock.remove.Args
---@field shown table<string, string> What each member's lock held, as `lock.read` has it in `says`.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) lock.remove.Result
---@field members { member: lockstep.Member, away?: boolean, claim?: { began: string, holder: string, run: string, sitting?: { nonce: string, number: integer, who: string } }, last?: { began: string, holder: string, run: string, sitting?: { nonce: string, number: integer, who: string } }, problem?: string, says?: string }[] How each member's lock is now: free, or another run's.

--- Remove locks that were inspected before, whoever holds them: for the lock of a run that no longer exists. See `lockstep unlock`.
---
--- A lock that says something else by now isn't touched. It fails where one of them is still there, or where that can't be determined.
---@param args lock.remove.Args
---@return lock.remove.Result
function lock.remove(args) end
