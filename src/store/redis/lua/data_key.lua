-- Gives values of a data store another form, unless they have changed. ARGV: the key, whole; fields, old
-- and new values.
for i = 2, #ARGV, 3 do
  if call('HGET', ARGV[1], ARGV[i]) == ARGV[i + 1] then call('HSET', ARGV[1], ARGV[i], ARGV[i + 2]) end
end
return 0
