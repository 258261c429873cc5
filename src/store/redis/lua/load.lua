-- Reads a job, and a task with it if one is named. ARGV: job, task or nothing.
return { call('HMGET', P .. 'j:' .. ARGV[1], 'd', 'f'), ARGV[2] ~= '' and task(ARGV[2]) or {} }
