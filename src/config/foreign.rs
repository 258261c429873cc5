//! Names that the original has for settings and this program treats specially.

/// Other names that the environment may use for a setting.
pub const ALIASES: &[(&str, &str)] = &[("ENVIRONMENT", "ENV")];

/// Names of the original's that one sentence answers.
#[derive(Debug, Clone, Copy)]
pub struct Unsupported {
    /// Each name with the value that asks for nothing.
    pub names: &'static [(&'static str, &'static str)],
    /// What happens instead.
    pub instead: &'static str,
}

/// What the original reads and this program does not. Setting one of them to anything else than the
/// value beside it is told instead of passed over (CQ3), once for all names of one matter.
pub const UNSUPPORTED: &[Unsupported] = &[
    Unsupported {
        names: &[("INSTANCE_ID", "")],
        instead: "what an orchestrator takes on is claimed by the claim's own id, so it needs no name",
    },
    Unsupported {
        names: &[("POSTGRES_DSN", "")],
        instead: "the history's address is HISTORY_DATABASE_URI; without one it is kept in the embedded store",
    },
    Unsupported {
        names: &[("REDIS_STREAM_BLOCK_MS", "5000")],
        instead: "nothing waits in Redis: open polls are told of what is queued",
    },
    Unsupported {
        names: &[("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "")],
        instead: "metrics are fetched, from /_public/metrics",
    },
    Unsupported {
        names: &[("WATCHER_INTERVAL_SECONDS", "20"), ("WATCHER_LIMIT", "500")],
        instead: "timeouts are timers of their own, nothing is scanned",
    },
    Unsupported {
        names: &[("EXECUTOR_MAX_CONCURRENT_JOBS", "1000")],
        instead: "jobs that wait hold no slot",
    },
    Unsupported {
        names: &[("DISPATCHER_MAX_CANDIDATES", "50")],
        instead: "every worker that qualifies is considered",
    },
    Unsupported {
        names: &[("WORK_STEALING_ENABLED", "true")],
        instead: "a task is bound to a worker only when that worker asks for it",
    },
    Unsupported {
        names: &[("STRICT_EVENT_VALIDATION", "true")],
        instead: "events are always checked against the blueprint's and the skill's schemas",
    },
];

/// What the original's worker reads and this one does not.
pub const UNSUPPORTED_BY_WORKERS: &[Unsupported] = &[
    Unsupported {
        names: &[("WORKER_TYPE", "generic-cpu-worker")],
        instead: "the worker's type is that of its --profile, else generic-worker",
    },
    Unsupported {
        names: &[("STRICT_EVENT_VALIDATION", "true")],
        instead: "the orchestrator checks what skills send",
    },
    Unsupported {
        names: &[("WORKER_ENABLE_METRICS", "false")],
        instead: "metrics are fetched, from /metrics at METRICS_ADDR",
    },
    Unsupported {
        names: &[("WORKER_BLOB_CACHE_DIR", "/tmp/avtomatika_cache")],
        instead: "each task gets its files anew from S3, in a folder of its own below TASK_FILES_DIR",
    },
    Unsupported {
        names: &[
            ("POLL_BACKOFF_FACTOR", "2.0"),
            ("TASK_POLL_ERROR_DELAY", "5.0"),
        ],
        instead: "waits after failed polls double from POLL_BACKOFF_INITIAL to POLL_BACKOFF_MAX",
    },
];

/// Tells what of a list is set to something that this program does not do: the names, and the
/// sentence about them.
pub fn told(list: &[Unsupported], env: &dyn Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    list.iter()
        .filter_map(|one| {
            let set: Vec<&str> = one
                .names
                .iter()
                .filter(|(name, harmless)| asks(env(name), harmless))
                .map(|(name, _)| *name)
                .collect();
            let verb = if set.len() == 1 { "has" } else { "have" };
            (!set.is_empty()).then(|| {
                let sentence = format!("{verb} no effect: {}", one.instead);
                (set.join(", "), sentence)
            })
        })
        .collect()
}

/// Tells whether a value asks for something.
fn asks(value: Option<String>, harmless: &str) -> bool {
    value.is_some_and(|text| {
        let text = text.trim();
        let same_number = || {
            let (seen, known) = (text.parse::<f64>().ok(), harmless.parse::<f64>().ok());
            seen.is_some() && seen == known
        };
        !(text.is_empty() || text.eq_ignore_ascii_case(harmless) || same_number())
    })
}
