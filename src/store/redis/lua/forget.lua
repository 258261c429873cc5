-- Deletes an ended job with all that belongs to it, unless it was set going again meanwhile or has
-- something left to deliver or to bring over. ARGV: job, now.
local id = ARGV[1]
local job = P .. 'j:' .. id
if not forgettable(id, ARGV[2]) then return 0 end
local f = call('HMGET', job, 'k', 'o', 's', 'c', 'b')
for _, member in ipairs(call('ZRANGE', P .. 'y:' .. id, 0, -1)) do
  local t = string.match(member, ':(.*)$')
  local known = call('HMGET', P .. 't:' .. t, 's', 'lw')
  if known[1] then leave(t, known[1], known[2]) end
  call('DEL', P .. 't:' .. t)
end
for _, member in ipairs(call('ZRANGE', P .. 'x:' .. id, 0, -1)) do
  call('ZREM', P .. 'outbox', member)
  call('ZREM', P .. 'hooks', member)
  call('DEL', P .. 'o:' .. string.match(member, ':(.*)$'))
end
call('DEL', job, P .. 'y:' .. id, P .. 'x:' .. id, P .. 'h:' .. id)
for _, index in ipairs({ 'all', 'keep', 'early', 'wake', 's:' .. f[3], 'c:' .. f[4] }) do
  call('ZREM', P .. index, id)
end
call('HINCRBY', P .. 'n', f[3], -1)
if call('HINCRBY', P .. 'nc:' .. f[4], f[3], -1) <= 0 then call('HDEL', P .. 'nc:' .. f[4], f[3]) end
if call('HINCRBY', P .. 'pins', f[5], -1) <= 0 then call('HDEL', P .. 'pins', f[5]) end
return 1
