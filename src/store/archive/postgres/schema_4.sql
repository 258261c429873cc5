-- Version 4. What the first event of a day goes on from, which its hash covers: an event of an earlier day.
-- Of a row with such an event, which is the row's first; null in all others, and where an earlier version
-- has begun the day.

ALTER TABLE history_events ADD COLUMN before_day integer, ADD COLUMN before_number bigint;
ALTER TABLE history_segments ADD COLUMN before_day integer, ADD COLUMN before_number bigint;
