//! From settings to ports: which store, which keys, which way out for webhooks.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use async_trait::async_trait;

use crate::api::{self, ApiSettings, RateLimits};
use crate::base::{Entropy as _, Secret, SystemClock, SystemEntropy, WorkerId};
use crate::config::{self, Settings, settings};
use crate::net::{Call, GuardedClient, Method, NetError};
use crate::observe::{
    Metrics, StoreWatch, Traces, WatchedBlobs, WatchedHistory, WatchedJobs, WatchedWorkers,
};
use crate::runtime::{
    self, Export, ExportThread, Ports, SendFailure, WebhookRequest, WebhookSecrets, WebhookSender,
};
use crate::store::archive::chain::Hasher;
use crate::store::archive::postgres::PostgresArchive;
use crate::store::archive::uri::Target;
use crate::store::{
    Archive, BlobStore, DirBlobStore, HistoryFeed, HistoryStore, JobStore, Offloading, RedisStore,
    S3BlobStore, SqliteArchive, SqliteSettings, SqliteStore, StoreError, Synchronous, WorkerStore,
};

/// The longest that one webhook attempt takes, as the original has it.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a start waits for Redis: containers come up in any order.
const REDIS_PATIENCE: Duration = Duration::from_secs(30);

/// What everything that happens is told to.
pub(super) type Telling = (Metrics, Traces);

/// Keeps the store open, and the export's thread.
pub(super) type StoreHandle = Arc<dyn std::any::Any + Send + Sync>;

/// Opens the store, embedded or shared, and everything else that the shell uses.
pub(super) async fn open(
    settings: &Settings,
    secrets: Arc<dyn WebhookSecrets>,
    telling: Telling,
) -> anyhow::Result<(Ports, StoreHandle)> {
    let data = &settings.paths.data;
    std::fs::create_dir_all(data)
        .with_context(|| format!("cannot create the data directory {}", data.display()))?;
    if let Some(redis) = &settings.store.redis {
        let store = RedisStore::open_within(redis, REDIS_PATIENCE).await?;
        let store = Arc::new(store);
        switch_feed(&store, settings).await?;
        let export = export(settings, store.clone())?;
        return ports(settings, (secrets, telling), store, export).await;
    }
    let file = data.join("avtomatika.db");
    let store = SqliteStore::open(&file, &sqlite_settings(settings))
        .with_context(|| format!("cannot open the store {}", file.display()))?;
    let store = Arc::new(store);
    let export = export(settings, store.clone())?;
    ports(settings, (secrets, telling), store, export).await
}

/// Has the store keep for the history what it is to have, if there is to be one. It is one switch for all
/// orchestrators on a Redis.
async fn switch_feed(store: &RedisStore, settings: &Settings) -> Result<(), StoreError> {
    if let Some(waited) = store.switch_feed(settings.history.target.is_some()).await? {
        tracing::warn!(
            waited,
            "HISTORY_DATABASE_URI is not set here, so the feed of the history is switched off for all \
             orchestrators on this Redis: nothing is brought over any more, by none of them. If others \
             have a history, give this one the same HISTORY_DATABASE_URI and start it again: what Redis \
             still holds is brought over then"
        );
    }
    Ok(())
}

async fn ports<S: JobStore + WorkerStore + HistoryStore>(
    settings: &Settings,
    (secrets, telling): (Arc<dyn WebhookSecrets>, Telling),
    store: Arc<S>,
    (export, thread): (Option<Export>, Option<ExportThread>),
) -> anyhow::Result<(Ports, StoreHandle)> {
    let allowed = settings.webhooks.allowed_nets.iter().copied();
    let webhooks = GuardedClient::new(allowed, WEBHOOK_TIMEOUT)?;
    let (metrics, traces) = telling;
    let clock = Arc::new(SystemClock);
    let blobs = blobs(settings, &metrics, &traces).await?;
    let watch = StoreWatch::new(metrics.clone(), clock.clone());
    let jobs = WatchedJobs::new(store.clone(), watch.clone());
    let ports = Ports {
        jobs: offloading(Arc::new(jobs), &blobs, settings),
        workers: Arc::new(WatchedWorkers::new(store.clone(), watch.clone())),
        history: Arc::new(WatchedHistory::new(store.clone(), watch)),
        export,
        blobs,
        clock,
        entropy: Arc::new(SystemEntropy),
        webhooks: Arc::new(HttpWebhooks(webhooks)),
        secrets,
        metrics,
        traces,
    };
    Ok((ports, Arc::new((store, thread))))
}

/// Opens the store of job files. An S3 server that does not answer yet is waited for while the
/// orchestrator runs.
async fn blobs(
    settings: &Settings,
    metrics: &Metrics,
    traces: &Traces,
) -> anyhow::Result<Arc<dyn BlobStore>> {
    if let Some(s3) = &settings.files.s3 {
        let store = S3BlobStore::new(s3)?;
        tracing::info!(
            endpoint = s3.endpoint,
            bucket = s3.bucket,
            "files are kept in S3"
        );
        if let Err(error) = store.health().await {
            tracing::debug!(%error, "S3 does not answer yet");
        }
        let clock = Arc::new(SystemClock);
        let store = WatchedBlobs::new(Arc::new(store), metrics.clone(), traces.clone(), clock);
        return Ok(Arc::new(store));
    }
    let folder = &settings.paths.task_files;
    let store = DirBlobStore::open(folder, &settings.files.bucket)
        .await
        .with_context(|| format!("cannot open the job files in {}", folder.display()))?;
    if settings.store.redis.is_some() {
        tracing::info!(
            folder = %folder.display(),
            "files are kept in a folder: other orchestrators on this Redis need the same one, or S3"
        );
    }
    Ok(Arc::new(store))
}

/// Puts what keeps heavy values elsewhere before the store of jobs, when there is an elsewhere.
fn offloading(
    jobs: Arc<dyn JobStore>,
    blobs: &Arc<dyn BlobStore>,
    settings: &Settings,
) -> Arc<dyn JobStore> {
    if !settings.files.offloads {
        return jobs;
    }
    // What was offloaded before is still read, whatever is offloaded from now on.
    let bytes_max = settings.files.offload_bytes.unwrap_or(usize::MAX);
    Arc::new(Offloading::new(jobs, Arc::clone(blobs), bytes_max))
}

fn sqlite_settings(settings: &Settings) -> SqliteSettings {
    SqliteSettings {
        synchronous: match settings.store.synchronous {
            settings::Synchronous::Full => Synchronous::Full,
            settings::Synchronous::Normal => Synchronous::Normal,
            settings::Synchronous::Off => Synchronous::Off,
        },
        feed: settings.history.target.is_some(),
        ..SqliteSettings::default()
    }
}

/// Opens the archive and connects the store to it, when there is to be one.
fn export(
    settings: &Settings,
    feed: Arc<dyn HistoryFeed>,
) -> anyhow::Result<(Option<Export>, Option<ExportThread>)> {
    let history = &settings.history;
    let Some(target) = &history.target else {
        return Ok((None, None));
    };
    let archive = open_archive(target, &history.salt, Access::Write)
        .context("cannot open the history of HISTORY_DATABASE_URI")?;
    let thread = ExportThread::start().context("cannot start the history's thread")?;
    let export = Export {
        archive,
        feed,
        retention: Some(history.retention),
        runs_on: Some(thread.handle()),
    };
    Ok((Some(export), Some(thread)))
}

/// Whether an archive is also written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// By an orchestrator.
    Write,
    /// By a command that only looks.
    Read,
}

/// Opens an archive. A server need not be there yet; a file is made when it is to be written.
pub(crate) fn open_archive(
    target: &Target,
    salt: &Secret,
    access: Access,
) -> Result<Arc<dyn Archive>, StoreError> {
    let hasher = Hasher::new(salt);
    Ok(match (target, access) {
        (Target::Sqlite(path), Access::Write) => Arc::new(SqliteArchive::open(path, hasher)?),
        (Target::Sqlite(path), Access::Read) => {
            Arc::new(SqliteArchive::open_to_read(path, hasher)?)
        }
        (Target::Postgres { uri, protection }, Access::Write) => {
            Arc::new(PostgresArchive::new(uri, protection, hasher)?)
        }
        (Target::Postgres { uri, protection }, Access::Read) => {
            Arc::new(PostgresArchive::to_read(uri, protection, hasher)?)
        }
    })
}

/// Returns the shell's settings.
pub(super) fn runtime_settings(settings: &Settings) -> runtime::Settings {
    let dispatch = &settings.dispatch;
    runtime::Settings {
        limits: settings.limits.clone(),
        public_url: settings.http.public_url.clone().unwrap_or_default(),
        lease_ms: millis(dispatch.lease),
        worker_ttl_ms: millis(dispatch.health_check_interval).saturating_mul(2),
        soft_limit: dispatch.soft_limit,
        reputation_min: dispatch.reputation_min,
        idempotency_ms: millis(settings.store.key_retention),
        webhook_retry_ms: millis(settings.webhooks.retry_window),
        deletes_files: settings.files.deletes,
        look_every_ms: match &settings.store.redis {
            // What a dead orchestrator leaves behind is taken over within seconds.
            Some(_) => 2_000,
            None => runtime::Settings::default().look_every_ms,
        },
        ..runtime::Settings::default()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the API's settings. Without a key of the operator's the tasks are signed with a random
/// one, which holds for this process only.
pub(super) fn api_settings(settings: &Settings) -> ApiSettings {
    let http = &settings.http;
    let task_secret = settings
        .secrets
        .orchestrator_key
        .clone()
        .unwrap_or_else(|| {
            tracing::warn!(
                "ORCHESTRATOR_SECRET_KEY is not set: tasks are signed with a random key"
            );
            Secret::new(SystemEntropy.token())
        });
    ApiSettings {
        client_prefix: http.client_prefix.clone(),
        client_api: http.client_api,
        public_url: http.public_url.clone(),
        scheme: match &http.tls {
            Some(_) => "https",
            None => "http",
        },
        worker_auth: settings.worker_auth,
        public_blueprints: http.public_blueprints,
        body_bytes_max: http.body_bytes_max,
        upload_bytes_max: http.file_bytes_max,
        file_links: settings.files.links,
        poll_window: settings.dispatch.poll_timeout,
        task_secret,
        detailed: http.detailed_responses,
        rate_limits: http.rates.map(rate_limits),
        policy_bytes_max: http.policy_bytes_max,
        transitions_max: settings.limits.max_transitions,
        ..ApiSettings::default()
    }
}

fn rate_limits(rates: settings::Rates) -> RateLimits {
    let mut limits = RateLimits::over(millis(rates.period));
    limits.client.limit = rates.requests;
    limits.heartbeat.limit = rates.heartbeats;
    limits.poll.limit = rates.polls;
    limits
}

/// The workers' tokens, and where they are read from again.
pub(super) struct Tokens {
    current: ArcSwap<config::WorkerTokens>,
    global: Option<Secret>,
    settings: Settings,
    file: Option<PathBuf>,
}

impl Tokens {
    pub(super) fn new(tokens: config::WorkerTokens, settings: &Settings) -> Self {
        Self {
            current: ArcSwap::from_pointee(tokens),
            global: settings.secrets.global_worker_token.clone(),
            settings: settings.clone(),
            file: settings.paths.workers.clone(),
        }
    }
}

impl api::WorkerTokens for Tokens {
    fn token(&self, worker: &WorkerId) -> Option<Secret> {
        self.current.load().lookup(worker.as_str()).cloned()
    }

    fn global(&self) -> Option<Secret> {
        self.global.clone()
    }

    fn reload(&self) -> Result<bool, String> {
        if self.file.is_none() {
            return Ok(false);
        }
        let tokens = config::load_worker_tokens(&self.settings).map_err(|e| e.to_string())?;
        self.current.store(Arc::new(tokens));
        Ok(true)
    }
}

/// Sends webhooks over HTTP, to addresses that are allowed only (fixes HQ12).
struct HttpWebhooks(GuardedClient);

#[async_trait]
impl WebhookSender for HttpWebhooks {
    async fn send(&self, request: WebhookRequest) -> Result<(), SendFailure> {
        let mut call = Call::new(Method::Post, request.url).json(request.body);
        for (name, value) in request.headers {
            call = call.header(name, value);
        }
        let failed = |is_final, reason| Err(SendFailure { is_final, reason });
        match self.0.send(call).await {
            Ok(answer) if (200..300).contains(&answer.status) => Ok(()),
            // A redirect is not followed: it could lead where webhooks may not go.
            Ok(answer) => failed(false, format!("the receiver answered {}", answer.status)),
            // The log shows this to the client, who need not learn where names lead in here.
            Err(NetError::Refused { host, .. }) => failed(
                true,
                format!("{host} is not an address that webhooks may reach"),
            ),
            Err(error) => failed(!error.is_transient(), error.to_string()),
        }
    }
}
