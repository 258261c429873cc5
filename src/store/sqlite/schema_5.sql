-- Version 5. Fewer and fuller pages for each commit. A row of history beyond a quarter of a page took
-- a page of its own for its rest: an ordinary table keeps it whole, and at the end of the file. The
-- status is in one index of jobs instead of two. A visit's open tasks are found by their place.

CREATE TABLE runs (
    job BLOB NOT NULL,
    revision INTEGER NOT NULL,
    place INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
INSERT INTO runs (job, revision, place, body)
SELECT job, revision, place, body FROM history ORDER BY job, revision, place;
DROP TABLE history;
ALTER TABLE runs RENAME TO history;
CREATE UNIQUE INDEX history_place ON history (job, revision, place);

-- The client is along so that a client's jobs are counted without reading them.
DROP INDEX jobs_status;
CREATE INDEX jobs_status ON jobs (status, id, client);
DROP INDEX jobs_client;
CREATE INDEX jobs_client ON jobs (client, id);

DROP INDEX tasks_open;
