-- Tells in which stream lies what is to go to the archive first; `ff` if what was told before the feed was
-- on is still to be found.
if call('EXISTS', P .. 'fo') == 1 then keep_feed() end
if call('EXISTS', P .. 'fb') == 1 then return 'fb' end
return call('EXISTS', P .. 'ff') == 1 and 'ff' or 'fe'
