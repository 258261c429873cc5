-- Puts off the end of claims on messages; one that is settled or due later stays as it is. ARGV:
-- until when, the messages.
for index = 2, #ARGV do
  local key = P .. 'o:' .. ARGV[index]
  local f = call('HMGET', key, 'du', 'n', 'k')
  if f[1] and tonumber(f[1]) < tonumber(ARGV[1]) then
    call('HSET', key, 'du', ARGV[1])
    call('ZADD', waiting(f[3]), ARGV[1], f[2])
  end
end
return 0
