-- Forgets what was left to do beside commits. ARGV: names.
return call('HDEL', P .. 'after', unpack(ARGV))
