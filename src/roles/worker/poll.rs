//! Asking for work, and taking it in.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::board::Admission;
use super::link::{is_unknown_worker, pause_after};
use super::result::Report;
use super::rotation::Rotation;
use super::trace::Carried;
use super::{Worker, execute, ms};
use crate::domain::worker::WorkerStatus;
use crate::net::NetError;
use crate::observe::{Handed, Polled};
use crate::protocol::verify_task;
use crate::protocol::wire::TaskPayload;

/// When an orchestrator may be asked again after failures.
#[derive(Clone, Copy, Default)]
struct Pace {
    delay: Option<Duration>,
    resume_at: Option<Instant>,
}

/// Asks for work and starts it until `shutdown`; the tasks go on after that.
pub(super) async fn until(
    worker: &Arc<Worker>,
    tasks: &mut JoinSet<()>,
    shutdown: &CancellationToken,
) {
    let weights = worker.links.iter().map(|link| link.weight).collect();
    let mut rotation = Rotation::new(worker.config.poll_mode, weights);
    let mut paces = vec![Pace::default(); worker.links.len()];
    let mut changes = worker.board.subscribe();
    loop {
        while tasks.try_join_next().is_some() {}
        let found = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            found = round(worker, &mut rotation, &mut paces, &mut changes) => found,
        };
        if let Some((index, message)) = found {
            take(worker, tasks, index, &message);
        }
    }
}

/// Asks each orchestrator in order; the first one with work ends the round.
async fn round(
    worker: &Worker,
    rotation: &mut Rotation,
    paces: &mut [Pace],
    changes: &mut watch::Receiver<()>,
) -> Option<(usize, Value)> {
    changes.borrow_and_update();
    let any_registered = worker.links.iter().any(super::link::Link::is_registered);
    if worker.board.status() != WorkerStatus::Idle || !any_registered {
        // An error would mean that the board is gone, and with it the worker.
        let _ = changes.changed().await;
        return None;
    }
    let order = rotation.next();
    let window = worker.config.timing.poll.div_f64(count(order.len()));
    for index in order {
        let link = &worker.links[index];
        let paused = paces[index].resume_at.is_some_and(|at| at > Instant::now());
        if paused || !link.is_registered() {
            continue;
        }
        let polled = link.poll(window, worker.config.skills.names()).await;
        worker.config.metrics.polled(match &polled {
            Ok(Some(_)) => Polled::Task,
            Ok(None) => Polled::Empty,
            Err(error) if error.status().is_some() => Polled::Refused,
            Err(_) => Polled::Failed,
        });
        match polled {
            Ok(found) => {
                paces[index] = Pace::default();
                if let Some(message) = found {
                    return Some((index, message));
                }
            }
            Err(error) => paces[index] = after_failure(worker, paces[index], &error),
        }
    }
    tokio::time::sleep(worker.config.timing.idle).await;
    None
}

/// Returns the count as a divisor.
fn count(links: usize) -> f64 {
    u32::try_from(links).map_or(f64::MAX, f64::from).max(1.0)
}

/// Decides how long an orchestrator is left alone.
fn after_failure(worker: &Worker, pace: Pace, error: &NetError) -> Pace {
    let timing = &worker.config.timing;
    let delay = pace.delay.map_or(timing.poll_backoff, |delay| delay * 2);
    let delay = delay.min(timing.poll_backoff_max);
    let pause = pause_after(error, delay, timing.rate_limit_floor);
    if is_unknown_worker(error) {
        // The next heartbeat meets the same answer and registers anew.
        debug!(worker.id = %worker.config.id, %error, "poll refused");
        worker.board.poke();
    } else {
        warn!(worker.id = %worker.config.id, %error, pause_ms = ms(pause), "poll failed");
    }
    Pace {
        delay: Some(delay),
        resume_at: Some(Instant::now() + pause),
    }
}

/// Sends a result without a run before it.
async fn report_alone(worker: Arc<Worker>, report: Report) {
    let again = execute::report(&worker, report).await;
    debug_assert!(
        again.is_none(),
        "only a run that did not end by itself is made again"
    );
}

/// Checks a task and starts it.
fn take(worker: &Arc<Worker>, tasks: &mut JoinSet<()>, index: usize, message: &Value) {
    let metrics = &worker.config.metrics;
    if let Some(secret) = &worker.config.task_secret {
        let is_unsigned = message.get("sig").is_none_or(Value::is_null);
        let may_pass = is_unsigned && !worker.config.require_task_signature;
        if !may_pass && !verify_task(message, secret) {
            // Whoever made it is not asked: without a report its lease ends and another worker,
            // whose secret may be right, gets it.
            metrics.handed(Handed::Forged);
            error!(worker.id = %worker.config.id, "task dropped: its signature is not the orchestrator's");
            return;
        }
    }
    let payload = match TaskPayload::decode(message) {
        Ok(payload) => payload,
        Err(error) => {
            metrics.handed(Handed::Unreadable);
            warn!(worker.id = %worker.config.id, %error, "task cannot be read");
            if let Some(result) = execute::unreadable(worker, message, &error) {
                let report = Report::of(index, result);
                tasks.spawn(report_alone(Arc::clone(worker), report));
            }
            return;
        }
    };
    let task_id = payload.task_id.clone();
    match worker.board.admit(payload, index) {
        Admission::Run(given) => {
            metrics.handed(Handed::Taken);
            debug!(task.id = %task_id, job.id = given.task.job_id, skill = given.task.skill, "task taken");
            tasks.spawn(execute::run(Arc::clone(worker), given));
        }
        Admission::Report(given, result) => {
            metrics.handed(Handed::Repeated);
            info!(task.id = %task_id, "task was done already: sending its result again");
            let report = Report {
                deadline: given.task.deadline,
                is_own: true,
                trace: Carried::of(&worker.config, &given.task),
                ..Report::of(index, *result)
            };
            tasks.spawn(report_alone(Arc::clone(worker), report));
        }
        Admission::Running => {
            metrics.handed(Handed::Running);
            info!(task.id = %task_id, "task handed out again while it is under way");
        }
    }
}
