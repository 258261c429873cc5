-- Tells which ended jobs' time has passed and have nothing left to deliver or to bring over. ARGV: now,
-- at most how many, how many of each index are looked at, and from which scores on in `keep` and `early`,
-- empty for not at all. Returns members and times, which alternate, and for each index the score from
-- which on the next look goes on, empty at its end.
local found, known = {}, {}
local function look(set, from)
  if from == '' then return '' end
  local some = call('ZRANGEBYSCORE', P .. set, from, ARGV[1], 'WITHSCORES', 'LIMIT', 0, ARGV[3])
  for index = 1, #some, 2 do
    if #found >= tonumber(ARGV[2]) * 2 then return some[index + 1] end
    local id = some[index]
    if not known[id] and forgettable(id, ARGV[1]) then
      found[#found + 1] = id
      found[#found + 1] = some[index + 1]
    end
    known[id] = true
  end
  if #some < tonumber(ARGV[3]) * 2 then return '' end
  local last = some[#some]
  -- More than a page of one moment: those behind it have to wait until all of them can go.
  if last == some[2] then return '(' .. last end
  return last
end
local keep = look('keep', ARGV[4])
return { found, keep, look('early', ARGV[5]) }
