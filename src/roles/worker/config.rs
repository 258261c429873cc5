//! What a worker is told: its identity, its orchestrators, its skills, its timing.
//! Source: configuration §5.

mod read;
mod skills;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::WorkerArgs;
use super::profile::Profile;
use super::skill::Registry;
use crate::base::{Clock, Entropy, Secret, SystemClock, SystemEntropy, WorkerId};
use crate::config::foreign;
use crate::domain::Object;
use crate::domain::worker::{Artifact, Resources};
use crate::net::TlsFiles;
use crate::observe::{Traces, WorkerMetrics};
use crate::store::S3Settings;

/// The largest file that is moved unless told otherwise: S3's own limit to one call, and the
/// orchestrator's default.
const FILE_BYTES_MAX: u64 = 5 << 30;

/// An orchestrator to work for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Without the slash at its end; may carry a path.
    pub url: String,
    /// Lower goes first.
    pub priority: i64,
    /// Its share of the turns.
    pub weight: i64,
    /// A token of its own; it then signs for this orchestrator too.
    pub token: Option<Secret>,
}

/// How several orchestrators are asked for work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PollMode {
    /// In order of priority; the next one only when there is nothing.
    #[default]
    Waterfall,
    /// In weighted turns.
    RoundRobin,
}

/// Intervals, limits and growth of waits.
#[derive(Debug, Clone, PartialEq)]
pub struct Timing {
    /// Between heartbeats without news.
    pub heartbeat: Duration,
    /// Between heartbeats with news.
    pub heartbeat_cooldown: Duration,
    /// How long the orchestrator may hold a poll.
    pub poll: Duration,
    /// Between polls that brought nothing.
    pub idle: Duration,
    /// After the first failed poll; doubles.
    pub poll_backoff: Duration,
    /// Longest wait after failed polls.
    pub poll_backoff_max: Duration,
    /// Shortest wait after a 429 that does not name one.
    pub rate_limit_floor: Duration,
    /// After the first failed registration; doubles.
    pub registration: Duration,
    /// Longest wait after failed registrations.
    pub registration_max: Duration,
    /// Attempts at delivering a result.
    pub result_attempts: u32,
    /// After the first failed delivery; doubles.
    pub result: Duration,
    /// A usage that has moved by less is not news. Units: percentage points, percent of memory.
    pub telemetry_deadband: f64,
    /// Usage is sent this often even without news.
    pub telemetry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let s = Duration::from_secs;
        Self {
            heartbeat: s(15),
            heartbeat_cooldown: s(2),
            poll: s(30),
            idle: Duration::from_millis(500),
            poll_backoff: s(1),
            poll_backoff_max: s(60),
            rate_limit_floor: s(30),
            registration: s(1),
            registration_max: s(60),
            result_attempts: 5,
            result: s(1),
            telemetry_deadband: 5.0,
            telemetry: s(60),
        }
    }
}

/// All that a worker needs to know.
#[derive(Clone)]
pub struct WorkerConfig {
    /// An identifier.
    pub id: WorkerId,
    /// For people and dashboards.
    pub worker_type: String,
    /// Goes into the header and signs messages.
    pub token: Secret,
    /// At least one, in order of priority.
    pub endpoints: Vec<Endpoint>,
    /// The order of polls.
    pub poll_mode: PollMode,
    /// Checks the tasks' signatures; none and they are not checked.
    pub task_secret: Option<Secret>,
    /// Whether a task without a signature is refused when there is a secret.
    pub require_task_signature: bool,
    /// Certificates; when there are any, short-lived tokens are used.
    pub tls: TlsFiles,
    /// Tasks at once.
    pub max_concurrent_tasks: usize,
    /// Price per second by skill.
    pub cost_per_skill: BTreeMap<String, f64>,
    /// Devices and properties.
    pub resources: Resources,
    /// Version by name.
    pub software: BTreeMap<String, String>,
    /// Models and other files.
    pub artifacts: Vec<Artifact>,
    /// From `WORKER_EXTRA_*`; tasks may require it.
    pub extra: Object,
    /// Digest of the blob store's settings.
    pub s3_config_hash: Option<String>,
    /// Where files come from and go to; none and addresses of files are texts like any other.
    pub s3: Option<S3Settings>,
    /// The largest file that is moved, in bytes.
    pub file_bytes_max: u64,
    /// What it can do.
    pub skills: Registry,
    /// Waits.
    pub timing: Timing,
    /// How long running tasks may take at shutdown.
    pub shutdown_timeout: Duration,
    /// Whether commands are taken over a WebSocket; cancellation is then immediate.
    pub websockets: bool,
    /// Where probes and figures are served: the flag that says so, and the address.
    pub addresses: Vec<(&'static str, String)>,
    /// Where skills put files.
    pub task_files_dir: PathBuf,
    /// Divides the time of simulated work.
    pub speed: f64,
    /// Switches chance off in simulated skills.
    pub deterministic: bool,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Ids of events and nonces.
    pub entropy: Arc<dyn Entropy>,
    /// What is counted.
    pub metrics: WorkerMetrics,
    /// Where spans are recorded.
    pub traces: Traces,
}

impl WorkerConfig {
    /// Returns a worker without skills, with everything else at its default.
    #[must_use]
    pub fn new(id: &str, token: &str, url: &str) -> Self {
        Self {
            id: WorkerId::new(id),
            worker_type: "generic-worker".to_owned(),
            token: Secret::from(token),
            endpoints: vec![Endpoint {
                url: url.trim_end_matches('/').to_owned(),
                priority: 10,
                weight: 1,
                token: None,
            }],
            poll_mode: PollMode::default(),
            task_secret: None,
            require_task_signature: true,
            tls: TlsFiles::default(),
            max_concurrent_tasks: 10,
            cost_per_skill: BTreeMap::new(),
            resources: Resources::default(),
            software: BTreeMap::new(),
            artifacts: Vec::new(),
            extra: Object::new(),
            s3_config_hash: None,
            s3: None,
            file_bytes_max: FILE_BYTES_MAX,
            skills: Registry::default(),
            timing: Timing::default(),
            shutdown_timeout: Duration::from_secs(30),
            websockets: true,
            addresses: Vec::new(),
            task_files_dir: std::env::temp_dir().join("avtomatika-tasks"),
            speed: 1.0,
            deterministic: false,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            metrics: WorkerMetrics::new(),
            traces: Traces::default(),
        }
    }

    /// Returns a worker of that profile; for `dev` and `showcase`.
    #[must_use]
    pub fn for_profile(profile: Profile, id: &str, token: &str, url: &str) -> Self {
        let mut config = Self::new(id, token, url);
        profile.apply(&mut config);
        config
    }

    /// Reads command line and environment; flags go first. All problems come in one error.
    pub fn from_args(args: &WorkerArgs) -> anyhow::Result<Self> {
        let vars = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        read::read(args, &vars)
    }

    /// Tells what the original's worker does with the environment and this one does not.
    #[must_use]
    pub fn without_effect(env: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
        foreign::told(foreign::UNSUPPORTED_BY_WORKERS, env)
            .into_iter()
            .map(|(names, sentence)| format!("environment: {names}: {sentence}"))
            .collect()
    }
}

#[cfg(test)]
mod tests;
