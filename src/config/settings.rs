//! The orchestrator's settings, checked, in the groups in which the floors below take them.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::files::{Files, files};
use super::redis::redis;
use super::value::parse_networks;
use super::{Origin, Problem, Problems, Resolved, published, tls};
use crate::api::WorkerAuthMode;
use crate::base::Secret;
use crate::domain::task::RetryPolicy;
use crate::engine::Limits;
use crate::net::ListenerFiles;
use crate::observe::trace::TraceSettings;
use crate::observe::{LogFormat, LogSettings};
use crate::store::RedisSettings;
use crate::store::archive::uri::Target;

/// The HTTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Address or name to listen on.
    pub host: String,
    /// 0 for a free one.
    pub port: u16,
    /// First part of the client routes, without slashes at its ends; empty is the root.
    pub client_prefix: String,
    /// Whether the client routes are there.
    pub client_api: bool,
    /// Port of the workers alone, 0 for a free one; none and everybody shares `port`.
    pub worker_port: Option<u16>,
    /// What the listeners speak TLS with; none and they speak plain HTTP.
    pub tls: Option<ListenerFiles>,
    /// Where clients reach the server, for links; none takes the request's own address.
    pub public_url: Option<String>,
    /// Whether everybody may see the blueprints and their schemas (HQ1).
    pub public_blueprints: bool,
    /// Whether job answers and webhooks hold everything.
    pub detailed_responses: bool,
    /// Largest request body, in bytes.
    pub body_bytes_max: usize,
    /// Largest job file, in bytes.
    pub file_bytes_max: u64,
    /// Largest `policy` of a job, in bytes.
    pub policy_bytes_max: usize,
    /// Connections at once.
    pub connections_max: usize,
    /// Longest wait at shutdown.
    pub shutdown_timeout: Duration,
    /// The rate limits; none when they are off.
    pub rates: Option<Rates>,
}

/// Rate limits, each for one period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// The period.
    pub period: Duration,
    /// Requests of one client.
    pub requests: u32,
    /// Heartbeats of one worker.
    pub heartbeats: u32,
    /// Polls of one worker.
    pub polls: u32,
}

/// What must not be known to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secrets {
    /// The token of the client `default`.
    pub client_token: Option<Secret>,
    /// The token that any worker may use (CQ2: none is possible).
    pub global_worker_token: Option<Secret>,
    /// Signs tasks; none asks for a random one, which only development may.
    pub orchestrator_key: Option<Secret>,
}

/// Files and directories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The embedded store.
    pub data: PathBuf,
    /// Job files.
    pub task_files: PathBuf,
    /// Blueprint files.
    pub blueprints: PathBuf,
    /// `clients.toml`.
    pub clients: Option<PathBuf>,
    /// `workers.toml`.
    pub workers: Option<PathBuf>,
    /// `schedules.toml`.
    pub schedules: Option<PathBuf>,
}

/// How much a crash of the machine may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synchronous {
    /// Nothing.
    Full,
    /// The last moments.
    Normal,
    /// Anything.
    Off,
}

/// The store.
#[derive(Debug, Clone)]
pub struct Store {
    /// SQLite's `synchronous`.
    pub synchronous: Synchronous,
    /// How long idempotency keys are known.
    pub key_retention: Duration,
    /// The server that keeps the jobs; none is the embedded store.
    pub redis: Option<RedisSettings>,
}

/// Where history is kept besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// None keeps it in the store alone.
    pub target: Option<Target>,
    /// How long it is kept there.
    pub retention: Duration,
    /// Goes into the hashes of its events; empty is none.
    pub salt: Secret,
}

/// Workers and how tasks reach them.
#[derive(Debug, Clone, PartialEq)]
pub struct Dispatch {
    /// Longest wait of a poll.
    pub poll_timeout: Duration,
    /// A worker that is silent for twice this long is gone.
    pub health_check_interval: Duration,
    /// A worker that is silent for this long loses its tasks.
    pub lease: Duration,
    /// Tasks of one worker after which `overflow` looks for another.
    pub soft_limit: u32,
    /// Workers below this get no tasks.
    pub reputation_min: f64,
}

/// Webhooks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhooks {
    /// Private networks that may be reached all the same.
    pub allowed_nets: Vec<(IpAddr, u8)>,
    /// How long a webhook is tried.
    pub retry_window: Duration,
}

/// All settings of an orchestrator.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether well-known and missing secrets are refused.
    pub production: bool,
    /// The HTTP server.
    pub http: Http,
    /// What must not be known to others.
    pub secrets: Secrets,
    /// Files and directories.
    pub paths: Paths,
    /// Job files.
    pub files: Files,
    /// The store.
    pub store: Store,
    /// Where history is kept besides.
    pub history: History,
    /// How workers prove who they are.
    pub worker_auth: WorkerAuthMode,
    /// Workers and how tasks reach them.
    pub dispatch: Dispatch,
    /// The engine's bounds.
    pub limits: Limits,
    /// Webhooks.
    pub webhooks: Webhooks,
    /// Whether the orchestrator fires the schedules itself.
    pub embedded_scheduler: bool,
    /// Logs; its zone is also the schedules' default.
    pub log: LogSettings,
    /// Traces; none records none.
    pub traces: Option<TraceSettings>,
}

impl Settings {
    /// Tells whether only this machine can reach the server.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.http.host)
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Builds the settings from checked texts.
pub fn build(values: &Resolved, problems: &mut Problems) -> Settings {
    let production = values
        .text("ENVIRONMENT")
        .to_ascii_lowercase()
        .starts_with("prod");
    if production {
        published::refuse(values, problems);
    }
    let data = values.path("DATA_DIR").unwrap_or_else(|| "data".into());
    let worker_auth = tls::worker_auth(values);
    Settings {
        production,
        http: Http {
            worker_port: tls::worker_port(values, problems),
            tls: tls::files(values, worker_auth, problems),
            ..http(values)
        },
        worker_auth,
        secrets: secrets(values, production, problems),
        paths: Paths {
            task_files: values
                .path("TASK_FILES_DIR")
                .unwrap_or_else(|| data.join("files")),
            data,
            blueprints: values
                .path("BLUEPRINTS_DIR")
                .unwrap_or_else(|| "blueprints".into()),
            clients: values.path("CLIENTS_CONFIG_PATH"),
            workers: values.path("WORKERS_CONFIG_PATH"),
            schedules: values.path("SCHEDULES_CONFIG_PATH"),
        },
        files: files(values, production, problems),
        store: Store {
            synchronous: match values
                .text("SQLITE_SYNCHRONOUS")
                .to_ascii_lowercase()
                .as_str()
            {
                "normal" => Synchronous::Normal,
                "off" => Synchronous::Off,
                _ => Synchronous::Full,
            },
            key_retention: values.duration("IDEMPOTENCY_KEY_RETENTION"),
            redis: redis(values, production, problems),
        },
        history: History {
            // What cannot be read has been told already.
            target: Target::parse(values.text("HISTORY_DATABASE_URI")).ok(),
            retention: values.duration("HISTORY_RETENTION"),
            salt: Secret::new(values.text("AUDIT_SALT")),
        },
        dispatch: Dispatch {
            poll_timeout: seconds(values, "WORKER_POLL_TIMEOUT_SECONDS"),
            health_check_interval: seconds(values, "WORKER_HEALTH_CHECK_INTERVAL_SECONDS"),
            lease: seconds(values, "TASK_LEASE_SECONDS"),
            soft_limit: small(values, "DISPATCHER_SOFT_LIMIT"),
            reputation_min: values.share("REPUTATION_MIN_THRESHOLD"),
        },
        limits: limits(values),
        webhooks: Webhooks {
            allowed_nets: parse_networks(values.text("WEBHOOK_ALLOWED_NETS")).unwrap_or_default(),
            retry_window: values.duration("WEBHOOK_RETRY_WINDOW"),
        },
        embedded_scheduler: values.flag("EMBEDDED_SCHEDULER"),
        log: log(values),
        traces: super::traces::traces(values, problems),
    }
}

fn seconds(values: &Resolved, name: &str) -> Duration {
    Duration::from_secs(values.integer(name))
}

/// Every key read here has a bound far below `u32::MAX`.
fn small(values: &Resolved, name: &str) -> u32 {
    u32::try_from(values.integer(name)).unwrap_or(u32::MAX)
}

/// Returns a checked number of bytes or things.
pub(super) fn size(values: &Resolved, name: &str) -> usize {
    usize::try_from(values.integer(name)).unwrap_or(usize::MAX)
}

fn http(values: &Resolved) -> Http {
    let rates = values.flag("RATE_LIMITING_ENABLED").then(|| Rates {
        period: seconds(values, "RATE_LIMIT_PERIOD"),
        requests: small(values, "RATE_LIMIT_LIMIT"),
        heartbeats: small(values, "RATE_LIMIT_HEARTBEAT_LIMIT"),
        polls: small(values, "RATE_LIMIT_POLL_LIMIT"),
    });
    Http {
        host: values.text("API_HOST").trim().to_owned(),
        port: u16::try_from(values.integer("API_PORT")).unwrap_or(0),
        worker_port: None,
        tls: None,
        client_prefix: values
            .text("CLIENT_API_PREFIX")
            .trim_matches('/')
            .to_owned(),
        client_api: values.flag("ENABLE_CLIENT_API"),
        public_url: Some(values.text("PUBLIC_URL").trim().to_owned()).filter(|url| !url.is_empty()),
        public_blueprints: values.flag("PUBLIC_BLUEPRINTS"),
        detailed_responses: values.flag("DETAILED_API_RESPONSES"),
        body_bytes_max: size(values, "HTTP_BODY_BYTES_MAX"),
        file_bytes_max: values.integer("FILE_BYTES_MAX"),
        policy_bytes_max: size(values, "MAX_POLICY_SIZE_BYTES"),
        connections_max: size(values, "HTTP_CONNECTIONS_MAX"),
        shutdown_timeout: seconds(values, "SHUTDOWN_TIMEOUT_SECONDS"),
        rates,
    }
}

fn limits(values: &Resolved) -> Limits {
    let defaults = Limits::default();
    Limits {
        max_transitions: small(values, "MAX_TRANSITIONS_PER_JOB"),
        max_depth: small(values, "MAX_HOLARCHY_DEPTH"),
        branches_max: small(values, "MAX_BRANCHES"),
        execution_timeout_ms: values.integer("WORKER_TIMEOUT_SECONDS") * 1000,
        retry: RetryPolicy {
            max_attempts: small(values, "JOB_MAX_RETRIES") + 1,
            ..RetryPolicy::default()
        },
        max_deliveries: small(values, "MAX_DELIVERIES"),
        payload_bytes_max: size(values, "PAYLOAD_BYTES_MAX"),
        retention_ms: values.duration("JOB_RETENTION").as_secs() * 1000,
        penalty_contract: values.share("REPUTATION_PENALTY_CONTRACT_VIOLATION"),
        penalty_failure: values.share("REPUTATION_PENALTY_TASK_FAILURE"),
        reward_success: values.share("REPUTATION_REWARD_SUCCESS"),
        ..defaults
    }
}

fn log(values: &Resolved) -> LogSettings {
    LogSettings {
        level: values.text("LOG_LEVEL").to_owned(),
        format: match values.text("LOG_FORMAT").to_ascii_lowercase().as_str() {
            "json" => LogFormat::Json,
            "text" => LogFormat::Text,
            _ => LogFormat::Auto,
        },
        time_zone: values.text("TZ").to_owned(),
    }
}

/// Decides which secrets hold. Well-known ones hold only where nobody else can reach the server
/// (CQ1), and never in production.
fn secrets(values: &Resolved, production: bool, problems: &mut Problems) -> Secrets {
    let local = is_loopback(values.text("API_HOST").trim());
    let key = values.text("ORCHESTRATOR_SECRET_KEY");
    if production && key.is_empty() {
        let message =
            "missing: production needs one, for example the output of `openssl rand -hex 32`";
        problems.push(Problem::error(
            "environment",
            "ORCHESTRATOR_SECRET_KEY",
            message,
        ));
    }
    let mut token = |name: &'static str, other: &str| {
        let text = values.text(name);
        let well_known = super::keys::find(name).is_some_and(|key| key.default == text);
        let origin = values.origin(name);
        if !well_known {
            return (!text.is_empty()).then(|| Secret::new(text));
        }
        if production && origin == Origin::Default {
            // Not set: there is none, and `other` has to let people in.
            return None;
        }
        if production {
            let message = format!(
                "this is the well-known default: set another, or an empty one and use {other}"
            );
            problems.push(Problem::error(&origin.to_string(), name, &message));
        } else if !local && origin == Origin::Default {
            let message = format!(
                "the well-known default would be open to the network at API_HOST={}: set it, or set it empty and use {other}",
                values.text("API_HOST")
            );
            problems.push(Problem::error("default", name, &message));
        } else if !local {
            let message =
                "this is the well-known default, and the server can be reached from outside";
            problems.push(Problem::warning(&origin.to_string(), name, message));
        }
        Some(Secret::new(text))
    };
    Secrets {
        client_token: token("CLIENT_TOKEN", "CLIENTS_CONFIG_PATH"),
        global_worker_token: token("GLOBAL_WORKER_TOKEN", "WORKERS_CONFIG_PATH"),
        orchestrator_key: (!key.is_empty()).then(|| Secret::new(key)),
    }
}
