-- Reads jobs. ARGV: their ids.
local found = {}
for index, id in ipairs(ARGV) do found[index] = call('HMGET', P .. 'j:' .. id, 'd', 'f') end
return found
