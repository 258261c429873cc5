//! Settings of the server itself: how it is reached, what it keeps secret, where its files are.

use super::{DAY, Key, count, key, seconds};
use crate::config::value::Kind;

/// In the order of `config/avtomatika.toml`.
pub(super) const KEYS: &[Key] = &[
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
        "where clients reach this server, for links to job files and approvals: https://jobs.example.org; empty is the address that the request came to",
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
    // TLS.
    key(
        "TLS_ENABLED",
        Kind::Bool,
        "false",
        "whether HTTPS is served, and plain HTTP no more",
    ),
    key(
        "TLS_CERT_PATH",
        Kind::Path,
        "",
        "the server's certificate and those between it and its authority, PEM; read again at SIGHUP",
    ),
    key(
        "TLS_KEY_PATH",
        Kind::Path,
        "",
        "the key of that certificate, PEM without a passphrase",
    ),
    key(
        "TLS_CA_PATH",
        Kind::Path,
        "",
        "authorities whose certificates identify workers, PEM; empty is none, and nobody is asked for a certificate",
    ),
    key(
        "TLS_REQUIRE_CLIENT_CERT",
        Kind::Bool,
        "false",
        "whether connections without a client certificate are turned away: those to WORKER_API_PORT when there is one, else all",
    ),
    key(
        "WORKER_API_PORT",
        Kind::Port,
        "",
        "port for workers alone, 0 for a free one; API_PORT serves the clients alone then, and asks them for no certificate; empty is none",
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
        Kind::OneOf(&["mixed", "mtls-only", "token-only"]),
        "mixed",
        "how workers prove who they are: by certificate or token, by certificate alone (WORKERS_CONFIG_PATH is not read then), by token alone",
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
        "HISTORY_DATABASE_URI",
        Kind::History,
        "",
        "where history is kept besides and jobs are searched: sqlite:history.db, postgresql://user:password@host/name; empty is nowhere",
    ),
    key(
        "HISTORY_RETENTION",
        Kind::Duration { max: 36_500 * DAY },
        "3650d",
        "how long history is kept there; it goes by whole days in a file, by whole months on a server",
    ),
    key(
        "AUDIT_SALT",
        Kind::Secret,
        "",
        "goes into the hashes that link the history's events, so that who does not know it cannot make others that fit; empty is none (the original's default is default_audit_salt)",
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
];
