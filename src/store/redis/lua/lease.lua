-- Gives a queued task to a worker. ARGV: task, worker, lease, since, until, deadline.
local id, worker, lease, since, until_, deadline = unpack(ARGV)
local found, f = task(id), {}
for i = 1, #found, 2 do f[found[i]] = found[i + 1] end
if f.s ~= 'q' then return false end
local fields = { 's', 'l', 'lw', worker, 'li', lease, 'ls', since, 'lu', until_, 'ld', deadline }
call('ZREM', P .. 'queued', id)
call('HSET', P .. 't:' .. id, unpack(fields))
-- A lease has an end, which takes the place of the one that the task waited for.
place_task(id, 'l', f.dd, f.rd, until_, deadline, worker)
-- What comes last of a name counts.
for _, text in ipairs(fields) do found[#found + 1] = text end
return found
