-- Stores a step's fruit: revision, guards, effects, in that order. Nothing is written before all is
-- checked. ARGV: the job, the count of guards and each, the count of effects and each; see commit.rs.
local at = 0
local function take()
  at = at + 1
  return ARGV[at]
end
-- Nothing is sent as an empty text.
local function maybe()
  local value = take()
  if value ~= '' then return value end
  return false
end

local id, expected, revision, now = take(), take(), take(), take()
local outbox_due, doc, given = take(), take(), maybe()
local status, wake, keep, early = take(), maybe(), maybe(), maybe()
local client, pin, history, place, settles = take(), take(), maybe(), maybe(), maybe()
local job = P .. 'j:' .. id
local old = call('HMGET', job, 'v', 's', 'w', 'k', 'y')
if (old[1] or '0') ~= expected then return { 'conflict' } end
-- Its place in a quota was given to another job meanwhile.
if expected == '0' and call('EXISTS', P .. 'no:' .. id) == 1 then return { 'never' } end

-- The status and the worker of a task, as long as nothing is written to it here.
local seen = {}
local function look(t)
  local f = seen[t] or call('HMGET', P .. 't:' .. t, 's', 'lw')
  seen[t] = f
  return f
end

local check = {
  key = function(index)
    local key = take()
    at = at + 2
    local known = call('HMGET', key, 'j', 'f', 'u')
    if known[1] and tonumber(known[3]) > tonumber(now) then
      return { 'refused', index, known[1], known[2] }
    end
  end,
  quota = function(index)
    local key, limit = take(), take()
    if tonumber(call('GET', key) or '0') >= tonumber(limit) then return { 'refused', index } end
    at = at + 1
  end,
  held = function(index)
    local t, worker = take(), take()
    local f = look(t)
    if f[1] ~= 'l' or f[2] ~= worker then return { 'refused', index } end
  end,
  leased = function(index)
    local t, lease = take(), take()
    local f = call('HMGET', P .. 't:' .. t, 's', 'li')
    if f[1] ~= 'l' or f[2] ~= lease then return { 'refused', index } end
  end,
  due = function(index)
    local t, seen = take(), tonumber(take())
    local f = call('HMGET', P .. 't:' .. t, 's', 'dd', 'rd', 'lu', 'ld')
    local due = f[1] and due_at(f[1], f[2], f[3], f[4], f[5])
    if not due or due > seen then return { 'refused', index } end
  end,
  job = function(index)
    local other, revision = take(), take()
    if call('HGET', P .. 'j:' .. other, 'v') ~= revision then return { 'refused', index } end
  end,
}
local guards = tonumber(take())
local first = at
for index = 1, guards do
  local refusal = check[take()](index)
  if refusal then return refusal end
end
at = first
-- Only the two of a new job take something.
for _ = 1, guards do
  local kind = take()
  if kind == 'key' then
    local key, fingerprint, until_ = take(), take(), take()
    call('HSET', key, 'j', id, 'f', fingerprint, 'u', until_)
    call('ZADD', P .. 'keys', until_, key)
  elseif kind == 'quota' then
    local key, _, ttl = take(), take(), take()
    call('INCR', key)
    -- Real time forgets it, long after its month.
    call('PEXPIRE', key, ttl)
  else
    at = at + 2
  end
end

-- Notes that a field gets a value, or that it goes.
local function note(set, gone, name, value)
  if value then
    set[#set + 1] = name
    set[#set + 1] = value
  else
    gone[#gone + 1] = name
  end
end

-- Calls `act` with each task of a visit from one place up to another, exclusive.
local function each(from, to, act)
  seen = {}
  for _, member in ipairs(call('ZRANGEBYLEX', P .. 'y:' .. id, '[' .. from, '(' .. to)) do
    act(string.match(member, ':(.*)$'))
  end
end

local ended, released, messages = {}, {}, 0
-- What the other processes are to be told of tasks, a line each.
local told = {}
local function tell(what, t, worker)
  told[#told + 1] = what .. ' ' .. t .. (worker and ' ' .. worker or '')
end
-- Nobody needs to hear of a task that its own worker has ended.
local function tell_end(s, t, worker)
  if s == 'q' then tell('e', t) elseif s == 'l' and worker then tell('x', t, worker) end
end
-- Orders messages across partitions: time of the server, then place in the commit.
local clock = call('TIME')
local stamp = string.format('%010d%06d', tonumber(clock[1]), tonumber(clock[2]))

local perform = {
  put = function()
    local t, member, count = take(), take(), tonumber(take())
    local key = P .. 't:' .. t
    local known = call('HMGET', key, 's', 'lw', 'j', 'p')
    if known[1] then
      leave(t, known[1], known[2])
      call('ZREM', P .. 'y:' .. known[3], known[4])
      call('DEL', key)
    end
    local first, f = at + 1, {}
    at = at + count * 2
    for i = first, at, 2 do f[ARGV[i]] = ARGV[i + 1] end
    call('HSET', key, 'j', id, 'p', member, unpack(ARGV, first, at))
    call('ZADD', P .. 'y:' .. id, '0', member)
    seen[t] = nil
    place_task(t, f.s, f.dd, f.rd, f.lu, f.ld, f.lw)
    if f.s == 'q' then tell('q', t) end
  end,
  ['end'] = function()
    local t, answer, report = take(), maybe(), maybe()
    local key = P .. 't:' .. t
    local known = look(t)
    if not known[1] then return end
    leave(t, known[1], known[2])
    if known[1] == 'q' or not answer then tell_end(known[1], t, known[2]) end
    local set, gone = { 's', 'e' }, { 'g' }
    note(set, gone, 'a', answer)
    note(set, gone, 'r', report)
    call('HSET', key, unpack(set))
    call('HDEL', key, unpack(gone))
    seen[t] = nil
  end,
  release = function()
    each(take(), take(), function(t)
      local key = P .. 't:' .. t
      local f = call('HMGET', key, 's', 'qa', 'dd', 'rd')
      if f[1] ~= 'h' then return end
      local held = math.max(0, tonumber(now) - tonumber(f[2]))
      call('HSET', key, 's', 'q', 'qa', now, 'aa', now)
      if f[3] then call('HSET', key, 'dd', string.format('%.0f', tonumber(f[3]) + held)) end
      if f[4] then call('HSET', key, 'rd', string.format('%.0f', tonumber(f[4]) + held)) end
      enter(t)
      tell('q', t)
      released[#released + 1] = task(t)
    end)
  end,
  end_all = function()
    each(take(), take(), function(t)
      local f = call('HMGET', P .. 't:' .. t, 's', 'lw')
      if not f[1] or f[1] == 'e' then return end
      leave(t, f[1], f[2])
      call('HDEL', P .. 't:' .. t, 'g')
      call('HSET', P .. 't:' .. t, 's', 'e')
      tell_end(f[1], t, f[2])
      if f[1] == 'l' and f[2] then
        ended[#ended + 1] = f[2]
        ended[#ended + 1] = t
      end
    end)
  end,
  message = function()
    local m, kind, body = take(), take(), take()
    messages = messages + 1
    local key, member = P .. 'o:' .. m, stamp .. string.format('%06d', messages) .. ':' .. m
    if call('EXISTS', key) == 1 then return end
    call('HSET', key, 'j', id, 'k', kind, 'm', body, 'n', member, 's', 'pending', 'at', '0',
      'du', outbox_due, 'c', now, 'u', now)
    call('ZADD', waiting(kind), outbox_due, member)
    call('ZADD', P .. 'x:' .. id, '0', member)
    call('HINCRBY', job, 'o', '1')
  end,
  after = function()
    local name, body = take(), take()
    call('HSET', P .. 'after', name, body)
  end,
  data = function()
    local key, field, value = take(), take(), take()
    call('HSET', key, field, value)
  end,
}
if settles and call('HGET', P .. 'o:' .. settles, 'k') ~= 'webhook' then
  settle(settles, 'delivered', now)
end
for _ = 1, tonumber(take()) do perform[take()]() end

local fed
if history then
  call('ZADD', P .. 'h:' .. id, '0', place .. history)
  fed = feed(id, place, clock)
end
local set, gone = { 'v', revision, 'd', doc, 's', status }, {}
if fed then note(set, gone, 'e', fed) end
if given then
  note(set, gone, 'f', given)
  note(set, gone, 'c', client)
  note(set, gone, 'b', pin)
  call('ZADD', P .. 'all', '0', id)
  call('ZADD', P .. 'c:' .. client, '0', id)
  call('HINCRBY', P .. 'pins', pin, '1')
end
local function at_time(field, index, time, known)
  if not (time or known) then return end
  note(set, gone, field, time)
  if time then call('ZADD', P .. index, time, id) else call('ZREM', P .. index, id) end
end
at_time('w', 'wake', wake, old[3])
at_time('k', 'keep', keep, old[4])
at_time('y', 'early', early, old[5])
call('HSET', job, unpack(set))
if gone[1] then call('HDEL', job, unpack(gone)) end
if old[2] ~= status then
  if old[2] then
    call('ZREM', P .. 's:' .. old[2], id)
    call('HINCRBY', P .. 'n', old[2], '-1')
    call('HINCRBY', P .. 'nc:' .. client, old[2], '-1')
  end
  call('ZADD', P .. 's:' .. status, '0', id)
  call('HINCRBY', P .. 'n', status, '1')
  call('HINCRBY', P .. 'nc:' .. client, status, '1')
end

return { 'ok', ended, released, told, fed or '' }
