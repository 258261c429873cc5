-- Version 2. What a job was given and keeps for life has a row of its own, written once: the body of
-- its job is written with every step. A body that is no JSON is left as it is, to be told when read.

CREATE TABLE given (
    job BLOB NOT NULL PRIMARY KEY,
    body TEXT NOT NULL
) STRICT;

INSERT INTO given (job, body)
SELECT id, json_object(
    'initial_data', json(coalesce(body -> '$.initial_data', 'null')),
    'policy', json(coalesce(body -> '$.policy', 'null')),
    'labels', json(coalesce(body -> '$.labels', '{}')),
    'tracing_context', json(coalesce(body -> '$.tracing_context', '{}'))
) FROM jobs WHERE json_valid(body);

UPDATE jobs
SET body = json_remove(body, '$.initial_data', '$.policy', '$.labels', '$.tracing_context')
WHERE json_valid(body);
