-- Version 6. Each row of history has a number, given once and in the order of writing, and the feed is
-- what lies behind the last number that the archive has: a commit writes nothing for it, and an
-- acknowledgement writes one row. What waited in the feed keeps its order and its place at the end.

CREATE TABLE told (
    seq INTEGER PRIMARY KEY,
    job BLOB NOT NULL,
    revision INTEGER NOT NULL,
    place INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
INSERT INTO told (job, revision, place, body)
SELECT job, revision, place, body FROM history AS h
WHERE NOT EXISTS (
    SELECT 1 FROM feed AS f
    WHERE f.job = h.job AND f.revision = h.revision AND f.place = h.place
)
ORDER BY h.rowid;

ALTER TABLE feed_state ADD COLUMN through INTEGER NOT NULL DEFAULT 0;
UPDATE feed_state SET through = coalesce((SELECT max(seq) FROM told), 0);

INSERT INTO told (job, revision, place, body)
SELECT h.job, h.revision, h.place, h.body FROM feed AS f
JOIN history AS h ON h.job = f.job AND h.revision = f.revision AND h.place = f.place
ORDER BY f.seq;

DROP TABLE feed;
DROP TABLE history;
ALTER TABLE told RENAME TO history;
CREATE UNIQUE INDEX history_place ON history (job, revision, place);
