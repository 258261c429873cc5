-- Version 2. A row of events holds what one batch brought of a job on one day: links that follow each
-- other in the job as well as on the day. Its numbers and the hashes before it are those of its first
-- event; `hashes` are those of all of them, 32 bytes each, and `body` is the JSON array of them.

ALTER TABLE history_events ADD COLUMN last_revision bigint, ADD COLUMN last_place bigint;
UPDATE history_events
    SET last_revision = revision, last_place = place, body = '[' || body || ']';
ALTER TABLE history_events
    ALTER COLUMN last_revision SET NOT NULL,
    ALTER COLUMN last_place SET NOT NULL,
    DROP COLUMN event_type;
ALTER TABLE history_events RENAME COLUMN hash TO hashes;

-- LZ4 costs a fraction of what the default compression does. A server that cannot keeps the default.
DO $$ BEGIN
    EXECUTE 'ALTER TABLE history_events ALTER COLUMN body SET COMPRESSION lz4';
    EXECUTE 'ALTER TABLE history_bodies ALTER COLUMN body SET COMPRESSION lz4';
EXCEPTION WHEN syntax_error OR feature_not_supported OR invalid_parameter_value THEN
    NULL;
END $$;
