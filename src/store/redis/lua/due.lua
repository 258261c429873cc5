-- Tells what is due. ARGV: now, at most how many of each, which sorted sets; for each of these
-- members and times alternate, and one more follows: what comes next, if anything does.
local answer = {}
for index = 3, #ARGV do
  local key = P .. ARGV[index]
  local due = call('ZRANGEBYSCORE', key, '-inf', ARGV[1], 'WITHSCORES', 'LIMIT', 0, ARGV[2])
  local next_ = call('ZRANGE', key, #due / 2, #due / 2, 'WITHSCORES')
  answer[#answer + 1] = due
  answer[#answer + 1] = next_
end
return answer
