-- What lies outside the partition of the job that it is about: quotas and data stores. On one server a
-- commit's script writes them itself; in a cluster they are reserved before a commit and settled after it.
-- ARGV[1] names the call; keys are given whole.
local call = redis.call
local calls = {}

local function now_ms()
  local clock = call('TIME')
  return tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
end

-- count, those counted whose job may not come to be, job, limit, how long both are kept, how old one of
-- these has to be to be doubted, and up to what age its commit may be under way
function calls.quota(count, open, job, limit, ttl, old, young)
  if call('ZSCORE', open, job) then return { 'ours' } end
  local now = now_ms()
  if tonumber(call('GET', count) or '0') >= tonumber(limit) then
    local doubted = call('ZRANGEBYSCORE', open, '-inf', now - tonumber(old), 'LIMIT', 0, 100)
    return { 'full', call('ZCOUNT', open, now - tonumber(young), '+inf'), doubted }
  end
  call('INCR', count)
  call('ZADD', open, now, job)
  call('PEXPIRE', count, ttl)
  call('PEXPIRE', open, ttl)
  return { 'new' }
end

function calls.quota_settle(_, open, job)
  return call('ZREM', open, job)
end

function calls.quota_free(count, open, job)
  if call('ZREM', open, job) == 1 then call('DECR', count) end
  return 0
end

-- data store, numbers of those who wrote its fields last, this one's number, fields and values
function calls.data(name, last, number, ...)
  local given = { ... }
  for index = 1, #given, 2 do
    if tonumber(call('HGET', last, given[index]) or '0') <= tonumber(number) then
      call('HSET', last, given[index], number)
      call('HSET', name, given[index], given[index + 1])
    end
  end
  return 0
end

return calls[ARGV[1]](unpack(ARGV, 2))
