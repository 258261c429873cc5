-- Version 2. What the first event of a day goes on from, which its hash covers: an event of an earlier day.
-- Null in all others, and where an earlier version has begun the day.

ALTER TABLE events ADD COLUMN before_day INTEGER;
ALTER TABLE events ADD COLUMN before_number INTEGER;
