-- Reads rows of a job's history in order of place. ARGV: job, from where, at most how many.
return call('ZRANGEBYLEX', P .. 'h:' .. ARGV[1], ARGV[2], '+', 'LIMIT', 0, ARGV[3])
