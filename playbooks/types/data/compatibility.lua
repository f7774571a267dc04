---@meta playbooks.data.compatibility
-- The table of paths and sets, data/compatibility.toml, as playbooks see it. Written by hand.

---@class lockstep.Set
---@field name string
---@field microceph lockstep.Channel
---@field microovn lockstep.Channel
---@field lxd lockstep.Channel
---@field microcloud lockstep.Channel
---@field about? string
---@field support? string
---@field link string

---@class lockstep.Compatibility
---@field set lockstep.Set[]
---@field path any[]
---@field track any[]
---@field together any[]
local compatibility = {}

return compatibility
