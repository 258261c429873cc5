-- Reads the tasks that a worker has. ARGV: worker.
local found = {}
for index, id in ipairs(call('SMEMBERS', P .. 'l:' .. ARGV[1])) do found[index] = task(id) end
return found
