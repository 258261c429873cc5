-- Appends events of a job, each a row of its own; one whose place is known is left as it is.
-- ARGV: job, then place and body of each.
local key = P .. 'h:' .. ARGV[1]
for index = 2, #ARGV, 2 do
  local place = ARGV[index]
  -- No body begins with this byte, so all rows of the place lie before it.
  local known = call('ZRANGEBYLEX', key, '[' .. place, '(' .. place .. '\255', 'LIMIT', 0, 1)
  if #known == 0 then
    call('ZADD', key, 0, place .. ARGV[index + 1])
    local fed = feed(ARGV[1], place, call('TIME'))
    local job = P .. 'j:' .. ARGV[1]
    if fed and call('EXISTS', job) == 1 then call('HSET', job, 'e', fed) end
  end
end
return 0
