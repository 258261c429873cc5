-- Reads tasks. ARGV: their ids.
local found = {}
for index, id in ipairs(ARGV) do found[index] = task(id) end
return found
