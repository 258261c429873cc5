//! Settings of the work: tasks, jobs, limits, webhooks, schedules, logs.

use super::{DAY, Key, count, key, seconds};
use crate::config::value::Kind;

/// In the order of `config/avtomatika.toml`.
pub(super) const KEYS: &[Key] = &[
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
        "deliveries of a task that may be lost, on the way to a worker or with it, before it is quarantined",
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
