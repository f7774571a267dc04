---@meta playbooks.data.hazards
-- The table of hazards, data/hazards.toml, as playbooks see it. Written by hand.

---@class lockstep.Hazards
---@field hazard any[]
local hazards = {}

return hazards
