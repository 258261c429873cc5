//! Composing a task's result and getting it to its orchestrator.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tracing::{debug, error, info, warn};

use super::config::WorkerConfig;
use super::events::Events;
use super::execute::carries_data;
use super::link::pause_after;
use super::skill::Outcome;
use super::trace::Carried;
use super::ways::Ways;
use super::{Worker, ms};
use crate::domain::{Object, TaskErrorCode};
use crate::net::NetError;
use crate::observe::Reported;
use crate::protocol::errors::ignored;
use crate::protocol::wire::{ResultAnswer, TaskPayload, TaskResult};

/// Longest wait between two attempts at delivery.
const PAUSE_MAX: Duration = Duration::from_secs(16);
/// Likewise while there is nobody to take it: the worker is not free before its result has gone.
const OUTAGE_PAUSE_MAX: Duration = Duration::from_secs(4);

/// Makes the message of an outcome.
pub(super) fn compose(
    config: &WorkerConfig,
    task: &TaskPayload,
    outcome: Outcome,
    took: Duration,
) -> TaskResult {
    let seconds = (took.as_secs_f64() * 10_000.0).round() / 10_000.0;
    let mut costs = Object::new();
    costs.insert("execution_time_seconds".to_owned(), json!(seconds));
    TaskResult {
        job_id: task.job_id.clone(),
        task_id: task.task_id.clone(),
        worker_id: Some(config.id.clone()),
        origin_worker_id: Some(config.id.clone()),
        data: outcome.data.filter(|_| carries_data(&outcome.status)),
        data_metadata: Some(outcome.files).filter(|files| !files.is_empty()),
        status: outcome.status,
        error: outcome.error,
        security: None,
        metadata: None,
        timestamp: None,
        costs: Some(costs),
    }
}

/// A result on its way.
pub(super) struct Report {
    /// The orchestrator that it is for.
    pub(super) link: usize,
    pub(super) result: TaskResult,
    /// The task's, in seconds since the Unix epoch.
    pub(super) deadline: Option<i64>,
    /// What the task has said before and must arrive first.
    pub(super) events: Arc<Events>,
    /// The run's trace.
    pub(super) trace: Carried,
    /// Whether it is what the skill made of the task, and not the worker's word for why there is
    /// nothing: then it is good for another time.
    pub(super) is_own: bool,
}

impl Report {
    /// Returns a report of a task without deadline that was not run and so has said nothing.
    pub(super) fn of(link: usize, result: TaskResult) -> Self {
        let events = Events::default();
        events.close();
        Self {
            link,
            result,
            deadline: None,
            events: Arc::new(events),
            trace: Carried::default(),
            is_own: false,
        }
    }
}

/// Delivers the result: each attempt is stamped and signed anew. When its orchestrator cannot be reached
/// any other on the same store may take it; while none can, or their store cannot, the attempts go on until
/// the task's deadline. Refusals are bounded by their number.
/// Tells whether the result was accepted.
pub(super) async fn deliver(worker: &Worker, report: &mut Report) -> bool {
    let timing = &worker.config.timing;
    let mut ways = Ways::of(worker, report.link);
    let mut delay = timing.result;
    let mut attempts = 0;
    let mut is_replaced = false;
    loop {
        let result = &report.result;
        let may_wait = attempts + 1 < timing.result_attempts;
        let error = match attempt(worker, report, &mut ways, may_wait).await {
            Ok(ResultAnswer::Accepted { transition }) => {
                worker.config.metrics.reported(Reported::Accepted);
                debug!(task.id = %result.task_id, transition, "result accepted");
                return true;
            }
            // It has another store by now.
            Ok(ResultAnswer::Ignored { reason, .. })
                if ways.is_other() && reason == ignored::JOB_NOT_FOUND =>
            {
                NetError::Broken(reason)
            }
            Ok(ResultAnswer::Ignored { reason, .. }) => {
                worker.config.metrics.reported(Reported::Ignored);
                info!(task.id = %result.task_id, reason, "result ignored");
                return false;
            }
            Err(error) => error,
        };
        // What another one has against the result says nothing of the task's own.
        if !is_replaced && !ways.is_other() && cannot_be_taken(&error) {
            worker.config.metrics.reported(Reported::Retried);
            warn!(task.id = %result.task_id, %error, "result cannot be taken; reporting that instead");
            report.result = instead(&worker.config, result, &error);
            is_replaced = true;
            continue;
        }
        let is_outage = ways.is_other() || is_outage(&error);
        if is_outage && ways.go_on() {
            let next = ways.link().url();
            warn!(task.id = %result.task_id, %error, orchestrator.url = next, "result goes to another orchestrator");
            continue;
        }
        attempts += 1;
        let in_time = report
            .deadline
            .is_some_and(|at| worker.config.clock.now().as_secs() < at);
        let is_last = attempts >= timing.result_attempts && !(is_outage && in_time);
        if is_last || worker.give_up.is_cancelled() {
            worker.config.metrics.reported(Reported::Lost);
            error!(task.id = %result.task_id, %error, attempts, "result lost");
            return false;
        }
        worker.config.metrics.reported(Reported::Retried);
        // Never less than the own delay: the attempts are few.
        let pause = pause_after(&error, delay, delay).max(delay);
        warn!(task.id = %result.task_id, %error, pause_ms = ms(pause), "result not delivered");
        let longest = if is_outage {
            OUTAGE_PAUSE_MAX
        } else {
            PAUSE_MAX
        };
        delay = (delay * 2).min(longest);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // One more attempt at once; the check above makes it the last.
            () = worker.give_up.cancelled() => {}
        }
        ways.begin();
    }
}

/// Makes one attempt; the last events go first, or the result waits with them if it may.
async fn attempt(
    worker: &Worker,
    report: &Report,
    ways: &mut Ways<'_>,
    may_wait: bool,
) -> Result<ResultAnswer, NetError> {
    if let Err(error) = report.events.carry(ways, &worker.give_up).await {
        if may_wait {
            // The result would overtake the events, if it arrived at all.
            return Err(error);
        }
        ways.begin();
    }
    let link = ways.link();
    let sending = report.trace.deliver(&worker.config);
    let sent = link.result(&report.result, &sending.members).await;
    sending.ended(link.url(), sent.as_ref().err().map(|_| "not_delivered"));
    sent
}

/// Tells whether nobody has looked at the result: the connection broke, or who answered has not what it
/// takes just now, as an orchestrator without its store, or a proxy without an orchestrator.
fn is_outage(error: &NetError) -> bool {
    match error.status() {
        None => error.is_transient(),
        Some(code) => (502..=504).contains(&code),
    }
}

/// Tells whether this result would be refused however often it is sent.
fn cannot_be_taken(error: &NetError) -> bool {
    matches!(
        error,
        NetError::Decode(_)
            | NetError::Status {
                code: 400 | 413 | 422,
                ..
            }
    )
}

/// Returns the failure that is reported for a result that cannot be taken.
fn instead(config: &WorkerConfig, result: &TaskResult, error: &NetError) -> TaskResult {
    let code = if error.status() == Some(413) {
        TaskErrorCode::LimitExceededError
    } else {
        TaskErrorCode::ContractViolationError
    };
    let outcome = Outcome::failure(code, format!("the result cannot be delivered: {error}"));
    TaskResult {
        status: outcome.status,
        data: None,
        data_metadata: None,
        error: outcome.error,
        metadata: None,
        costs: None,
        origin_worker_id: Some(config.id.clone()),
        ..result.clone()
    }
}
