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

---@class (exact) time.window.Args
---@field hours string From when to when, for example "01:00-05:00".
---@field days? string[] The days on which it opens: mon, tue, wed, thu, fri, sat, sun. Every day if none is given.
---@field not_on? string[] Days on which it doesn't open, for example 2026-12-24.
---@field room? lockstep.Span What is to begin may take this long: the window has to stay open for it, if it ever is that long.
---@field zone? string The time zone, for example Europe/Berlin.
---@field timeout? lockstep.Span How long the step may take.
---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.

---@class (exact) time.window.Result
---@field closes string When it closes, as RFC 3339.

--- Wait until a maintenance window is open. Where it is open already, continue at once.
---
--- The hours are those of the given time zone, also over a change to or from daylight saving time. A window from 22:00 to 04:00 belongs to the day on which it opens.
---@param args time.window.Args
---@return time.window.Result
function time.window(args) end
