-- Puts into the feed what the next jobs have told while it was off. ARGV: how many jobs. Returns
-- whether more are left.
local last = call('GET', P .. 'ff')
if not last then return 0 end
local from = last == '' and '-' or '(' .. last
local jobs = call('ZRANGEBYLEX', P .. 'all', from, '+', 'LIMIT', 0, ARGV[1])
for _, id in ipairs(jobs) do
  for _, row in ipairs(call('ZRANGE', P .. 'h:' .. id, 0, -1)) do
    call('XADD', P .. 'fb', '*', 'r', id .. ' ' .. place_of(row))
  end
end
if #jobs < tonumber(ARGV[1]) then
  call('DEL', P .. 'ff')
  return 0
end
call('SET', P .. 'ff', jobs[#jobs])
return 1
