-- Forgets entries of the feed that the archive has. ARGV: the stream, the first and the last of them, how
-- many. Where another entry is first they were forgotten before; where the last one is missing the server
-- has lost what it was told latest, and others may be in its place: all of it is read again.
local key = P .. ARGV[1]
local first = call('XRANGE', key, '-', '+', 'COUNT', 1)[1]
if not first or first[1] ~= ARGV[2] then return 0 end
if #call('XRANGE', key, ARGV[3], ARGV[3]) == 0 then return 0 end
local left = math.max(0, call('XLEN', key) - tonumber(ARGV[4]))
call('XTRIM', key, 'MAXLEN', left)
if left == 0 and ARGV[1] == 'fb' then call('DEL', key) end
return 1
