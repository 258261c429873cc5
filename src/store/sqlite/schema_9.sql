-- Version 9. A reputation goes some time after its worker. Of those whose workers have gone already nobody
-- knows when: their time begins now.

ALTER TABLE reputations ADD COLUMN gone_at INTEGER;
UPDATE reputations SET gone_at = unixepoch() * 1000 WHERE worker NOT IN (SELECT id FROM workers);
CREATE INDEX reputations_gone ON reputations (gone_at) WHERE gone_at IS NOT NULL;
