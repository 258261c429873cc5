-- Version 1. Times are milliseconds since the Unix epoch; ids of jobs and messages are the 16
-- bytes of their UUID (hex(id) shows them). Bodies are JSON and hold the whole record; the columns
-- beside them repeat what is searched by.

CREATE TABLE jobs (
    id BLOB NOT NULL PRIMARY KEY,
    revision INTEGER NOT NULL,
    status TEXT NOT NULL,
    blueprint TEXT NOT NULL,
    client TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    wake_at INTEGER,
    keep_until INTEGER,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX jobs_wake ON jobs (wake_at, id) WHERE wake_at IS NOT NULL;
CREATE INDEX jobs_keep ON jobs (keep_until, id) WHERE keep_until IS NOT NULL;
CREATE INDEX jobs_status ON jobs (status, id);
-- The status is along so that a client's jobs are counted without reading them.
CREATE INDEX jobs_client ON jobs (client, id, status);
CREATE INDEX jobs_blueprint ON jobs (blueprint, id);

-- Written when the job is created; labels do not change.
CREATE TABLE labels (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    job BLOB NOT NULL,
    PRIMARY KEY (name, value, job)
) STRICT, WITHOUT ROWID;

CREATE TABLE tasks (
    id TEXT NOT NULL PRIMARY KEY,
    job BLOB NOT NULL,
    visit INTEGER NOT NULL,
    branch INTEGER,
    ordinal INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('held', 'queued', 'leased', 'ended')),
    due_at INTEGER,
    available_at INTEGER NOT NULL,
    -- Who holds it, while it is leased.
    worker TEXT,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX tasks_place ON tasks (job, visit, branch, ordinal);
CREATE INDEX tasks_open ON tasks (job, visit) WHERE status <> 'ended';
CREATE INDEX tasks_due ON tasks (due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX tasks_queued ON tasks (id) WHERE status = 'queued';
CREATE INDEX tasks_worker ON tasks (worker, id) WHERE worker IS NOT NULL;

-- Signals leave when they are delivered; webhooks stay as the delivery log.
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    job BLOB NOT NULL,
    kind TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'delivered', 'dead')),
    attempts INTEGER NOT NULL DEFAULT 0,
    -- When it may be claimed; none once it is settled for good.
    due_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    last_error TEXT,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX outbox_due ON outbox (due_at, seq) WHERE due_at IS NOT NULL;
CREATE INDEX outbox_job ON outbox (job, seq);

CREATE TABLE history (
    job BLOB NOT NULL,
    revision INTEGER NOT NULL,
    place INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (job, revision, place)
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency_keys (
    client TEXT NOT NULL,
    name TEXT NOT NULL,
    job BLOB NOT NULL,
    fingerprint TEXT NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (client, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_until ON idempotency_keys (until);

CREATE TABLE quotas (
    client TEXT NOT NULL,
    month TEXT NOT NULL,
    taken INTEGER NOT NULL,
    PRIMARY KEY (client, month)
) STRICT, WITHOUT ROWID;

CREATE TABLE data_stores (
    blueprint TEXT NOT NULL,
    store TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (blueprint, store, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE blueprints (
    name TEXT NOT NULL,
    revision TEXT NOT NULL,
    source TEXT NOT NULL,
    PRIMARY KEY (name, revision)
) STRICT;

CREATE TABLE workers (
    id TEXT NOT NULL PRIMARY KEY,
    registered_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

-- Outlives the worker's record.
CREATE TABLE reputations (
    worker TEXT NOT NULL PRIMARY KEY,
    value REAL NOT NULL
) STRICT;

CREATE TABLE tokens (
    hash TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('access', 'refresh')),
    worker TEXT NOT NULL,
    family BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    is_used INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_family ON tokens (family);
CREATE INDEX tokens_expiry ON tokens (expires_at);

-- Families of tokens that are worth nothing any more.
CREATE TABLE revoked_families (
    family BLOB NOT NULL PRIMARY KEY,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE nonces (
    worker TEXT NOT NULL,
    nonce TEXT NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (worker, nonce)
) STRICT, WITHOUT ROWID;
CREATE INDEX nonces_until ON nonces (until);
