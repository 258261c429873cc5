//! The orchestrator role: store, shell, API and scheduler put together from a configuration, and
//! taken apart again in the order that loses nothing.

mod access;
mod listen;
mod reload;
mod wiring;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use access::{Access, ClientSecrets};

use super::context::{Context, SettingsArgs};
use super::exit::{Exit, Failure, RoleResult};
use super::scheduler::core::{self, FireError, Unwatched};
use super::scheduler::job_metadata;
use super::traces::{Tracing, service};
use crate::api::{ApiState, ClientBook};
use crate::base::{Clock, Timestamp};
use crate::config::Configuration;
use crate::domain::{ClientRef, client::SYSTEM_CLIENT, schedule::Schedule};
use crate::observe::Metrics;
use crate::observe::trace::{self, Lap, Span};
use crate::runtime::{NewJob, Runtime, RuntimeError};

use listen::Listeners;
pub use reload::{BlueprintFiles, read_blueprints};
pub(crate) use wiring::{Access as ArchiveAccess, open_archive};

/// Everything the orchestrator is told on its command line.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  avtomatika orchestrator                          settings from config/avtomatika.toml
  avtomatika orchestrator --port 8080 --data-dir /var/lib/avtomatika
  avtomatika orchestrator --store redis://redis:6379
  API_HOST=0.0.0.0 CLIENTS_CONFIG_PATH=clients.toml avtomatika orchestrator
  kill -HUP PID                                    read blueprints, clients, tokens, certificates")]
pub struct Args {
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Runs the role until it is told to stop.
pub async fn run(args: Args, context: &Context) -> RoleResult {
    let configuration = args.settings.load(context)?;
    context.init_logging_with(&configuration.settings.log)?;
    let blueprints = BlueprintFiles::Directory(configuration.settings.paths.blueprints.clone());
    let started = Orchestrator::start(configuration, blueprints).await;
    let orchestrator = started.map_err(not_started)?;
    context.stop.cancelled().await;
    tracing::info!("stopping: requests under way are finished");
    orchestrator.stop().await;
    Ok(Exit::Ok)
}

/// Says why an orchestrator did not start: as what was found says itself, else as a fault of what it
/// was configured with.
pub fn not_started(error: anyhow::Error) -> Failure {
    match error.downcast::<Failure>() {
        Ok(failure) => failure,
        Err(error) => Failure::new(Exit::Invalid, format!("{error:#}")),
    }
}

/// A running orchestrator.
pub struct Orchestrator {
    runtime: Runtime,
    address: SocketAddr,
    is_https: bool,
    /// The API's accept loop, the scheduler and the watchers of files and signals.
    tasks: TaskTracker,
    stop: CancellationToken,
    tracing: Tracing,
    /// Held while the orchestrator runs: who else opens the data directory is refused.
    _store: wiring::StoreHandle,
}

impl Orchestrator {
    /// Opens the store, takes up where the last process ended, and serves.
    ///
    /// Errors: the data directory is in use or cannot be read, a blueprint in use is broken, the
    /// address is taken. Each names what to do.
    pub async fn start(
        configuration: Configuration,
        blueprints: BlueprintFiles,
    ) -> anyhow::Result<Self> {
        let Configuration {
            settings,
            clients,
            worker_tokens,
            schedules,
            ..
        } = configuration;
        let key = settings.secrets.orchestrator_key.clone();
        let secrets = Arc::new(ClientSecrets::new(&clients, key));
        let metrics = Metrics::new();
        let counted = metrics.spans();
        let tracing = Tracing::start(settings.traces.as_ref(), &service("avtomatika"), counted)?;
        let telling = (metrics, tracing.traces.clone());
        let (ports, store) = wiring::open(&settings, secrets.clone(), telling).await?;
        let changes = reload::Changes::listen(&blueprints, Access::files(&settings))?;
        let runtime = Runtime::start(ports, wiring::runtime_settings(&settings)).await?;
        reload::load(&runtime, &blueprints).await?;
        let listeners = Listeners::bind(&settings).await?;
        let address = listeners.address();
        let workers = listeners.workers_address().map(|at| at.to_string());
        let certificates = listeners.certificates();
        let is_https = !certificates.is_empty();
        let tokens = wiring::Tokens::new(worker_tokens, &settings);
        let state = Arc::new(ApiState::new(
            runtime.clone(),
            ClientBook::new(clients.clone()),
            Arc::new(tokens),
            wiring::api_settings(&settings),
        ));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        listeners.serve(&state, &settings, &tasks, &stop);
        tasks.spawn(reload::watch(
            runtime.clone(),
            Access::new(settings.clone(), state, secrets, clients),
            (blueprints, changes),
            certificates,
            stop.clone(),
        ));
        tasks.spawn(watch_lag(runtime.metrics().clone(), stop.clone()));
        if settings.embedded_scheduler && !schedules.is_empty() {
            tasks.spawn(run_schedules(runtime.clone(), schedules, stop.clone()));
        }
        let readiness = runtime.readiness().await;
        tracing::info!(
            address = %address,
            workers_address = workers,
            https = is_https,
            data = %settings.paths.data.display(),
            durability = ?readiness.durability,
            blueprints = runtime.blueprints().iter().count(),
            "orchestrator ready"
        );
        Ok(Self {
            runtime,
            address,
            is_https,
            tasks,
            stop,
            tracing,
            _store: store,
        })
    }

    /// Returns the address that the API listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the API's URL, for people and for roles in the same process.
    #[must_use]
    pub fn url(&self) -> String {
        let host = match self.address {
            address if address.ip().is_unspecified() => format!("127.0.0.1:{}", address.port()),
            address => address.to_string(),
        };
        let scheme = if self.is_https { "https" } else { "http" };
        format!("{scheme}://{host}")
    }

    /// Returns the shell.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Stops: no new connections, open polls are answered, requests under way are finished, then
    /// the loops end and the store closes.
    pub async fn stop(self) {
        // Last: what was finished just now is told too.
        self.halt().await.finish().await;
    }

    /// Stops, and leaves the way of spans out open for those roles that share it.
    pub async fn halt(self) -> Tracing {
        self.runtime.begin_shutdown();
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.runtime.shutdown().await;
        self.tracing
    }
}

/// Measures once a second how late a timer comes: what is late is everything that is done for
/// requests.
async fn watch_lag(metrics: Metrics, stop: CancellationToken) {
    const EVERY: Duration = Duration::from_secs(1);
    loop {
        let began = Instant::now();
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        metrics.loop_lag(began.elapsed().saturating_sub(EVERY));
    }
}

/// Fires the schedules inside the orchestrator: the same slots under the same keys as the scheduler
/// role, so that several may run side by side and across restarts (I8).
async fn run_schedules(runtime: Runtime, schedules: Vec<Schedule>, stop: CancellationToken) {
    let clock: Arc<dyn Clock> = Arc::clone(runtime.clock());
    let fire = move |schedule: Arc<Schedule>, slot: Timestamp| {
        let runtime = runtime.clone();
        async move { fire(&runtime, &schedule, slot).await }
    };
    core::run_schedules(schedules, clock, fire, Arc::new(Unwatched), stop).await;
}

async fn fire(
    runtime: &Runtime,
    schedule: &Schedule,
    slot: Timestamp,
) -> Result<String, FireError> {
    let metadata = job_metadata(schedule, slot);
    let client = ClientRef {
        id: SYSTEM_CLIENT.into(),
        plan: "system".to_owned(),
        params: metadata.clone(),
    };
    let mut new = NewJob::new(client, schedule.input_data.clone().into());
    new.dispatch_timeout_ms = schedule.dispatch_timeout_seconds.map(to_ms);
    new.result_timeout_ms = schedule.result_timeout_seconds.map(to_ms);
    new.security = schedule.security.clone().map(Into::into);
    new.metadata = Some(metadata);
    new.idempotency = Some((schedule.slot_key(slot), schedule.name.clone()));
    let begun = runtime.traces().begin(None);
    let place = begun.filter(|place| place.context.is_sampled());
    let lap = Lap::begin(runtime.clock().as_ref());
    if let Some(place) = place {
        new.tracing_context = trace::carried(&new.tracing_context, place.context);
    }
    let submitted = runtime.submit(&schedule.blueprint, new).await;
    if let Some(place) = place {
        let span = Span::ended(format!("schedule {}", schedule.name), place, &lap);
        runtime.traces().record(match &submitted {
            Ok(created) => span.with("avtomatika.job.id", created.job_id.to_string()),
            Err(_) => span.failed("not_fired"),
        });
    }
    match submitted {
        Ok(created) => {
            if !created.repeated {
                let lag = runtime.clock().now().since(slot);
                runtime.metrics().triggered(&schedule.blueprint, lag);
            }
            Ok(created.job_id.to_string())
        }
        Err(error @ (RuntimeError::Busy | RuntimeError::Store(_) | RuntimeError::ShuttingDown)) => {
            Err(FireError::Later(error.to_string()))
        }
        Err(error) => Err(FireError::Never(error.to_string())),
    }
}

fn to_ms(seconds: u64) -> u64 {
    seconds.saturating_mul(1000)
}

#[cfg(test)]
mod tests;
