//! Floor 5: the shell. Performs what the engine decides, and decides nothing about a job itself.
//!
//! Every input takes one path, [`Runtime::apply`]: load the job, one pure step, one atomic commit;
//! then the hints go out (matchmaker, watchers, timers, outbox). The store is the truth; all that
//! is kept in memory here can be lost at any instruction and costs latency, never a job.
//! Knows neither HTTP statuses nor SQL.

#[macro_use]
mod error;
mod absence;
mod apply;
mod backlog;
mod blueprints;
mod expiry;
pub mod export;
mod fleet;
mod handout;
mod heartbeat;
mod hints;
mod holders;
mod intake;
mod loops;
mod matchmaker;
mod measure;
mod orphans;
mod outbox;
mod places;
mod polls;
mod queue;
mod refused;
mod registry;
mod reserve;
mod silence;
mod timers;
mod tokens;
mod turns;
mod upkeep;
mod views;
mod watch;
pub mod webhook;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::base::{Clock, Entropy, JobId, Timestamp};
use crate::domain::{ClientRef, Job, Object};
use crate::engine::{Answer, Ignored, Limits};
use crate::observe::{Metrics, Traces};
use crate::store::{BlobStore, Durability, HistoryStore, JobStore, WorkerStore};

pub use error::RuntimeError;
pub use export::{Export, ExportThread};
pub use handout::{Handout, PollRequest};
pub use registry::{Beat, BeatAnswer, Notice};
pub use tokens::{TokenCheck, TokenPair};
pub use watch::Watch;
pub use webhook::{SendFailure, WebhookRequest, WebhookSecrets, WebhookSender};

/// Everything outside the process that the shell uses.
#[derive(Clone)]
pub struct Ports {
    /// Jobs, tasks, outbox.
    pub jobs: Arc<dyn JobStore>,
    /// Workers, tokens, nonces.
    pub workers: Arc<dyn WorkerStore>,
    /// History.
    pub history: Arc<dyn HistoryStore>,
    /// Where history goes besides; none keeps it in the job store alone.
    pub export: Option<Export>,
    /// Job files and heavy payloads.
    pub blobs: Arc<dyn BlobStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Ids and tokens.
    pub entropy: Arc<dyn Entropy>,
    /// The way out for webhooks.
    pub webhooks: Arc<dyn WebhookSender>,
    /// What signs them.
    pub secrets: Arc<dyn WebhookSecrets>,
    /// What is told of all that happens.
    pub metrics: Metrics,
    /// Where spans are recorded.
    pub traces: Traces,
}

/// The shell's bounds and times. Units are in the names.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The engine's.
    pub limits: Limits,
    /// Where clients reach this server, for the links in webhooks: `https://jobs.example.org`. Empty
    /// leaves them without a host.
    pub public_url: String,
    /// How long a task stays with a worker that is not heard of.
    pub lease_ms: u64,
    /// How long a worker that is not heard of counts as alive.
    pub worker_ttl_ms: u64,
    /// Tasks under way at which `overflow` looks for another worker.
    pub soft_limit: u32,
    /// Workers below this reputation get no tasks.
    pub reputation_min: f64,
    /// How long an idempotency key is kept.
    pub idempotency_ms: u64,
    /// Lifetime of a worker's access token.
    pub access_token_ms: u64,
    /// Lifetime of a worker's refresh token.
    pub refresh_token_ms: u64,
    /// How long a message's nonce is remembered; more than twice the freshness window (WQ10).
    pub nonce_ms: u64,
    /// How long webhooks are retried before they are dead letters.
    pub webhook_retry_ms: u64,
    /// Times that a step is tried again when another process was faster.
    pub conflict_retries: u32,
    /// The longest sleep between two looks at what is due: another process on the store may have died
    /// with it.
    pub look_every_ms: u64,
    /// Between two sweeps of what is over.
    pub sweep_every_ms: u64,
    /// How long a task is left to the orchestrator that has the best worker for it.
    pub left_for_ms: u64,
    /// Outgoing messages of one kind, to jobs or to clients, under way at once.
    pub outbox_concurrency: usize,
    /// Whether a job's files go when the job goes.
    pub deletes_files: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            public_url: String::new(),
            lease_ms: 30_000,
            worker_ttl_ms: 120_000,
            soft_limit: 3,
            reputation_min: 0.3,
            idempotency_ms: 24 * 3_600_000,
            access_token_ms: 3_600_000,
            refresh_token_ms: 86_400_000,
            nonce_ms: 150_000,
            webhook_retry_ms: 24 * 3_600_000,
            conflict_retries: 20,
            look_every_ms: 30_000,
            sweep_every_ms: 60_000,
            left_for_ms: 100,
            outbox_concurrency: 64,
            deletes_files: true,
        }
    }
}

/// A client's request for a job, decoded and checked for shape.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// The owner.
    pub client: ClientRef,
    /// Jobs that the owner may create in a calendar month (UTC).
    pub quota: Option<u64>,
    /// The input.
    pub initial_data: Value,
    /// Where webhooks go.
    pub webhook_url: Option<String>,
    /// Default for tasks.
    pub dispatch_timeout_ms: Option<u64>,
    /// Default for tasks.
    pub result_timeout_ms: Option<u64>,
    /// `allowed_skills` and more.
    pub policy: Option<Object>,
    /// Handed on.
    pub security: Option<Value>,
    /// Handed on.
    pub metadata: Option<Object>,
    /// Files among the data.
    pub data_metadata: Option<Object>,
    /// Fewer state entries than the server allows.
    pub max_transitions: Option<u32>,
    /// For finding the job again.
    pub labels: BTreeMap<String, String>,
    /// W3C trace context.
    pub tracing_context: BTreeMap<String, String>,
    /// The client's key for this request, and the request's digest.
    pub idempotency: Option<(String, String)>,
}

impl NewJob {
    /// Returns a request with nothing but an owner and an input.
    #[must_use]
    pub fn new(client: ClientRef, initial_data: Value) -> Self {
        Self {
            client,
            quota: None,
            initial_data,
            webhook_url: None,
            dispatch_timeout_ms: None,
            result_timeout_ms: None,
            policy: None,
            security: None,
            metadata: None,
            data_metadata: None,
            max_transitions: None,
            labels: BTreeMap::new(),
            tracing_context: BTreeMap::new(),
            idempotency: None,
        }
    }
}

/// An accepted request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Created {
    /// The job.
    pub job_id: JobId,
    /// The idempotency key had this job already; nothing was created.
    pub repeated: bool,
}

/// What an input came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Applied {
    /// The job went on.
    Advanced {
        /// As it is now.
        job: Arc<Job>,
        /// For the worker, when it was its result.
        answer: Answer,
    },
    /// Nothing changed.
    Ignored(Ignored),
}

/// What a worker's result came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// It counts.
    Accepted(Answer),
    /// It does not count any more.
    Ignored(Ignored),
    /// There is no such job.
    JobNotFound,
}

/// Whether work can be accepted, and what stands in the way.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Readiness {
    /// All checks are `ok`, but perhaps those of files and history, without which work goes on.
    pub ready: bool,
    /// What a crash may cost.
    pub durability: Durability,
    /// What server keeps the jobs, and how; nothing where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// `ok`, or what is wrong, by part.
    pub checks: BTreeMap<&'static str, String>,
}

/// The shell. Cheap to clone; every clone is the same one.
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

/// What all clones share.
pub(crate) struct Inner {
    ports: Ports,
    settings: Settings,
    blueprints: blueprints::Blueprints,
    turns: turns::Turns,
    /// Turns of messages that may come twice; taken before the job's own.
    messages: turns::Turns,
    registry: registry::Registry,
    matchmaker: matchmaker::Matchmaker,
    absence: absence::Absence,
    silence: silence::Silence,
    watchers: watch::Watchers,
    schedule: timers::Schedule,
    /// What is due and not done yet.
    backlog: Arc<backlog::Backlog>,
    /// Asks for a look at the store's queue.
    refill: tokio::sync::Notify,
    loops: loops::Loops,
    outbox: outbox::Outbox,
    scraped: measure::Scraped,
    /// What the blob store said last, and until when that is good.
    files_checked: Mutex<Option<(Timestamp, String)>>,
    /// How the job store was, and until when that is good.
    store_checked: Mutex<Option<(Timestamp, Result<(), String>)>>,
    exporting: export::Exporting,
    /// Owns every task that the shell starts; closed and awaited at shutdown.
    tasks: TaskTracker,
    /// Ends the loops and answers the open polls.
    stop: CancellationToken,
    /// Refuses new jobs: the store is about to close.
    closed: AtomicBool,
}

impl Runtime {
    /// Starts the shell on its ports: reads what is queued and who is known, then runs the loops.
    pub async fn start(ports: Ports, settings: Settings) -> Result<Self, RuntimeError> {
        let inner = Arc::new(Inner {
            blueprints: blueprints::Blueprints::default(),
            turns: turns::Turns::new(),
            messages: turns::Turns::new(),
            registry: registry::Registry::default(),
            matchmaker: matchmaker::Matchmaker::default(),
            absence: absence::Absence::default(),
            silence: silence::Silence::default(),
            watchers: watch::Watchers::default(),
            schedule: timers::Schedule::default(),
            backlog: Arc::default(),
            refill: tokio::sync::Notify::new(),
            loops: loops::Loops::default(),
            outbox: outbox::Outbox::new(settings.outbox_concurrency),
            scraped: measure::Scraped::default(),
            files_checked: Mutex::default(),
            store_checked: Mutex::default(),
            exporting: export::Exporting::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            closed: AtomicBool::new(false),
            ports,
            settings,
        });
        // Before anything is read, so that nothing is missed between.
        let hints = inner.ports.jobs.hints();
        inner.load_workers().await?;
        inner.renew_leases().await?;
        inner.refill_queue().await?;
        loops::start(&inner, hints);
        Ok(Self { inner })
    }

    /// Stops: open polls are answered, loops end, what is under way is finished, the store closes.
    pub async fn shutdown(&self) {
        self.begin_shutdown();
        self.inner.closed.store(true, Ordering::Release);
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        if let Some(archive) = self.inner.archive() {
            archive.close().await;
        }
        self.inner.ports.jobs.close().await;
    }

    /// Hands out no work from now on and answers the open polls; returns at once. Requests that are
    /// on their way are still taken, until [`Runtime::shutdown`]: who made them would have to make
    /// them anew elsewhere.
    pub fn begin_shutdown(&self) {
        self.inner.stop.cancel();
        self.inner.registry.close_sockets();
    }

    /// Returns the blob store.
    #[must_use]
    pub fn blobs(&self) -> &Arc<dyn BlobStore> {
        &self.inner.ports.blobs
    }

    /// Returns the clock.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.ports.clock
    }

    /// Returns the entropy.
    #[must_use]
    pub fn entropy(&self) -> &Arc<dyn Entropy> {
        &self.inner.ports.entropy
    }

    /// Returns the settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }
}
