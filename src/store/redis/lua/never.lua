-- Tells whether a new job is there. ARGV: job; for how many ms it is refused from now on if it is not,
-- 0 leaves it free to come. Returns 1 when it is there, 2 when it will never be.
local id = ARGV[1]
if call('EXISTS', P .. 'j:' .. id) == 1 then return 1 end
if ARGV[2] == '0' then return call('EXISTS', P .. 'no:' .. id) * 2 end
call('SET', P .. 'no:' .. id, 1, 'PX', ARGV[2])
return 2
