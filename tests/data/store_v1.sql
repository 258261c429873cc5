-- A file as version 1 wrote it: two jobs with all that belongs to one. Not to be changed.
BEGIN TRANSACTION;
CREATE TABLE blueprints (
    name TEXT NOT NULL,
    revision TEXT NOT NULL,
    source TEXT NOT NULL,
    PRIMARY KEY (name, revision)
) STRICT;
INSERT INTO "blueprints" VALUES('render','r1','source');
CREATE TABLE data_stores (
    blueprint TEXT NOT NULL,
    store TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (blueprint, store, name)
) STRICT, WITHOUT ROWID;
INSERT INTO "data_stores" VALUES('render','users','k','0.1');
CREATE TABLE history (
    job BLOB NOT NULL,
    revision INTEGER NOT NULL,
    place INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (job, revision, place)
) STRICT, WITHOUT ROWID;
INSERT INTO "history" VALUES(X'01A2077D938170018707070707070707',1,0,'{"event_id":"1988d768-d492-448c-8d65-d89e8bb4353c","job_id":"01a2077d-9381-7001-8707-070707070707","client":"acme","revision":1,"index":0,"at":1795422000000,"event_type":"job_created","state":"start","duration_ms":3}');
INSERT INTO "history" VALUES(X'01A2077D938270028707070707070707',1,0,'{"event_id":"9232c180-4e83-49f9-b1ad-5087308bc22f","job_id":"01a2077d-9382-7002-8707-070707070707","client":"acme","revision":1,"index":0,"at":1795422000000,"event_type":"job_created","state":"start","duration_ms":3}');
CREATE TABLE idempotency_keys (
    client TEXT NOT NULL,
    name TEXT NOT NULL,
    job BLOB NOT NULL,
    fingerprint TEXT NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (client, name)
) STRICT, WITHOUT ROWID;
INSERT INTO "idempotency_keys" VALUES('acme','k1',X'01A2077D938170018707070707070707','f',1795508400000);
INSERT INTO "idempotency_keys" VALUES('acme','k2',X'01A2077D938270028707070707070707','f',1795508400000);
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
INSERT INTO "jobs" VALUES(X'01A2077D938170018707070707070707',1,'waiting_for_worker','render','acme',1795422000001,1795422005000,NULL,'{"id":"01a2077d-9381-7001-8707-070707070707","revision":1,"blueprint":"render","blueprint_revision":"r1","client":{"id":"acme","plan":"free","params":{"z":1,"a":2}},"status":"waiting_for_worker","state":"start","visit":1,"wake_at":1795422005000,"initial_data":{"ratio":0.1,"text":"naïve → 日本","z":1,"a":[null,true]},"state_history":{},"step":1,"max_transitions":100,"depth":0,"labels":{"team":"blue"},"created_at":1795422000001,"updated_at":1795422000001,"entered_at":1795422000001}');
INSERT INTO "jobs" VALUES(X'01A2077D938270028707070707070707',1,'waiting_for_worker','render','acme',1795422000002,1795422005000,NULL,'{"id":"01a2077d-9382-7002-8707-070707070707","revision":1,"blueprint":"render","blueprint_revision":"r1","client":{"id":"acme","plan":"free","params":{"z":1,"a":2}},"status":"waiting_for_worker","state":"start","visit":1,"wake_at":1795422005000,"initial_data":{"ratio":0.1,"text":"naïve → 日本","z":1,"a":[null,true]},"state_history":{},"step":1,"max_transitions":100,"depth":0,"labels":{"team":"blue"},"created_at":1795422000002,"updated_at":1795422000002,"entered_at":1795422000002}');
CREATE TABLE labels (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    job BLOB NOT NULL,
    PRIMARY KEY (name, value, job)
) STRICT, WITHOUT ROWID;
INSERT INTO "labels" VALUES('team','blue',X'01A2077D938170018707070707070707');
INSERT INTO "labels" VALUES('team','blue',X'01A2077D938270028707070707070707');
CREATE TABLE nonces (
    worker TEXT NOT NULL,
    nonce TEXT NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (worker, nonce)
) STRICT, WITHOUT ROWID;
INSERT INTO "nonces" VALUES('w1','n',1795422000100);
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
INSERT INTO "outbox" VALUES(1,X'825CA2280B804B689FBE126B0D27A40F',X'01A2077D938170018707070707070707','cancel_child','pending',0,1795422030000,1795422000000,1795422000000,NULL,'{"kind":"signal","signal":"cancel_child","child":"01a2077d-9389-7009-8707-070707070707","reason":"enough"}');
INSERT INTO "outbox" VALUES(2,X'00000000000000000000000000000001',X'01A2077D938170018707070707070707','webhook','pending',0,1795422030000,1795422000000,1795422000000,NULL,'{"kind":"webhook","id":"00000000-0000-0000-0000-000000000001","job_id":"01a2077d-9381-7001-8707-070707070707","client":"acme","url":"https://client.example/hook","event":"job_finished","body":{"event":"job_finished","job_id":"01a2077d-9381-7001-8707-070707070707"},"created_at":1795422000000}');
INSERT INTO "outbox" VALUES(3,X'6553BF728DCF4251918D4B0FC66D99DB',X'01A2077D938270028707070707070707','cancel_child','pending',0,1795422030000,1795422000000,1795422000000,NULL,'{"kind":"signal","signal":"cancel_child","child":"01a2077d-9389-7009-8707-070707070707","reason":"enough"}');
INSERT INTO "outbox" VALUES(4,X'00000000000000000000000000000002',X'01A2077D938270028707070707070707','webhook','pending',0,1795422030000,1795422000000,1795422000000,NULL,'{"kind":"webhook","id":"00000000-0000-0000-0000-000000000002","job_id":"01a2077d-9382-7002-8707-070707070707","client":"acme","url":"https://client.example/hook","event":"job_finished","body":{"event":"job_finished","job_id":"01a2077d-9382-7002-8707-070707070707"},"created_at":1795422000000}');
CREATE TABLE quotas (
    client TEXT NOT NULL,
    month TEXT NOT NULL,
    taken INTEGER NOT NULL,
    PRIMARY KEY (client, month)
) STRICT, WITHOUT ROWID;
INSERT INTO "quotas" VALUES('acme','2026-11',2);
CREATE TABLE reputations (
    worker TEXT NOT NULL PRIMARY KEY,
    value REAL NOT NULL
) STRICT;
INSERT INTO "reputations" VALUES('w1',1.0);
CREATE TABLE revoked_families (
    family BLOB NOT NULL PRIMARY KEY,
    until INTEGER NOT NULL
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
INSERT INTO "tasks" VALUES('01a2077d-9381-71b6-b801-efcde62d4b89',X'01A2077D938170018707070707070707',1,0,1,'ended',NULL,1795422000000,NULL,'{"id":"01a2077d-9381-71b6-b801-efcde62d4b89","job_id":"01a2077d-9381-7001-8707-070707070707","visit":1,"branch":0,"ordinal":1,"failures":0,"losses":0,"client":"acme","blueprint":"render","spec":{"skill":"resize","params":{},"strategy":"default","priority":0.1,"max_cost":null,"requires":{},"custom_statuses":[],"execution_timeout_ms":1000,"retry":{"max_attempts":4,"backoff":{"initial_ms":1,"factor":2.0,"max_ms":9,"jitter":0.2}},"max_deliveries":3,"tracing_context":{},"step":1,"depth":0},"status":"ended","queued_at":1795422000000,"available_at":1795422000000,"report":{"status":"success","data":{"score":0.5}},"answer":"parallel_branch_accepted"}');
INSERT INTO "tasks" VALUES('01a2077d-9381-7b74-adf1-623663d68425',X'01A2077D938170018707070707070707',1,1,1,'leased',1795422001000,1795422000000,'w1','{"id":"01a2077d-9381-7b74-adf1-623663d68425","job_id":"01a2077d-9381-7001-8707-070707070707","visit":1,"branch":1,"ordinal":1,"failures":0,"losses":0,"client":"acme","blueprint":"render","spec":{"skill":"resize","params":{"file":"s3://bucket/in.png"},"strategy":"default","priority":0.1,"max_cost":null,"requires":{},"custom_statuses":[],"execution_timeout_ms":1000,"retry":{"max_attempts":4,"backoff":{"initial_ms":1,"factor":2.0,"max_ms":9,"jitter":0.2}},"max_deliveries":3,"security":{"secret":"of the client"},"metadata":{"tenant":"t1"},"params_metadata":{"file":{"uri":"s3://bucket/in.png"}},"tracing_context":{},"step":1,"depth":0},"status":"leased","queued_at":1795422000000,"available_at":1795422000000,"lease":{"worker":"w1","since":1795422000000,"until":1795422001000,"deadline":1795423000000}}');
INSERT INTO "tasks" VALUES('01a2077d-9381-7191-a9fe-3ab7e371184e',X'01A2077D938170018707070707070707',1,2,1,'held',NULL,1795422000000,NULL,'{"id":"01a2077d-9381-7191-a9fe-3ab7e371184e","job_id":"01a2077d-9381-7001-8707-070707070707","visit":1,"branch":2,"ordinal":1,"failures":0,"losses":0,"client":"acme","blueprint":"render","spec":{"skill":"resize","params":{"file":"s3://bucket/in.png"},"strategy":"default","priority":0.1,"max_cost":null,"requires":{},"custom_statuses":[],"execution_timeout_ms":1000,"retry":{"max_attempts":4,"backoff":{"initial_ms":1,"factor":2.0,"max_ms":9,"jitter":0.2}},"max_deliveries":3,"security":{"secret":"of the client"},"metadata":{"tenant":"t1"},"params_metadata":{"file":{"uri":"s3://bucket/in.png"}},"tracing_context":{},"step":1,"depth":0},"status":"held","queued_at":1795422000000,"available_at":1795422000000}');
INSERT INTO "tasks" VALUES('01a2077d-9382-7ddf-8e6c-a5d1cb0d9520',X'01A2077D938270028707070707070707',1,0,1,'ended',NULL,1795422000000,NULL,'{"id":"01a2077d-9382-7ddf-8e6c-a5d1cb0d9520","job_id":"01a2077d-9382-7002-8707-070707070707","visit":1,"branch":0,"ordinal":1,"failures":0,"losses":0,"client":"acme","blueprint":"render","spec":{"skill":"resize","params":{},"strategy":"default","priority":0.1,"max_cost":null,"requires":{},"custom_statuses":[],"execution_timeout_ms":1000,"retry":{"max_attempts":4,"backoff":{"initial_ms":1,"factor":2.0,"max_ms":9,"jitter":0.2}},"max_deliveries":3,"tracing_context":{},"step":1,"depth":0},"status":"ended","queued_at":1795422000000,"available_at":1795422000000,"report":{"status":"success","data":{"score":0.5}},"answer":"parallel_branch_accepted"}');
INSERT INTO "tasks" VALUES('01a2077d-9382-7ccb-aada-a8e78f995497',X'01A2077D938270028707070707070707',1,1,1,'queued',NULL,1795422000000,NULL,'{"id":"01a2077d-9382-7ccb-aada-a8e78f995497","job_id":"01a2077d-9382-7002-8707-070707070707","visit":1,"branch":1,"ordinal":1,"failures":0,"losses":0,"client":"acme","blueprint":"render","spec":{"skill":"resize","params":{"file":"s3://bucket/in.png"},"strategy":"default","priority":0.1,"max_cost":null,"requires":{},"custom_statuses":[],"execution_timeout_ms":1000,"retry":{"max_attempts":4,"backoff":{"initial_ms":1,"factor":2.0,"max_ms":9,"jitter":0.2}},"max_deliveries":3,"security":{"secret":"of the client"},"metadata":{"tenant":"t1"},"params_metadata":{"file":{"uri":"s3://bucket/in.png"}},"tracing_context":{},"step":1,"depth":0},"status":"queued","queued_at":1795422000000,"available_at":1795422000000}');
INSERT INTO "tasks" VALUES('01a2077d-9382-73c2-8e01-70990c89cb92',X'01A2077D938270028707070707070707',1,2,1,'held',NULL,1795422000000,NULL,'{"id":"01a2077d-9382-73c2-8e01-70990c89cb92","job_id":"01a2077d-9382-7002-8707-070707070707","visit":1,"branch":2,"ordinal":1,"failures":0,"losses":0,"client":"acme","blueprint":"render","spec":{"skill":"resize","params":{"file":"s3://bucket/in.png"},"strategy":"default","priority":0.1,"max_cost":null,"requires":{},"custom_statuses":[],"execution_timeout_ms":1000,"retry":{"max_attempts":4,"backoff":{"initial_ms":1,"factor":2.0,"max_ms":9,"jitter":0.2}},"max_deliveries":3,"security":{"secret":"of the client"},"metadata":{"tenant":"t1"},"params_metadata":{"file":{"uri":"s3://bucket/in.png"}},"tracing_context":{},"step":1,"depth":0},"status":"held","queued_at":1795422000000,"available_at":1795422000000}');
CREATE TABLE tokens (
    hash TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('access', 'refresh')),
    worker TEXT NOT NULL,
    family BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    is_used INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
INSERT INTO "tokens" VALUES('access-1','access','w1',X'00000000000000000000000000000001',1795422000009,0);
CREATE TABLE workers (
    id TEXT NOT NULL PRIMARY KEY,
    registered_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
INSERT INTO "workers" VALUES('w1',1795422000000,1795422000100,'{"id":"w1","worker_type":"generic","skills":[{"name":"resize","type":"image"}],"resources":{},"installed_software":{},"installed_artifacts":[],"capabilities":{"cost_per_skill":{"resize":0.3}},"status":"idle","current_tasks":[],"reputation":1.0,"registered_at":1795422000000,"last_seen":1795422000000,"expires_at":1795422000100}');
CREATE INDEX jobs_wake ON jobs (wake_at, id) WHERE wake_at IS NOT NULL;
CREATE INDEX jobs_keep ON jobs (keep_until, id) WHERE keep_until IS NOT NULL;
CREATE INDEX jobs_status ON jobs (status, id);
CREATE INDEX jobs_client ON jobs (client, id, status);
CREATE INDEX jobs_blueprint ON jobs (blueprint, id);
CREATE INDEX tasks_place ON tasks (job, visit, branch, ordinal);
CREATE INDEX tasks_open ON tasks (job, visit) WHERE status <> 'ended';
CREATE INDEX tasks_due ON tasks (due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX tasks_queued ON tasks (id) WHERE status = 'queued';
CREATE INDEX tasks_worker ON tasks (worker, id) WHERE worker IS NOT NULL;
CREATE INDEX outbox_due ON outbox (due_at, seq) WHERE due_at IS NOT NULL;
CREATE INDEX outbox_job ON outbox (job, seq);
CREATE INDEX idempotency_keys_until ON idempotency_keys (until);
CREATE INDEX tokens_family ON tokens (family);
CREATE INDEX tokens_expiry ON tokens (expires_at);
CREATE INDEX nonces_until ON nonces (until);
COMMIT;
PRAGMA user_version = 1;
