-- Takes a task back from whoever has it by that lease. ARGV: task, lease.
local id = ARGV[1]
local key = P .. 't:' .. id
local f = call('HMGET', key, 's', 'li', 'lw')
if f[1] ~= 'l' or f[2] ~= ARGV[2] then return false end
leave(id, 'l', f[3])
call('HDEL', key, 'lw', 'li', 'ls', 'lu', 'ld')
call('HSET', key, 's', 'q')
enter(id)
return task(id)
