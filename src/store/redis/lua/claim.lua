-- Claims messages. ARGV: now, until when, the kind of them and the members of its set; those that are
-- still due are returned, each as its hash.
local claimed = {}
local set = waiting(ARGV[3])
for index = 4, #ARGV do
  local member = ARGV[index]
  local due = call('ZSCORE', set, member)
  if due and tonumber(due) <= tonumber(ARGV[1]) then
    local key = P .. 'o:' .. string.match(member, ':(.*)$')
    local f = call('HMGET', key, 'k', 'du')
    local own = waiting(f[1])
    if not f[2] then
      -- It is settled: by an older version, which does not look for it here, or it is gone.
      call('ZREM', set, member)
    elseif own ~= set then
      -- An older version kept all of them in one set.
      call('ZREM', set, member)
      call('ZADD', own, due, member)
    else
      call('ZADD', set, ARGV[2], member)
      call('HSET', key, 'du', ARGV[2])
      claimed[#claimed + 1] = { member, call('HGETALL', key) }
    end
  end
end
return claimed
