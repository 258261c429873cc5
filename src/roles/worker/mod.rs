//! The worker: pulls tasks over plain HTTP, runs skills, reports.
//!
//! One process serves one or several orchestrators. Everything that it starts it owns: when
//! [`run`] returns or is dropped, nothing of it is left. It works with the original's
//! orchestrator as well. Source: wire-protocol §13.2.

mod args;
mod board;
mod config;
mod contract;
mod events;
mod execute;
mod link;
mod poll;
mod profile;
mod result;
mod rotation;
mod session;
mod skill;
mod skills;
mod socket;
mod standing;
mod trace;
mod transfer;
mod usage;
mod ways;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use args::WorkerArgs;
pub use config::{Endpoint, PollMode, WorkerConfig};
pub use profile::Profile;
pub use skill::{Outcome, Registry, Skill, TaskContext};

use super::context::Context;
use super::exit::{Exit, Failure, RoleResult};
use super::orchestrator::not_started;
use super::probes::Probes;
use super::traces::{Tracing, service};
use board::Board;
use contract::Contracts;
use link::{Link, Lost};
use transfer::Transfer;

/// How long unfinished tasks may take to say so once the wait for them has ended.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What all parts of one worker share.
struct Worker {
    config: WorkerConfig,
    links: Vec<Link>,
    board: Board,
    contracts: Contracts,
    /// Moves files; none when the worker has no S3 server.
    transfer: Option<Transfer>,
    /// Ends the skills that are still running when the shutdown's patience is over.
    give_up: CancellationToken,
}

impl Worker {
    fn new(config: WorkerConfig) -> anyhow::Result<Self> {
        let lost = Arc::new(Lost::new(config.endpoints.len()));
        let endpoints = config.endpoints.iter();
        let links = endpoints.map(|endpoint| Link::new(&config, endpoint, Arc::clone(&lost)));
        Ok(Self {
            links: links.collect::<Result<_, _>>()?,
            board: Board::new(config.max_concurrent_tasks),
            contracts: Contracts::of(&config.skills)?,
            transfer: Transfer::of(&config)?,
            config,
            give_up: CancellationToken::new(),
        })
    }
}

/// Runs the role until it is told to stop.
pub async fn command(args: &WorkerArgs, context: &Context) -> RoleResult {
    // First: what it lacks to start may be there under a wrong name.
    for warning in super::environment::misspelt() {
        context.printer.warn(&warning.to_string());
    }
    let mut config = WorkerConfig::from_args(args)
        .map_err(|error| Failure::new(Exit::Invalid, format!("{error:#}")))?;
    for warning in WorkerConfig::without_effect(&super::context::env) {
        context.printer.warn(&warning);
    }
    let mut service = service("avtomatika-worker");
    service.instance = config.id.to_string();
    service.attributes = vec![("worker.type", config.worker_type.clone())];
    let tracing = Tracing::from_environment(&service, config.metrics.spans())?;
    config.traces = tracing.traces.clone();
    let ended = run(config, context.stop.clone()).await;
    tracing.finish().await;
    ended.map_err(not_started)?;
    Ok(Exit::Ok)
}

/// Runs a worker until `shutdown`, then lets its tasks finish within the configured time.
///
/// Errors when the configuration cannot be used, or an address is taken; trouble with orchestrators
/// is waited out.
pub async fn run(config: WorkerConfig, shutdown: CancellationToken) -> anyhow::Result<()> {
    let worker = Arc::new(Worker::new(config)?);
    let goodbye = CancellationToken::new();
    let mut sessions = JoinSet::new();
    for (flag, address) in &worker.config.addresses {
        let probes = Probes::listen(flag, address).await?;
        sessions.spawn(probes.serve(Arc::clone(&worker) as _, goodbye.clone()));
    }
    for index in 0..worker.links.len() {
        sessions.spawn(session::keep(Arc::clone(&worker), index, goodbye.clone()));
        if worker.config.websockets {
            sessions.spawn(socket::keep(Arc::clone(&worker), index, goodbye.clone()));
        }
    }
    info!(
        worker.id = %worker.config.id,
        skills = ?worker.config.skills.names(),
        orchestrators = worker.links.len(),
        "worker started"
    );
    let mut tasks = JoinSet::new();
    poll::until(&worker, &mut tasks, &shutdown).await;
    drain(&worker, &mut tasks).await;
    goodbye.cancel();
    while sessions.join_next().await.is_some() {}
    say_goodbye(&worker).await;
    info!(worker.id = %worker.config.id, "worker stopped");
    Ok(())
}

/// Waits for the running tasks; those that take too long are ended and say so.
async fn drain(worker: &Arc<Worker>, tasks: &mut JoinSet<()>) {
    worker.board.drain();
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(worker.config.shutdown_timeout, all)
        .await
        .is_ok()
    {
        return;
    }
    warn!(worker.id = %worker.config.id, task.count = tasks.len(), "tasks did not finish in time");
    worker.give_up.cancel();
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_WORDS, all).await.is_err() {
        tasks.shutdown().await;
    }
}

/// Tells every orchestrator that this worker is gone.
async fn say_goodbye(worker: &Arc<Worker>) {
    let mut farewells = JoinSet::new();
    for index in 0..worker.links.len() {
        let worker = Arc::clone(worker);
        farewells.spawn(async move { session::farewell(&worker, index).await });
    }
    while farewells.join_next().await.is_some() {}
}

/// Returns whole milliseconds, for logs.
fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
