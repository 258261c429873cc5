-- Tells which ended jobs' time has passed and have nothing left to deliver or to bring over. ARGV: now,
-- at most how many; members and times alternate.
local found, known = {}, {}
local function look(set)
  local from = 0
  while #found < tonumber(ARGV[2]) * 2 do
    local some = call('ZRANGEBYSCORE', P .. set, '-inf', ARGV[1], 'WITHSCORES', 'LIMIT', from, 100)
    if #some == 0 then return end
    for index = 1, #some, 2 do
      local id = some[index]
      if not known[id] and forgettable(id, ARGV[1]) then
        found[#found + 1] = id
        found[#found + 1] = some[index + 1]
      end
      known[id] = true
    end
    from = from + 100
  end
end
look('keep')
look('early')
return found
