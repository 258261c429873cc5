//! Every setting of the orchestrator's side: name, kind, bounds, default, meaning.
//!
//! A setting has one name: the environment's. In a file it is the same in lower case. Names and
//! defaults are the original's where it has the setting (source: configuration §1); where a default
//! differs, its text says so.

use super::value::Kind;

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The name in the environment; in a file the same in lower case.
    pub name: &'static str,
    /// What its text must look like.
    pub kind: Kind,
    /// The text that holds when nobody says otherwise.
    pub default: &'static str,
    /// One line for people, with the unit.
    pub about: &'static str,
}

impl Key {
    /// Returns the key's name in a file.
    #[must_use]
    pub fn file_name(&self) -> String {
        self.name.to_ascii_lowercase()
    }
}

const fn key(name: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Key {
    Key {
        name,
        kind,
        default,
        about,
    }
}

const fn seconds(max: u64) -> Kind {
    Kind::Integer { min: 1, max }
}

const fn count(max: u64) -> Kind {
    Kind::Integer { min: 1, max }
}

const DAY: u64 = 86_400;

/// All settings, grouped as `config/avtomatika.toml` shows them.
pub const KEYS: &[Key] = &[
    key(
        "ENVIRONMENT",
        Kind::OneOf(&["development", "production", "dev", "prod"]),
        "development",
        "production refuses well-known and missing secrets",
    ),
    key(
        "TZ",
        Kind::TimeZone,
        "UTC",
        "time zone of schedules and log lines, an IANA name",
    ),
    // HTTP.
    key(
        "API_HOST",
        Kind::Text,
        "127.0.0.1",
        "address to listen on (the original's default is 0.0.0.0)",
    ),
    key(
        "API_PORT",
        Kind::Integer {
            min: 0,
            max: 65_535,
        },
        "8080",
        "port to listen on, 0 for a free one (the original's default is 8082)",
    ),
    key(
        "CLIENT_API_PREFIX",
        Kind::Optional,
        "api",
        "first part of the client routes; empty is the root",
    ),
    key(
        "ENABLE_CLIENT_API",
        Kind::Bool,
        "true",
        "whether the client routes are there at all",
    ),
    key(
        "PUBLIC_URL",
        Kind::Url,
        "",
        "where clients reach this server, for links to job files: https://jobs.example.org; empty is the address that the request came to",
    ),
    key(
        "PUBLIC_BLUEPRINTS",
        Kind::Bool,
        "true",
        "whether /_public/docs and /_public/openapi.json show the blueprints and their schemas to everybody",
    ),
    key(
        "DETAILED_API_RESPONSES",
        Kind::Bool,
        "false",
        "whether job answers and webhooks hold everything",
    ),
    key(
        "HTTP_BODY_BYTES_MAX",
        Kind::Integer {
            min: 1024,
            max: 1 << 30,
        },
        "1048576",
        "largest request body, in bytes",
    ),
    key(
        "HTTP_CONNECTIONS_MAX",
        count(1_000_000),
        "10000",
        "connections at once",
    ),
    key(
        "SHUTDOWN_TIMEOUT_SECONDS",
        seconds(3600),
        "30",
        "longest wait for what is under way at shutdown, in seconds",
    ),
    // Secrets.
    key(
        "CLIENT_TOKEN",
        Kind::Secret,
        "secure-orchestrator-token",
        "token of the client `default`; the default holds in development on a loopback address only; empty is none",
    ),
    key(
        "GLOBAL_WORKER_TOKEN",
        Kind::Secret,
        "secure-worker-token",
        "token that any worker may use; the default holds in development on a loopback address only; empty is none",
    ),
    key(
        "ORCHESTRATOR_SECRET_KEY",
        Kind::Secret,
        "",
        "signs tasks and derives webhook secrets; empty is a random one in development and refused in production",
    ),
    key(
        "WORKER_AUTH_MODE",
        Kind::OneOf(&["mixed", "token-only"]),
        "mixed",
        "how workers prove who they are; certificates are not supported, so both mean tokens",
    ),
    // Files.
    key(
        "WORKERS_CONFIG_PATH",
        Kind::Path,
        "",
        "workers.toml; empty is none",
    ),
    key(
        "CLIENTS_CONFIG_PATH",
        Kind::Path,
        "",
        "clients.toml; empty is none",
    ),
    key(
        "SCHEDULES_CONFIG_PATH",
        Kind::Path,
        "",
        "schedules.toml; empty is none",
    ),
    key(
        "BLUEPRINTS_DIR",
        Kind::Path,
        "blueprints",
        "directory of blueprint files",
    ),
    key(
        "DATA_DIR",
        Kind::Path,
        "data",
        "directory of the embedded store",
    ),
    key(
        "TASK_FILES_DIR",
        Kind::Path,
        "",
        "directory of job files; empty is `files` in DATA_DIR (the original's default is /tmp/avtomatika-payloads)",
    ),
    // The store.
    key(
        "SQLITE_SYNCHRONOUS",
        Kind::OneOf(&["full", "normal", "off"]),
        "full",
        "full loses nothing, normal the last moments before a power loss, off anything",
    ),
    key(
        "JOB_RETENTION",
        Kind::Duration { max: 3650 * DAY },
        "30d",
        "how long ended jobs are kept",
    ),
    key(
        "IDEMPOTENCY_KEY_RETENTION",
        Kind::Duration { max: 365 * DAY },
        "24h",
        "how long idempotency keys are known",
    ),
    // Workers and tasks.
    key(
        "WORKER_TIMEOUT_SECONDS",
        seconds(30 * DAY),
        "300",
        "longest run of a task that names no other, in seconds",
    ),
    key(
        "WORKER_POLL_TIMEOUT_SECONDS",
        seconds(3600),
        "30",
        "longest wait of a worker's poll, in seconds",
    ),
    key(
        "WORKER_HEALTH_CHECK_INTERVAL_SECONDS",
        seconds(DAY),
        "60",
        "a worker that is silent for twice this long is gone, in seconds",
    ),
    key(
        "TASK_LEASE_SECONDS",
        Kind::Integer { min: 2, max: DAY },
        "30",
        "a worker that is silent for this long loses its tasks to others, in seconds",
    ),
    key(
        "MAX_DELIVERIES",
        count(100),
        "3",
        "workers that may die with a task before it is quarantined",
    ),
    key(
        "JOB_MAX_RETRIES",
        Kind::Integer { min: 0, max: 1000 },
        "3",
        "tries after the first of a task that names no other number",
    ),
    key(
        "DISPATCHER_SOFT_LIMIT",
        count(10_000),
        "3",
        "tasks of one worker after which `overflow` looks for another",
    ),
    key(
        "REPUTATION_PENALTY_CONTRACT_VIOLATION",
        Kind::Share,
        "0.2",
        "loss of reputation for breaking a contract",
    ),
    key(
        "REPUTATION_PENALTY_TASK_FAILURE",
        Kind::Share,
        "0.05",
        "loss of reputation for a permanent failure",
    ),
    key(
        "REPUTATION_REWARD_SUCCESS",
        Kind::Share,
        "0.001",
        "gain of reputation for a success",
    ),
    key(
        "REPUTATION_MIN_THRESHOLD",
        Kind::Share,
        "0.3",
        "workers below this get no tasks",
    ),
    // Jobs.
    key(
        "MAX_TRANSITIONS_PER_JOB",
        count(1_000_000),
        "100",
        "state entries of one job",
    ),
    key(
        "MAX_HOLARCHY_DEPTH",
        Kind::Integer { min: 0, max: 100 },
        "10",
        "levels of child jobs",
    ),
    key(
        "MAX_POLICY_SIZE_BYTES",
        count(1 << 20),
        "4096",
        "largest `policy` of a job, in bytes",
    ),
    key(
        "MAX_BRANCHES",
        count(100_000),
        "10000",
        "branches of one fan-out",
    ),
    key(
        "PAYLOAD_BYTES_MAX",
        Kind::Integer {
            min: 1024,
            max: 64 << 20,
        },
        "1048576",
        "largest parameters, result or state_history of a job, in bytes",
    ),
    key(
        "FILE_BYTES_MAX",
        count(1 << 50),
        "5368709120",
        "largest job file, in bytes",
    ),
    // Rate limits.
    key(
        "RATE_LIMITING_ENABLED",
        Kind::Bool,
        "true",
        "whether clients and workers are held to the limits below",
    ),
    key(
        "RATE_LIMIT_LIMIT",
        count(1_000_000),
        "100",
        "requests of one client in a period",
    ),
    key(
        "RATE_LIMIT_PERIOD",
        seconds(DAY),
        "60",
        "the period, in seconds",
    ),
    key(
        "RATE_LIMIT_HEARTBEAT_LIMIT",
        count(1_000_000),
        "120",
        "heartbeats of one worker in a period",
    ),
    key(
        "RATE_LIMIT_POLL_LIMIT",
        count(1_000_000),
        "60",
        "polls of one worker in a period",
    ),
    // Webhooks and schedules.
    key(
        "WEBHOOK_ALLOWED_NETS",
        Kind::Networks,
        "",
        "private networks that webhooks may reach: 127.0.0.0/8, 10.1.0.0/16",
    ),
    key(
        "WEBHOOK_RETRY_WINDOW",
        Kind::Duration { max: 30 * DAY },
        "24h",
        "how long a webhook is tried before it is a dead letter",
    ),
    key(
        "EMBEDDED_SCHEDULER",
        Kind::Bool,
        "true",
        "whether the orchestrator fires the schedules of SCHEDULES_CONFIG_PATH itself",
    ),
    // Logs.
    key(
        "LOG_LEVEL",
        Kind::LogLevel,
        "INFO",
        "DEBUG, INFO, WARNING, ERROR, or directives: info,avtomatika::runtime=debug",
    ),
    key(
        "LOG_FORMAT",
        Kind::OneOf(&["auto", "json", "text"]),
        "auto",
        "json or text; auto is text on a terminal (the original's default is json)",
    ),
];

/// Finds a setting by its name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}
