-- Version 3. Of many jobs that begin in one batch the events lie in one row, a segment: links that follow
-- each other on their day, those of each job from its first on. A tenth of the rows and indexes, and the
-- texts of many jobs are compressed together. What comes later of such a job has rows of its own, as
-- has what comes in small batches.

CREATE TABLE history_segments (
    at timestamptz NOT NULL,
    day integer NOT NULL,
    -- The first of its links on that day.
    day_number bigint NOT NULL,
    previous_in_day bytea NOT NULL,
    -- 32 bytes of each event.
    hashes bytea NOT NULL,
    -- The JSON array of the events.
    body text NOT NULL,
    PRIMARY KEY (day, day_number, at)
) PARTITION BY RANGE (at);

-- The records of those jobs that have also ended in it: a JSON array. They go with the jobs, which may
-- stay longer than the events; then a day's numbers may begin again.
CREATE TABLE history_records (
    at timestamptz NOT NULL,
    day integer NOT NULL,
    day_number bigint NOT NULL,
    records text NOT NULL
) PARTITION BY RANGE (at);
CREATE INDEX history_records_segment ON history_records (day, day_number);

-- They do not get shorter.
ALTER TABLE history_segments ALTER COLUMN hashes SET STORAGE EXTERNAL;

-- The segment with the job's first events, if they are in one: its day and its number there.
ALTER TABLE history_jobs ADD COLUMN segment_day integer, ADD COLUMN segment bigint;

-- All events, wherever they are: for people.
CREATE VIEW history_log AS
    SELECT (event ->> 'job_id')::uuid AS job, event
    FROM (SELECT body FROM history_events UNION ALL SELECT body FROM history_segments) AS rows,
        json_array_elements(rows.body::json) AS event;

DO $$ BEGIN
    EXECUTE 'ALTER TABLE history_segments ALTER COLUMN body SET COMPRESSION lz4';
    EXECUTE 'ALTER TABLE history_records ALTER COLUMN records SET COMPRESSION lz4';
EXCEPTION WHEN syntax_error OR feature_not_supported OR invalid_parameter_value THEN
    NULL;
END $$;
