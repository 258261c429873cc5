//! Everything in one process: an orchestrator on the embedded store, workers, and a webhook sink.
//! What `dev` runs and what `showcase` plays on.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::context::Context;
use super::orchestrator::{BlueprintFiles, Orchestrator};
use super::webhook_sink::{Inbox, SinkConfig, serve_sink};
use super::worker::{self, Profile, WorkerConfig};
use crate::base::Secret;
use crate::config::{self, Configuration, Flag, Sources};
use crate::observe::{SinkMetrics, Traces};

/// The example's files, which the program carries so that nothing else is needed.
const CLIENTS: &str = include_str!("../../config/clients.toml");
const WORKERS: &str = include_str!("../../config/workers.toml");
/// The example's schedules.
pub const SCHEDULES: &str = include_str!("../../config/schedules.toml");
const BLUEPRINTS: [(&str, &str); 3] = [
    (
        "full_showcase.yaml",
        include_str!("../../blueprints/full_showcase.yaml"),
    ),
    (
        "metadata_enrichment.yaml",
        include_str!("../../blueprints/metadata_enrichment.yaml"),
    ),
    (
        "periodic_maintenance.yaml",
        include_str!("../../blueprints/periodic_maintenance.yaml"),
    ),
];
/// Webhooks that the sink keeps.
const INBOX_MAX: usize = 10_000;
/// The client whose token the examples use.
pub const CLIENT: &str = "vip";
/// Its token, from the example's file.
pub const CLIENT_TOKEN: &str = "user_token_vip";

/// What a stack is made of.
pub struct StackOptions {
    /// 0 for a free one.
    pub port: u16,
    /// Where the store and the files are.
    pub data_dir: PathBuf,
    /// Redis server that keeps the jobs instead, and what its keys begin with.
    pub redis: Option<(String, String)>,
    /// Whether the environment may change settings.
    pub uses_environment: bool,
    /// How long a silent worker keeps its tasks, in seconds.
    pub lease_seconds: u64,
    /// Text of the schedules' file.
    pub schedules: String,
    /// Text added to the workers' file.
    pub more_workers: String,
    /// Where blueprints come from; none takes the program's own.
    pub blueprints: Option<PathBuf>,
}

/// A running stack. Stop it with [`Stack::stop`]; dropping it leaves nothing running but loses the
/// tasks that are under way.
pub struct Stack {
    /// The orchestrator.
    pub orchestrator: Orchestrator,
    /// What the sink has received.
    pub inbox: Inbox,
    /// Where webhooks may be sent.
    pub sink_url: String,
    tasks: TaskTracker,
    sink_stop: CancellationToken,
}

/// A worker inside the process.
pub struct StackWorker {
    stop: CancellationToken,
    ended: tokio::task::JoinHandle<()>,
}

impl StackWorker {
    /// Lets the worker finish what it has and say goodbye.
    pub async fn stop(self) {
        self.stop.cancel();
        // An error is a panic of the worker's, which has been printed.
        let _ = self.ended.await;
    }
}

impl Stack {
    /// Starts orchestrator and sink.
    pub async fn start(options: StackOptions, context: &Context) -> anyhow::Result<Self> {
        let configuration = configuration(&options)?;
        for warning in &configuration.warnings {
            context.printer.warn(&warning.to_string());
        }
        let blueprints = match options.blueprints {
            Some(directory) => BlueprintFiles::Directory(directory),
            None => BlueprintFiles::Built(built_blueprints()),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let sink_url = format!("http://{}/", listener.local_addr()?);
        let client = configuration
            .clients
            .iter()
            .find(|client| client.id.as_str() == CLIENT);
        let sink = SinkConfig {
            secret: client.and_then(|client| client.webhook_secret.clone()),
            keep: INBOX_MAX,
            printer: None,
            clock: Arc::clone(&context.clock),
            metrics: SinkMetrics::new(),
            traces: Traces::default(),
        };
        let orchestrator = Orchestrator::start(configuration, blueprints).await?;
        let sink = SinkConfig {
            traces: orchestrator.runtime().traces().clone(),
            ..sink
        };
        let (tasks, sink_stop) = (TaskTracker::new(), CancellationToken::new());
        let inbox = Inbox::new(sink.keep);
        tasks.spawn(serve_sink(sink, inbox.clone(), listener, sink_stop.clone()));
        Ok(Self {
            orchestrator,
            inbox,
            sink_url,
            tasks,
            sink_stop,
        })
    }

    /// Starts a worker of a profile, quick to notice work and to be missed.
    #[must_use]
    pub fn worker(&self, profile: Profile, id: &str, token: &str, speed: f64) -> StackWorker {
        let mut config = WorkerConfig::for_profile(profile, id, token, &self.orchestrator.url());
        config.speed = speed;
        config.traces = self.orchestrator.runtime().traces().clone();
        config.timing.heartbeat = Duration::from_secs(1);
        config.timing.heartbeat_cooldown = Duration::from_millis(100);
        config.timing.idle = Duration::from_millis(10);
        let stop = CancellationToken::new();
        let shutdown = stop.clone();
        let id = id.to_owned();
        let ended = self.tasks.spawn(async move {
            if let Err(error) = worker::run(config, shutdown).await {
                tracing::error!(worker.id = %id, error = %format!("{error:#}"), "worker ended");
            }
        });
        StackWorker { stop, ended }
    }

    /// Stops: orchestrator first, so that the last webhooks still arrive, then the sink, and at last
    /// the way of spans out, which all of them share.
    pub async fn stop(self) {
        let tracing = self.orchestrator.halt().await;
        self.sink_stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        tracing.finish().await;
    }
}

fn built_blueprints() -> Vec<(String, String)> {
    BLUEPRINTS
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect()
}

/// Writes the configuration files beside the store and reads them as any orchestrator would.
fn configuration(options: &StackOptions) -> anyhow::Result<Configuration> {
    let directory = options.data_dir.join("config");
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let workers = format!("{WORKERS}\n{}", options.more_workers);
    let mut flags = vec![
        flag("API_HOST", "127.0.0.1"),
        flag("API_PORT", &options.port.to_string()),
        flag("DATA_DIR", &options.data_dir.display().to_string()),
        flag("RATE_LIMITING_ENABLED", "false"),
        // Everything is on loopback and in one process.
        flag("TLS_ENABLED", "false"),
        flag("TLS_REQUIRE_CLIENT_CERT", "false"),
        flag("WORKER_API_PORT", ""),
        flag("WORKER_AUTH_MODE", "mixed"),
        flag("WEBHOOK_ALLOWED_NETS", "127.0.0.0/8"),
        flag("TASK_LEASE_SECONDS", &options.lease_seconds.to_string()),
        flag("ORCHESTRATOR_SECRET_KEY", &secret_key(&options.data_dir)?),
    ];
    if let Some((url, prefix)) = &options.redis {
        flags.extend([flag("STORE", url), flag("REDIS_PREFIX", prefix)]);
    }
    for (key, name, text) in [
        ("CLIENTS_CONFIG_PATH", "clients.toml", CLIENTS),
        ("WORKERS_CONFIG_PATH", "workers.toml", workers.as_str()),
        (
            "SCHEDULES_CONFIG_PATH",
            "schedules.toml",
            options.schedules.as_str(),
        ),
    ] {
        let path = directory.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        flags.push(flag(key, &path.display().to_string()));
    }
    let uses_environment = options.uses_environment;
    let env = move |name: &str| uses_environment.then(|| std::env::var(name).ok()).flatten();
    let sources = Sources {
        flags,
        env: &env,
        file: None,
    };
    Ok(config::load(&sources)?)
}

/// Returns the key that signs tasks: kept beside the store, so that a restart goes on with it.
fn secret_key(data_dir: &Path) -> anyhow::Result<String> {
    let path = data_dir.join("config").join("secret.key");
    if let Ok(known) = std::fs::read_to_string(&path) {
        return Ok(known);
    }
    let mut random = [0_u8; 32];
    crate::base::Entropy::fill(&crate::base::SystemEntropy, &mut random);
    let key = Secret::new(crate::base::crypto::hex(&random));
    std::fs::write(&path, key.expose())
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(key.expose().to_owned())
}

fn flag(key: &'static str, text: &str) -> Flag {
    Flag {
        key,
        flag: "built in",
        text: text.to_owned(),
    }
}
