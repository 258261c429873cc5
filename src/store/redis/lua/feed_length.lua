-- Tells how much waits for the archive.
return call('XLEN', P .. 'fb') + call('XLEN', P .. 'fe')
