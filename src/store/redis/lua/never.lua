-- Tells whether a new job is there. ARGV: job; for how many ms it is refused from now on if it is not,
-- 0 leaves it free to come.
local id = ARGV[1]
if call('EXISTS', P .. 'j:' .. id) == 1 then return 1 end
if ARGV[2] ~= '0' then call('SET', P .. 'no:' .. id, 1, 'PX', ARGV[2]) end
return 0
