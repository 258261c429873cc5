-- Version 4. The feed: which rows of history are still to go into the archive, in the order in which
-- they were written. A number is never given twice, so that acknowledging late cannot hit another
-- row. Empty while there is no archive.

CREATE TABLE feed (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    job BLOB NOT NULL,
    revision INTEGER NOT NULL,
    place INTEGER NOT NULL
) STRICT;
-- A job that waits here is not purged.
CREATE INDEX feed_job ON feed (job);

-- One row: whether commits write into the feed.
CREATE TABLE feed_state (is_on INTEGER NOT NULL) STRICT;
INSERT INTO feed_state VALUES (0);
