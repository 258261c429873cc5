-- Puts off the end of a worker's leases. ARGV: worker, until, the tasks; returns those that it has.
local held = {}
for index = 3, #ARGV do
  local id = ARGV[index]
  local key = P .. 't:' .. id
  local f = call('HMGET', key, 's', 'lw', 'lu')
  if f[1] == 'l' and f[2] == ARGV[1] then
    -- A heartbeat that was overtaken by a later one takes nothing away.
    if tonumber(ARGV[2]) > tonumber(f[3]) then
      call('HSET', key, 'lu', ARGV[2])
      enter(id)
    end
    held[#held + 1] = id
  end
end
return held
