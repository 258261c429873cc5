-- What the scripts of the job store have in common. Each script is sent with this in front of it.
--
-- KEYS[1] is the prefix of all keys of one partition, `NAME:{pNN}:`. The scripts make these keys of
-- it; keys of what has a name and no id lie in the partition of its hash, and come as arguments, whole.
--
--   j:JOB        hash: v revision, d body, f what it was given, s status, w wake_at, k keep_until,
--                y when it may go once the archive has it, c client, b blueprint and revision,
--                e number of its last entry in the feed, o messages still to be delivered
--   t:TASK       hash: j job, b body, g parameters, s status, p place, qa aa dd rd times,
--                lw li ls lu ld lease, r report, a answer
--   o:MESSAGE    hash: j job, k kind, m body, n member of `outbox` or `hooks`, s status, at tries, du due,
--                c created, u updated, e error
--   h:JOB        sorted set of history rows by place      x:JOB  sorted set of its messages
--   y:JOB        sorted set of its tasks by place
--   all, s:STATUS, c:CLIENT    sorted sets of jobs        n, nc:CLIENT  counts by status
--   wake, keep, early   jobs by time      due  tasks by time     queued  tasks      l:WORKER  its tasks
--   outbox       signals by time   hooks webhooks by time   pins  jobs by blueprint and revision
--   no:JOB       there if the job is never to come     after  what commits have to do elsewhere
--   k:CLIENT:KEY   hash: j job, f request, u until        keys  these by time
--   q:CLIENT:MONTH   count, and with :open those in doubt by time
--   d:BLUEPRINT  hash of data stores, dl: of the numbers of their writers, dn: the last of these
--   fe           stream of the rows of history that the archive does not have, each `JOB PLACE`; there,
--                if only empty, while the feed is on
--   fb           likewise those from before the feed was on, which go first
--   fo           there if the feed is on                 ff  up to which job `fb` is being filled
-- And for all partitions, below `NAME:{g}:`: bp sources by blueprint and revision, bpn when an
-- orchestrator named each as its own last; deployment the deployment's id.
local P = KEYS[1]
local call = redis.call

local function due_at(s, dd, rd, lu, ld)
  local own
  if s == 'q' then
    own = tonumber(dd)
  elseif s == 'l' and lu then
    own = math.min(tonumber(lu), tonumber(ld))
  else
    return nil
  end
  local result = tonumber(rd)
  if own and result then return math.min(own, result) end
  return own or result
end

-- Puts a task with these fields where its status says that it is looked for.
local function place_task(id, s, dd, rd, lu, ld, worker)
  if s == 'q' then
    call('ZADD', P .. 'queued', '0', id)
  elseif s == 'l' and worker then
    call('SADD', P .. 'l:' .. worker, id)
  end
  local due = due_at(s, dd, rd, lu, ld)
  if due then call('ZADD', P .. 'due', due, id) end
end

-- Likewise, by the fields that it has.
local function enter(id)
  local f = call('HMGET', P .. 't:' .. id, 's', 'dd', 'rd', 'lu', 'ld', 'lw')
  place_task(id, f[1], f[2], f[3], f[4], f[5], f[6])
end

-- Takes the task from there again, before its status changes.
local function leave(id, s, worker)
  if s == 'q' then
    call('ZREM', P .. 'queued', id)
  elseif s == 'l' and worker then
    call('SREM', P .. 'l:' .. worker, id)
  end
  if s == 'q' or s == 'l' then call('ZREM', P .. 'due', id) end
end

-- Returns the place that a row of history begins with: two numbers as `ordered` writes them.
local function place_of(row)
  local first = string.byte(row) - 96
  local second = string.byte(row, first + 1) - 96
  return string.sub(row, 1, first + second)
end

-- Makes the stream of a feed that is on, where it is not there: an older version made it with its first
-- entry, and one that is lost has to be found again in all that was told.
local function keep_feed()
  if call('EXISTS', P .. 'fe') == 1 then return end
  call('XADD', P .. 'fe', '*', 'r', '')
  call('XTRIM', P .. 'fe', 'MAXLEN', 0)
  call('SET', P .. 'ff', '')
end

-- Adds a row to the stream of the feed if it is there; returns its number, or an error as a table. From
-- version 6.2 on one call does it; what can be told here is version 7.
local function add(number, row)
  if redis.REDIS_VERSION_NUM then return redis.pcall('XADD', P .. 'fe', 'NOMKSTREAM', number, 'r', row) end
  if call('EXISTS', P .. 'fe') == 0 then return false end
  return redis.pcall('XADD', P .. 'fe', number, 'r', row)
end

-- Puts a row of history into the feed if that is on; returns its number there. Numbers are the server's
-- time in milliseconds and the microseconds beyond, so that what several partitions have can be brought in
-- order.
local function feed(id, place, clock)
  local us = tonumber(clock[2])
  local number = string.format('%s%03d-%d', clock[1], math.floor(us / 1000), us % 1000)
  local row = id .. ' ' .. place
  local added = add(number, row)
  if not added and call('EXISTS', P .. 'fo') == 1 then
    keep_feed()
    added = add(number, row)
  end
  -- Where the clock was set back the server finds a number behind the last.
  if type(added) == 'table' then added = add('*', row) end
  if type(added) == 'table' then error(added.err) end
  return added
end

-- Tells whether something of a job, whose last number in the feed is given, waits for the archive.
local function is_fed(number)
  -- What it has told while the feed was off is still to come, or it waits; so may what an older version
  -- beside this one has told.
  if call('EXISTS', P .. 'ff', P .. 'fb', P .. 'feed') > 0 then return true end
  -- It is lost, and filled again with the next look.
  if call('EXISTS', P .. 'fe') == 0 then return true end
  local first = number and call('XRANGE', P .. 'fe', '-', '+', 'COUNT', 1)[1]
  if not first then return false end
  local ms, us = string.match(number, '^(%d+)-(%d+)$')
  local first_ms, first_us = string.match(first[1], '^(%d+)-(%d+)$')
  if ms == first_ms then return tonumber(us) >= tonumber(first_us) end
  return tonumber(ms) > tonumber(first_ms)
end

-- Tells whether an ended job's time is over and nothing of it is left to do.
local function forgettable(id, now)
  local f = call('HMGET', P .. 'j:' .. id, 'k', 'o', 'y', 'e')
  if tonumber(f[2] or '0') > 0 or not f[1] then return false end
  local is_on = call('EXISTS', P .. 'fo') == 1
  if is_on and is_fed(f[4]) then return false end
  return tonumber(f[1]) <= tonumber(now) or is_on and f[3] and tonumber(f[3]) <= tonumber(now)
end

-- Returns where messages of a kind wait.
local function waiting(kind)
  return P .. (kind == 'webhook' and 'hooks' or 'outbox')
end

local function task(id)
  return call('HGETALL', P .. 't:' .. id)
end

-- Records how a try at a message ended; nothing happens to one that is unknown or settled for good.
local function settle(id, how, now, again, reason)
  local key = P .. 'o:' .. id
  local f = call('HMGET', key, 'du', 'n', 'j', 'k')
  if not f[1] then return end
  call('HINCRBY', key, 'at', 1)
  call('HSET', key, 'u', now)
  if how ~= 'delivered' then call('HSET', key, 'e', reason) end
  if how == 'retry' then
    call('HSET', key, 'du', again)
    call('ZADD', waiting(f[4]), again, f[2])
    return
  end
  call('ZREM', waiting(f[4]), f[2])
  call('HDEL', key, 'du')
  call('HINCRBY', P .. 'j:' .. f[3], 'o', -1)
  if how == 'delivered' and f[4] ~= 'webhook' then
    call('DEL', key)
    call('ZREM', P .. 'x:' .. f[3], f[2])
  else
    call('HSET', key, 's', how)
  end
end
