-- Tells what waits for the archive, oldest first. ARGV: at most how many. Returns the stream that they
-- lie in, then numbers and members alternate; `ff` if what was told before is still to be found.
if call('EXISTS', P .. 'fo') == 1 then keep_feed() end
local stream = 'fb'
if call('EXISTS', P .. 'fb') == 0 then
  if call('EXISTS', P .. 'ff') == 1 then return { 'ff' } end
  stream = 'fe'
end
local found = { stream }
for _, entry in ipairs(call('XRANGE', P .. stream, '-', '+', 'COUNT', ARGV[1])) do
  found[#found + 1] = entry[1]
  found[#found + 1] = entry[2][2]
end
return found
