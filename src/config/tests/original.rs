//! Every name that the original reads: it is a setting, another name of one, or its owner is told.
//! Source: configuration §1 and §5 of the original's description.

use std::collections::BTreeSet;

use super::super::foreign::{ALIASES, UNSUPPORTED, UNSUPPORTED_BY_WORKERS, Unsupported, told};
use super::super::keys;
use super::{env_of, load_with, problems_of};

/// What the original's orchestrator reads.
const ORCHESTRATOR: &[&str] = &[
    "INSTANCE_ID",
    "ENVIRONMENT",
    "ENV",
    "API_HOST",
    "API_PORT",
    "CLIENT_API_PREFIX",
    "ENABLE_CLIENT_API",
    "CLIENT_TOKEN",
    "GLOBAL_WORKER_TOKEN",
    "ORCHESTRATOR_SECRET_KEY",
    "WORKER_AUTH_MODE",
    "TLS_ENABLED",
    "TLS_CERT_PATH",
    "TLS_KEY_PATH",
    "TLS_CA_PATH",
    "TLS_REQUIRE_CLIENT_CERT",
    "REDIS_ENCRYPTION_KEY",
    "WORKERS_CONFIG_PATH",
    "CLIENTS_CONFIG_PATH",
    "SCHEDULES_CONFIG_PATH",
    "BLUEPRINTS_DIR",
    "HISTORY_DATABASE_URI",
    "WORKER_TIMEOUT_SECONDS",
    "WORKER_POLL_TIMEOUT_SECONDS",
    "WORKER_HEALTH_CHECK_INTERVAL_SECONDS",
    "JOB_MAX_RETRIES",
    "WATCHER_INTERVAL_SECONDS",
    "WATCHER_LIMIT",
    "EXECUTOR_MAX_CONCURRENT_JOBS",
    "REDIS_STREAM_BLOCK_MS",
    "DISPATCHER_SOFT_LIMIT",
    "DISPATCHER_MAX_CANDIDATES",
    "REPUTATION_PENALTY_CONTRACT_VIOLATION",
    "REPUTATION_PENALTY_TASK_FAILURE",
    "REPUTATION_REWARD_SUCCESS",
    "REPUTATION_MIN_THRESHOLD",
    "RATE_LIMITING_ENABLED",
    "RATE_LIMIT_LIMIT",
    "RATE_LIMIT_PERIOD",
    "RATE_LIMIT_HEARTBEAT_LIMIT",
    "RATE_LIMIT_POLL_LIMIT",
    "MAX_TRANSITIONS_PER_JOB",
    "MAX_HOLARCHY_DEPTH",
    "MAX_POLICY_SIZE_BYTES",
    "DETAILED_API_RESPONSES",
    "S3_ENDPOINT_URL",
    "S3_ACCESS_KEY",
    "S3_SECRET_KEY",
    "S3_REGION",
    "S3_DEFAULT_BUCKET",
    "S3_MAX_CONCURRENCY",
    "S3_AUTO_CLEANUP",
    "TASK_FILES_DIR",
    "TZ",
    "LOG_LEVEL",
    "LOG_FORMAT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "POSTGRES_DSN",
    "REDIS_HOST",
    "REDIS_PORT",
    "REDIS_DB",
    "STRICT_EVENT_VALIDATION",
    "WORK_STEALING_ENABLED",
    "AUDIT_SALT",
];

/// What the original's worker reads.
const WORKER: &[&str] = &[
    "WORKER_ID",
    "WORKER_TYPE",
    "WORKER_INDIVIDUAL_TOKEN",
    "WORKER_TOKEN",
    "ORCHESTRATOR_URL",
    "ORCHESTRATORS_CONFIG",
    "MULTI_ORCHESTRATOR_MODE",
    "ORCHESTRATOR_SECRET_KEY",
    "SECRET_KEY",
    "REQUIRE_TASK_SIGNATURE",
    "MAX_CONCURRENT_TASKS",
    "COST_PER_SKILL",
    "CPU_CORES",
    "RAM_GB",
    "GPU_MODEL",
    "GPU_ID",
    "GPU_VRAM_GB",
    "WORKER_DEVICES",
    "INSTALLED_SOFTWARE",
    "INSTALLED_ARTIFACTS",
    "WORKER_EXTRA_",
    "WORKER_SKILLS_DIR",
    "HEARTBEAT_INTERVAL",
    "WORKER_HEARTBEAT_COOLDOWN",
    "TASK_POLL_TIMEOUT",
    "IDLE_POLL_DELAY",
    "POLL_BACKOFF_INITIAL",
    "POLL_BACKOFF_MAX",
    "RATE_LIMIT_BACKOFF_FLOOR",
    "REGISTRATION_RETRY_INITIAL_DELAY",
    "REGISTRATION_RETRY_MAX_DELAY",
    "RESULT_MAX_RETRIES",
    "RESULT_RETRY_INITIAL_DELAY",
    "WORKER_SHUTDOWN_TIMEOUT",
    "WORKER_ENABLE_WEBSOCKETS",
    "STRICT_EVENT_VALIDATION",
    "WORKER_ENABLE_METRICS",
    "WORKER_TELEMETRY_DEADBAND",
    "WORKER_TELEMETRY_FORCE_INTERVAL",
    "TASK_FILES_DIR",
    "WORKER_BLOB_CACHE_DIR",
    "S3_ENDPOINT_URL",
    "S3_ACCESS_KEY",
    "S3_SECRET_KEY",
    "S3_DEFAULT_BUCKET",
    "S3_REGION",
    "WORKER_PORT",
    "LOG_LEVEL",
    "LOG_FORMAT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "POLL_BACKOFF_FACTOR",
    "TASK_POLL_ERROR_DELAY",
];

fn names(list: &[Unsupported]) -> Vec<&'static str> {
    list.iter()
        .flat_map(|one| one.names.iter().map(|(name, _)| *name))
        .collect()
}

#[test]
fn every_name_of_the_orchestrators_is_known() {
    let settings = keys::KEYS.iter().map(|key| key.name);
    let aliases = ALIASES.iter().map(|(_, alias)| *alias);
    let answered: Vec<&str> = names(UNSUPPORTED)
        .into_iter()
        .chain(settings)
        .chain(aliases)
        .collect();
    for name in ORCHESTRATOR {
        let count = answered.iter().filter(|known| *known == name).count();
        assert_eq!(count, 1, "{name} must have one place");
    }
}

/// The worker reads its environment by name, so its sources are asked.
#[test]
fn every_name_of_the_workers_is_known() {
    let sources = [
        include_str!("../../roles/worker/config/read.rs"),
        include_str!("../../roles/worker/config/skills.rs"),
        include_str!("../../roles/context.rs"),
    ];
    let unsupported = names(UNSUPPORTED_BY_WORKERS);
    for name in WORKER {
        let is_read = sources
            .iter()
            .any(|source| source.contains(&format!("\"{name}\"")));
        // Those all roles read by one set of rules.
        let is_read = is_read || (name.starts_with("OTEL_") && keys::find(name).is_some());
        assert_ne!(is_read, unsupported.contains(name), "{name}");
    }
}

/// What asks for nothing is not told; each matter is told once, with all its names.
#[test]
fn what_has_no_effect_is_told_once() {
    for list in [UNSUPPORTED, UNSUPPORTED_BY_WORKERS] {
        let harmless: Vec<(&str, &str)> = list.iter().flat_map(|one| one.names.to_vec()).collect();
        assert_eq!(told(list, &env_of(&harmless)), []);
        let asking: Vec<(&str, &str)> = names(list).into_iter().map(|n| (n, "x")).collect();
        assert_eq!(told(list, &env_of(&asking)).len(), list.len());
        let distinct: BTreeSet<&str> = names(list).into_iter().collect();
        assert_eq!(distinct.len(), names(list).len(), "a name has one sentence");
    }
    let env = [
        ("REDIS_STREAM_BLOCK_MS", "10"),
        ("REDIS_PORT", "6379"),
        ("WATCHER_INTERVAL_SECONDS", "20.0"),
        ("WATCHER_LIMIT", "10"),
        ("STRICT_EVENT_VALIDATION", "True"),
        ("POSTGRES_DSN", "postgresql://user@localhost/db"),
    ];
    let seen = problems_of(load_with(vec![], &env, None));
    insta::assert_snapshot!(seen.join("\n"), @r"
    environment: warning: POSTGRES_DSN: has no effect: the history's address is HISTORY_DATABASE_URI; without one it is kept in the embedded store
    environment: warning: REDIS_STREAM_BLOCK_MS: has no effect: nothing waits in Redis: open polls are told of what is queued
    environment: warning: WATCHER_LIMIT: has no effect: timeouts are timers of their own, nothing is scanned
    ");
}
