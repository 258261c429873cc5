-- Tells what waits for the archive, oldest first: members and numbers alternate. ARGV: at most how many.
return call('ZRANGE', P .. 'feed', 0, ARGV[1] - 1, 'WITHSCORES')
