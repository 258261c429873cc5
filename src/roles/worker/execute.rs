//! One task from its arrival to its delivered result.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use super::result::{compose, deliver};
use super::skill::{Outcome, Progress, Skill, TaskContext};
use super::{Worker, ms};
use crate::base::{TaskId, Timestamp};
use crate::domain::task::status;
use crate::domain::{Object, TaskErrorCode};
use crate::protocol::WireError;
use crate::protocol::freshness::is_fresh;
use crate::protocol::wire::{PROGRESS, TaskPayload, TaskResult, WorkerEventPayload};

/// Runs a task and reports it.
pub(super) async fn run(
    worker: Arc<Worker>,
    index: usize,
    task: TaskPayload,
    cancel: CancellationToken,
) {
    let started = Instant::now();
    let outcome = outcome_of(&worker, index, &task, cancel).await;
    info!(
        task.id = %task.task_id,
        job.id = task.job_id,
        skill = task.skill,
        status = outcome.status,
        duration_ms = ms(started.elapsed()),
        "task ended"
    );
    let result = compose(&worker.config, &task, outcome, started.elapsed());
    report(&worker, index, result, task.deadline).await;
}

/// Delivers a result and lets the task go.
pub(super) async fn report(
    worker: &Worker,
    index: usize,
    result: TaskResult,
    deadline: Option<i64>,
) {
    let task_id = result.task_id.clone();
    deliver(worker, index, result, deadline).await;
    worker.board.finish(&task_id);
}

/// Returns the report of a task that cannot be read, when it can at least be named.
pub(super) fn unreadable(
    worker: &Worker,
    message: &Value,
    error: &WireError,
) -> Option<TaskResult> {
    let text = |name: &str| message.get(name).and_then(Value::as_str).map(str::to_owned);
    let named = json!({"job_id": text("job_id")?, "task_id": text("task_id")?, "type": "unknown"});
    let task = TaskPayload::decode(&named).ok()?;
    let outcome = Outcome::failure(TaskErrorCode::InvalidInputError, error.to_string());
    Some(compose(&worker.config, &task, outcome, Duration::ZERO))
}

/// Decides whether the task may run here, and runs it.
async fn outcome_of(
    worker: &Arc<Worker>,
    index: usize,
    task: &TaskPayload,
    cancel: CancellationToken,
) -> Outcome {
    if task
        .allowed_skills()
        .is_some_and(|allowed| !allowed.contains(&task.skill.as_str()))
    {
        return Outcome::failure(
            TaskErrorCode::SecurityError,
            format!("the job's policy does not allow `{}`", task.skill),
        );
    }
    let Some(skill) = worker.config.skills.get(&task.skill) else {
        // Not permanent: another worker may have the skill.
        return Outcome::failure(
            TaskErrorCode::TransientError,
            format!("this worker has no skill `{}`", task.skill),
        );
    };
    let context = TaskContext {
        job_id: task.job_id.clone(),
        task_id: task.task_id.to_string(),
        deadline: task.deadline,
        speed: worker.config.speed,
        deterministic: worker.config.deterministic,
        cancel: cancel.clone(),
        progress: Arc::new(Reporter {
            worker: Arc::clone(worker),
            index,
        }),
    };
    let params = task.params.clone();
    let time_left = task
        .deadline
        .map(|deadline| time_left(worker.config.clock.now(), deadline, task.timestamp));
    // A set of one: the run is a task of its own, so that its panic is its own, and it ends with
    // this function however that ends.
    let mut running = JoinSet::new();
    running.spawn(run_skill(skill, context, params));
    let outcome = tokio::select! {
        joined = running.join_next() => ended(joined),
        () = cancel.cancelled() => Outcome::cancelled(),
        () = worker.give_up.cancelled() => Outcome::failure(
            TaskErrorCode::TransientError,
            "the worker was stopped before the task was done",
        ),
        () = expired(time_left) => Outcome::failure(
            TaskErrorCode::TimeoutError,
            "the deadline passed while the task was running",
        ),
    };
    running.shutdown().await;
    outcome
}

async fn run_skill(skill: Arc<dyn Skill>, context: TaskContext, params: Object) -> Outcome {
    skill.run(&context, &params).await
}

/// Takes the end of the run, be it a panic.
fn ended(joined: Option<Result<Outcome, JoinError>>) -> Outcome {
    match joined {
        Some(Ok(outcome)) => outcome,
        Some(Err(error)) => {
            error!(%error, "skill panicked");
            Outcome::failure(TaskErrorCode::InternalError, "the skill panicked")
        }
        None => unreachable!("the set holds one run until it is joined"),
    }
}

/// Returns how long the task may run.
///
/// Two machines' clocks may differ by as much as a message may be old. A task handed out within
/// that window gets the time between its own two stamps, else a fast clock here would end it
/// before it began.
fn time_left(now: Timestamp, deadline: i64, handed_out: Option<i64>) -> Duration {
    let until = |from: Timestamp| Timestamp(deadline.saturating_mul(1_000)).since(from);
    match handed_out {
        Some(stamp) if is_fresh(stamp, now) => {
            until(now).max(until(Timestamp(stamp.saturating_mul(1_000))))
        }
        _ => until(now),
    }
}

/// Completes after the time, or never without one.
async fn expired(time_left: Option<Duration>) {
    match time_left {
        Some(time_left) => tokio::time::sleep(time_left).await,
        None => std::future::pending().await,
    }
}

/// Sends a task's events to the orchestrator that it came from.
struct Reporter {
    worker: Arc<Worker>,
    index: usize,
}

#[async_trait]
impl Progress for Reporter {
    async fn send(&self, task: &TaskContext, payload: Object) {
        let config = &self.worker.config;
        let event = WorkerEventPayload {
            event_id: config.entropy.uuid().to_string(),
            worker_id: config.id.clone(),
            origin_worker_id: config.id.clone(),
            event_type: PROGRESS.to_owned(),
            payload,
            origin_task_id: Some(task.task_id.clone()),
            bubbling_chain: Some(Vec::new()),
            target_job_id: Some(task.job_id.clone()),
            target_task_id: Some(TaskId::new(&task.task_id)),
            trace_context: None,
            priority: 0.0,
            timestamp: None,
            security: None,
            metadata: None,
        };
        // Progress is a courtesy: what does not arrive is not repeated.
        if let Err(error) = self.worker.links[self.index].event(&event).await {
            debug!(task.id = task.task_id, %error, "event not delivered");
        }
    }
}

/// The statuses for which a result carries data.
pub(super) fn carries_data(status: &str) -> bool {
    status != status::FAILURE && status != status::CANCELLED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_do_not_end_a_task() {
        let now = Timestamp(1_000_000);
        for (deadline, handed_out, seconds) in [
            (1_010, None, 10),
            (1_010, Some(1_000), 10),
            (990, Some(980), 10),
            (1_060, Some(1_050), 60),
            (990, None, 0),
            (900, Some(890), 0),
        ] {
            let left = time_left(now, deadline, handed_out);
            assert_eq!(
                left,
                Duration::from_secs(seconds),
                "{deadline} {handed_out:?}"
            );
        }
    }
}
