-- Records how a try at a message ended. ARGV: message, how, now, when again, reason. `answered` is
-- `delivered` for a signal and nothing for a webhook, which has to be sent.
local how = ARGV[2]
if how == 'answered' then
  if call('HGET', P .. 'o:' .. ARGV[1], 'k') == 'webhook' then return 0 end
  how = 'delivered'
end
settle(ARGV[1], how, ARGV[3], ARGV[4], ARGV[5])
return 0
