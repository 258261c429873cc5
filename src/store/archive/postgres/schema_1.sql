-- Version 1. Partitions are made by the month, ahead of time and when something comes that is older.
-- Hashes are 32 bytes; days are counted from 1970-01-01.

CREATE TABLE history_events (
    at timestamptz NOT NULL,
    job uuid NOT NULL,
    job_number bigint NOT NULL,
    revision bigint NOT NULL,
    place bigint NOT NULL,
    day integer NOT NULL,
    day_number bigint NOT NULL,
    event_type text NOT NULL,
    previous_in_job bytea NOT NULL,
    previous_in_day bytea NOT NULL,
    hash bytea NOT NULL,
    -- The event as canonical JSON: what the hash covers. Text, because jsonb would write it anew.
    body text NOT NULL,
    PRIMARY KEY (job, job_number, at)
) PARTITION BY RANGE (at);
CREATE INDEX history_events_day ON history_events (day, day_number);

-- The last link of each day.
CREATE TABLE history_days (
    day integer PRIMARY KEY,
    number bigint NOT NULL,
    hash bytea NOT NULL
);

-- An id begins with the time at which it was made, so its month is a range of ids.
CREATE TABLE history_jobs (
    id uuid PRIMARY KEY,
    client text NOT NULL,
    blueprint text NOT NULL,
    status text NOT NULL,
    created_at timestamptz NOT NULL,
    ended_at timestamptz,
    -- The time of its latest event.
    last_at timestamptz NOT NULL,
    revision bigint NOT NULL,
    -- The last link of its chain, and the furthest place among its events.
    number bigint NOT NULL,
    hash bytea NOT NULL,
    last_revision bigint NOT NULL,
    last_place bigint NOT NULL,
    summary text NOT NULL
) PARTITION BY RANGE (id);
CREATE INDEX history_jobs_client ON history_jobs (client, id);
CREATE INDEX history_jobs_status ON history_jobs (client, status, id);
CREATE INDEX history_jobs_blueprint ON history_jobs (client, blueprint, id);

-- Whole records of ended jobs.
CREATE TABLE history_bodies (
    job uuid PRIMARY KEY,
    body text NOT NULL
) PARTITION BY RANGE (job);

-- Labels, and the words of errors.
CREATE TABLE history_terms (
    client text NOT NULL,
    term text NOT NULL,
    job uuid NOT NULL,
    PRIMARY KEY (client, term, job)
) PARTITION BY RANGE (job);

CREATE TABLE history_facts (
    name text PRIMARY KEY,
    value bigint NOT NULL
);
