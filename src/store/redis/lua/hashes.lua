-- Reads whole hashes. ARGV: their names.
local found = {}
for index, name in ipairs(ARGV) do found[index] = call('HGETALL', P .. name) end
return found
