-- Forgets idempotency keys that are past their time. ARGV: now, at most how many; returns how many there were.
local names = call('ZRANGEBYSCORE', P .. 'keys', '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, name in ipairs(names) do
  call('DEL', name)
  call('ZREM', P .. 'keys', name)
end
return #names
