-- Tells how much waits for the archive.
return call('ZCARD', P .. 'feed')
