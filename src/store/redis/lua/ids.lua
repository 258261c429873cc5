-- Reads members of sorted sets without times. ARGV: order (up or down), how many of each, then a set
-- and where to begin in it, again and again.
local found = {}
for index = 3, #ARGV, 2 do
  local key, from = P .. ARGV[index], ARGV[index + 1]
  if ARGV[1] == 'down' then
    found[#found + 1] = call('ZREVRANGEBYLEX', key, from, '-', 'LIMIT', 0, ARGV[2])
  else
    found[#found + 1] = call('ZRANGEBYLEX', key, from, '+', 'LIMIT', 0, ARGV[2])
  end
end
return found
