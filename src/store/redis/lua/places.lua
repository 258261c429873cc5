-- Reads tasks of a job in order of place. ARGV: job, from and up to which place, how many; returns
-- the last place that was looked at, for the next call, and the tasks.
local members = call('ZRANGEBYLEX', P .. 'y:' .. ARGV[1], ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4])
local found = {}
for index, member in ipairs(members) do found[index] = task(string.match(member, ':(.*)$')) end
return { members[#members] or false, found }
