-- Claims messages. ARGV: now, until when, the members of `outbox`; those that are still due are
-- returned, each as its hash.
local claimed = {}
for index = 3, #ARGV do
  local member = ARGV[index]
  local due = call('ZSCORE', P .. 'outbox', member)
  if due and tonumber(due) <= tonumber(ARGV[1]) then
    local id = string.match(member, ':(.*)$')
    call('ZADD', P .. 'outbox', ARGV[2], member)
    call('HSET', P .. 'o:' .. id, 'du', ARGV[2])
    claimed[#claimed + 1] = { member, call('HGETALL', P .. 'o:' .. id) }
  end
end
return claimed
