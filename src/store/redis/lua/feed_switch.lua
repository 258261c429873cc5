-- Switches the feed on or off. ARGV: 1 or 0. What was told while it was off goes into it afterwards,
-- see feed_fill.lua; what waits when it is switched off waits no more. Returns whether it is to be filled;
-- of one that is switched off how much waited, or -1 when it was off.
local was_on = call('EXISTS', P .. 'feed', P .. 'fo') > 0
-- As an older version had it: all of it is brought over again, and what the archive knows it leaves.
if call('EXISTS', P .. 'feed') == 1 then call('DEL', P .. 'fo') end
call('UNLINK', P .. 'feed', P .. 'fw', P .. 'fs', P .. 'fi')
if ARGV[1] == '1' then
  if call('SETNX', P .. 'fo', 1) == 1 then call('SET', P .. 'ff', '') end
  keep_feed()
  return call('EXISTS', P .. 'ff')
end
local waited = was_on and call('XLEN', P .. 'fb') + call('XLEN', P .. 'fe') or -1
call('UNLINK', P .. 'fe', P .. 'fb', P .. 'fo', P .. 'ff')
return waited
