-- Forgets blueprint revisions that no orchestrator has named as its own for long. KEYS[1] is the prefix
-- of what has no partition. ARGV: how long in ms, then revisions; returns those that are gone.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local gone = {}
for index = 2, #ARGV do
  local name = ARGV[index]
  local named = tonumber(call('HGET', P .. 'bpn', name))
  if not named then
    -- From a version that did not write it down: its time begins now.
    call('HSET', P .. 'bpn', name, now)
    named = now
  end
  if now - named >= tonumber(ARGV[1]) then
    call('HDEL', P .. 'bp', name)
    call('HDEL', P .. 'bpn', name)
    gone[#gone + 1] = name
  end
end
return gone
