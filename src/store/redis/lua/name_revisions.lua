-- Notes that an orchestrator makes jobs of these blueprint revisions. KEYS[1] is the prefix of what has
-- no partition. ARGV: revisions.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, name in ipairs(ARGV) do
  call('HSET', P .. 'bpn', name, now)
end
return 0
