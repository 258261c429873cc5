-- Version 1 of an archive. Times are milliseconds since the Unix epoch, days are counted from it;
-- ids of jobs are the 16 bytes of their UUID, hashes are 32 bytes.

CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    job BLOB NOT NULL,
    job_number INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    place INTEGER NOT NULL,
    day INTEGER NOT NULL,
    day_number INTEGER NOT NULL,
    previous_in_job BLOB NOT NULL,
    previous_in_day BLOB NOT NULL,
    hash BLOB NOT NULL,
    -- The event as canonical JSON: what the hash covers.
    body TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX events_job ON events (job, job_number);
CREATE UNIQUE INDEX events_day ON events (day, day_number);

-- The last link of each day.
CREATE TABLE days (
    day INTEGER NOT NULL PRIMARY KEY,
    number INTEGER NOT NULL,
    hash BLOB NOT NULL
) STRICT;

CREATE TABLE jobs (
    id BLOB NOT NULL PRIMARY KEY,
    client TEXT NOT NULL,
    blueprint TEXT NOT NULL,
    status TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    ended_at INTEGER,
    -- The time of its latest event.
    last_at INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    -- The last link of its chain, and the furthest place among its events.
    number INTEGER NOT NULL,
    hash BLOB NOT NULL,
    last_revision INTEGER NOT NULL,
    last_place INTEGER NOT NULL,
    summary TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX jobs_client ON jobs (client, id, created_at);
CREATE INDEX jobs_status ON jobs (client, status, id, created_at);
CREATE INDEX jobs_blueprint ON jobs (client, blueprint, id, status, created_at);
CREATE INDEX jobs_ended ON jobs (ended_at, id) WHERE ended_at IS NOT NULL;

-- Whole records of ended jobs.
CREATE TABLE bodies (
    job BLOB NOT NULL PRIMARY KEY,
    body TEXT NOT NULL
) STRICT;

-- Labels, and the words of errors.
CREATE TABLE terms (
    client TEXT NOT NULL,
    term TEXT NOT NULL,
    job BLOB NOT NULL,
    PRIMARY KEY (client, term, job)
) STRICT, WITHOUT ROWID;

CREATE TABLE facts (
    name TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;
