-- Workers, tokens and nonces, all in one place. KEYS[1] is their prefix, ARGV[1] names the call:
--
--   w    hash of bodies      reg  hash of registration times   rep  hash of reputations
--   gone  workers that went and have a reputation, by the time that was their last; gone0 says that those
--        which went before that was noted are in it
--   exp  workers by time     k:TOKEN  hash: b body, kind, w worker, f family, u until, used
--   tokens  tokens by time   f:FAMILY  set of its tokens       r:FAMILY  revoked until
--   revoked  families by time          nonces  worker and nonce by time
local P = KEYS[1]
local call = redis.call

local function forget_token(hash)
  local family = call('HGET', P .. 'k:' .. hash, 'f')
  if family then call('SREM', P .. 'f:' .. family, hash) end
  call('DEL', P .. 'k:' .. hash)
  call('ZREM', P .. 'tokens', hash)
end

local calls = {}

-- worker, body, registered at, expires at, reputation when nothing is known
function calls.put(id, body, registered, expires, reputation)
  call('HSETNX', P .. 'rep', id, reputation)
  call('HSET', P .. 'w', id, body)
  call('HSET', P .. 'reg', id, registered)
  call('ZADD', P .. 'exp', expires, id)
  call('ZREM', P .. 'gone', id)
  return call('HGET', P .. 'rep', id)
end

function calls.beat(id, body, expires)
  if call('HEXISTS', P .. 'w', id) == 0 then return 0 end
  call('HSET', P .. 'w', id, body)
  call('ZADD', P .. 'exp', expires, id)
  return 1
end

-- for each worker: id, until
function calls.extend(...)
  local given = { ... }
  for index = 1, #given, 2 do
    local id, until_ = given[index], given[index + 1]
    local known = call('ZSCORE', P .. 'exp', id)
    if known and tonumber(known) < tonumber(until_) then call('ZADD', P .. 'exp', until_, id) end
  end
  return 0
end

local function worker(id, body)
  local registered, reputation = call('HGET', P .. 'reg', id), call('HGET', P .. 'rep', id)
  return { id, body, registered, reputation, call('ZSCORE', P .. 'exp', id) }
end

function calls.list()
  local all = call('HGETALL', P .. 'w')
  local found = {}
  for index = 1, #all, 2 do found[#found + 1] = worker(all[index], all[index + 1]) end
  return found
end

-- workers
function calls.read(...)
  local found = {}
  for _, id in ipairs({ ... }) do
    local body = call('HGET', P .. 'w', id)
    if body then found[#found + 1] = worker(id, body) end
  end
  return found
end

-- workers whose time was over before; reputations of those whose time was over long before
function calls.forget(before, long_before)
  if call('SETNX', P .. 'gone0', 1) == 1 then
    for _, id in ipairs(call('HKEYS', P .. 'rep')) do
      if not call('ZSCORE', P .. 'exp', id) then call('ZADD', P .. 'gone', before, id) end
    end
  end
  local gone = call('ZRANGEBYSCORE', P .. 'exp', '-inf', '(' .. before)
  for _, id in ipairs(gone) do
    call('ZADD', P .. 'gone', call('ZSCORE', P .. 'exp', id), id)
    call('HDEL', P .. 'w', id)
    call('HDEL', P .. 'reg', id)
    call('ZREM', P .. 'exp', id)
  end
  local long_gone = call('ZRANGEBYSCORE', P .. 'gone', '-inf', '(' .. long_before, 'LIMIT', 0, 1000)
  for _, id in ipairs(long_gone) do
    -- An older orchestrator may have let it register again.
    if not call('ZSCORE', P .. 'exp', id) then call('HDEL', P .. 'rep', id) end
    call('ZREM', P .. 'gone', id)
  end
  return gone
end

function calls.rate(id, delta, start)
  local reputation = tonumber(call('HGET', P .. 'rep', id) or start)
  local changed = reputation + tonumber(delta)
  -- A change that is not a number must not become the reputation.
  if changed ~= changed then changed = reputation end
  local text = string.format('%.17g', math.max(0, math.min(1, changed)))
  call('HSET', P .. 'rep', id, text)
  return text
end

-- for each token: hash, body, kind, worker, family, until
function calls.put_tokens(...)
  local given = { ... }
  for index = 1, #given, 6 do
    local hash, body, kind, worker, family, until_ = unpack(given, index, index + 5)
    if call('EXISTS', P .. 'r:' .. family) == 0 then
      forget_token(hash)
      call('HSET', P .. 'k:' .. hash, 'b', body, 'kind', kind, 'w', worker, 'f', family, 'u', until_)
      call('ZADD', P .. 'tokens', until_, hash)
      call('SADD', P .. 'f:' .. family, hash)
    end
  end
  return 0
end

function calls.find_access(hash)
  local f = call('HMGET', P .. 'k:' .. hash, 'b', 'kind')
  return f[2] == 'access' and f[1]
end

function calls.take_refresh(hash, worker, now)
  local key = P .. 'k:' .. hash
  local f = call('HMGET', key, 'b', 'kind', 'w', 'f', 'u', 'used')
  if f[2] ~= 'refresh' or f[3] ~= worker or tonumber(f[5]) <= tonumber(now) then return { 'unknown' } end
  if not f[6] then
    call('HSET', key, 'used', 1)
    return { 'taken', f[1] }
  end
  for _, one in ipairs(call('SMEMBERS', P .. 'f:' .. f[4])) do forget_token(one) end
  call('SET', P .. 'r:' .. f[4], f[5])
  call('ZADD', P .. 'revoked', f[5], f[4])
  return { 'reused' }
end

function calls.knows(worker, nonce, now)
  local until_ = call('ZSCORE', P .. 'nonces', worker .. ' ' .. nonce)
  return until_ and tonumber(until_) > tonumber(now) and 1 or 0
end

function calls.remember(worker, nonce, now, until_)
  if calls.knows(worker, nonce, now) == 1 then return 0 end
  call('ZADD', P .. 'nonces', until_, worker .. ' ' .. nonce)
  return 1
end

-- at most how many of each; returns how many there were
function calls.purge(now, limit)
  local tokens = call('ZRANGEBYSCORE', P .. 'tokens', '-inf', now, 'LIMIT', 0, limit)
  for _, hash in ipairs(tokens) do forget_token(hash) end
  local families = call('ZRANGEBYSCORE', P .. 'revoked', '-inf', now, 'LIMIT', 0, limit)
  for _, family in ipairs(families) do
    call('DEL', P .. 'r:' .. family)
    call('ZREM', P .. 'revoked', family)
  end
  local nonces = call('ZRANGEBYSCORE', P .. 'nonces', '-inf', now, 'LIMIT', 0, limit)
  for _, nonce in ipairs(nonces) do call('ZREM', P .. 'nonces', nonce) end
  return math.max(#tokens, #families, #nonces)
end

return calls[ARGV[1]](unpack(ARGV, 2))
