-- Takes the feed for a while, for whoever has it or takes it up. KEYS[1] is the prefix of what has no
-- partition. ARGV: who, for how many ms; 0 gives it back. Returns whether it is theirs.
local key = P .. 'exporter'
local holder = call('GET', key)
if holder and holder ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then
  call('DEL', key)
else
  call('SET', key, ARGV[1], 'PX', ARGV[2])
end
return 1
