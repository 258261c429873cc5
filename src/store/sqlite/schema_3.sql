-- Version 3. The revision that a job is pinned to is a column, so that revisions that no job has can
-- be found and forgotten; the index that tells a blueprint's jobs tells their revisions too. A body
-- that is no JSON names no revision: its job cannot be read anyway.

ALTER TABLE jobs ADD COLUMN blueprint_revision TEXT NOT NULL DEFAULT '';

UPDATE jobs SET blueprint_revision = coalesce(body ->> '$.blueprint_revision', '')
WHERE json_valid(body);

DROP INDEX jobs_blueprint;
CREATE INDEX jobs_blueprint ON jobs (blueprint, id, blueprint_revision);
