//! Names that the original has for settings and this program treats specially.

/// Other names that the environment may use for a setting.
pub const ALIASES: &[(&str, &str)] = &[("ENVIRONMENT", "ENV")];

/// What the original reads and this program does not: name, the value that asks for nothing, what to
/// know. Setting one of them to anything else is told instead of passed over (CQ3).
pub const UNSUPPORTED: &[(&str, &str, &str)] = &[
    (
        "INSTANCE_ID",
        "",
        "one orchestrator owns the embedded store, so it needs no name of its own",
    ),
    (
        "HISTORY_DATABASE_URI",
        "",
        "history is kept in the embedded store, in DATA_DIR",
    ),
    (
        "REDIS_ENCRYPTION_KEY",
        "",
        "there is no Redis store to encrypt",
    ),
    (
        "S3_ENDPOINT_URL",
        "",
        "job files are kept in TASK_FILES_DIR",
    ),
    (
        "WATCHER_INTERVAL_SECONDS",
        "20",
        "timeouts are timers of their own, nothing is scanned",
    ),
    (
        "EXECUTOR_MAX_CONCURRENT_JOBS",
        "1000",
        "jobs that wait hold no slot",
    ),
    (
        "WORK_STEALING_ENABLED",
        "true",
        "a task is bound to a worker only when that worker asks for it",
    ),
    (
        "STRICT_EVENT_VALIDATION",
        "true",
        "events are checked against the blueprint's and the skill's schemas",
    ),
];

/// What would leave the program less safe than its operator believes, so it is refused.
pub const REFUSED: &[(&str, &str, &str)] = &[
    (
        "TLS_ENABLED",
        "false",
        "HTTPS is not served: put a proxy that ends TLS in front and leave this false",
    ),
    (
        "TLS_REQUIRE_CLIENT_CERT",
        "false",
        "client certificates are not checked: let the proxy do it and leave this false",
    ),
];
