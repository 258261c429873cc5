-- Tells how many messages of the partition are still to be delivered.
return call('ZCARD', P .. 'outbox') + call('ZCARD', P .. 'hooks')
