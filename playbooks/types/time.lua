---@meta
-- Generated. The clock, as steps.

time = {}

---@class (exact) time.now.Args
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) time.now.Result
---@field seconds integer Seconds since 1970.
---@field text string As RFC 3339, in UTC.

--- Tell the time.
---@param args time.now.Args
---@return time.now.Result
function time.now(args) end

---@class (exact) time.sleep.Args
---@field span lockstep.Span How long.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) time.sleep.Result
---@field until string When it ended, as RFC 3339.

--- Wait for a while. A run that is resumed in the middle only waits for the rest.
---
--- To wait for something, call the op that waits for it (`microceph.wait` and the like): it ends as soon as it can, and says what is missing.
---@param args time.sleep.Args
---@return time.sleep.Result
function time.sleep(args) end
