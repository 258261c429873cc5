-- Gives a queued task to a worker. ARGV: task, worker, lease, since, until, deadline.
local id = ARGV[1]
local key = P .. 't:' .. id
if call('HGET', key, 's') ~= 'q' then return false end
leave(id, 'q')
call('HSET', key, 's', 'l', 'lw', ARGV[2], 'li', ARGV[3], 'ls', ARGV[4], 'lu', ARGV[5], 'ld', ARGV[6])
enter(id)
return task(id)
