-- Tells which ended jobs' time has passed and have nothing left to deliver. ARGV: now, at most how
-- many; members and times alternate.
local found, from = {}, 0
while #found < tonumber(ARGV[2]) * 2 do
  local some = call('ZRANGEBYSCORE', P .. 'keep', '-inf', ARGV[1], 'WITHSCORES', 'LIMIT', from, 100)
  if #some == 0 then break end
  for index = 1, #some, 2 do
    if tonumber(call('HGET', P .. 'j:' .. some[index], 'o') or '0') <= 0 then
      found[#found + 1] = some[index]
      found[#found + 1] = some[index + 1]
    end
  end
  from = from + 100
end
return found
