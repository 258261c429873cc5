-- Reads what commits have left to do beside them: names and bodies alternate.
return call('HGETALL', P .. 'after')
