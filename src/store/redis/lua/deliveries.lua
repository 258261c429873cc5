-- Reads a job's webhooks, oldest first. ARGV: job, at most how many.
local found = {}
for _, member in ipairs(call('ZRANGEBYLEX', P .. 'x:' .. ARGV[1], '-', '+')) do
  if #found >= tonumber(ARGV[2]) then break end
  local key = P .. 'o:' .. string.match(member, ':(.*)$')
  if call('HGET', key, 'k') == 'webhook' then found[#found + 1] = call('HGETALL', key) end
end
return found
