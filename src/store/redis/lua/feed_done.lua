-- Forgets entries of the feed that the archive has. ARGV: up to which number; at most how many.
-- Returns how many there were.
local members = call('ZRANGEBYSCORE', P .. 'feed', '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, member in ipairs(members) do
  local id = string.match(member, '^%S+')
  call('ZREM', P .. 'feed', member)
  if call('HINCRBY', P .. 'fw', id, -1) <= 0 then call('HDEL', P .. 'fw', id) end
end
return #members
