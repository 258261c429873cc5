-- Switches the feed on or off. ARGV: 1 or 0. What was told while it was off goes into it afterwards,
-- see feed_fill.lua; what waits when it is switched off waits no more.
if ARGV[1] == '1' then
  if call('SETNX', P .. 'fo', 1) == 1 then call('SET', P .. 'ff', '') end
  return call('EXISTS', P .. 'ff')
end
call('UNLINK', P .. 'feed', P .. 'fw', P .. 'fo', P .. 'ff')
return 0
