-- Reads entries of the feed. ARGV: at how many bytes to stop, the members. Returns how many were
-- looked at, the rows of history (nothing for one that is gone), then jobs: id, body, what it was given.
local found, jobs, seen, bytes, count = {}, {}, {}, 0, 0
for index = 2, #ARGV do
  if bytes >= tonumber(ARGV[1]) then break end
  local id, place = string.match(ARGV[index], '^(%S+) (.*)$')
  local rows = call('ZRANGEBYLEX', P .. 'h:' .. id, '[' .. place, '(' .. place .. '\255', 'LIMIT', 0, 1)
  found[index - 1] = rows[1] or ''
  bytes = bytes + #found[index - 1]
  if not seen[id] then
    seen[id] = true
    local parts = call('HMGET', P .. 'j:' .. id, 'd', 'f')
    if parts[1] then
      jobs[#jobs + 1] = { id, parts }
      bytes = bytes + #parts[1] + #(parts[2] or '')
    end
  end
  count = index - 1
end
return { count, found, jobs }
