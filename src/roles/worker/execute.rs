//! One task from its arrival to its delivered result.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tracing::{Instrument as _, error, info};

use super::board::Given;
use super::events::Events;
use super::result::{Report, compose, deliver};
use super::skill::{Outcome, Progress, Skill, TaskContext};
use super::trace::Carried;
use super::transfer::{Account, TaskFolder};
use super::ways::Ways;
use super::{Worker, ms};
use crate::base::{TaskId, Timestamp};
use crate::domain::task::status;
use crate::domain::{Object, TaskErrorCode};
use crate::observe::trace::Lap;
use crate::protocol::WireError;
use crate::protocol::freshness::is_fresh;
use crate::protocol::wire::{PROGRESS, TaskPayload, TaskResult, WorkerEventPayload};

/// How a run ended.
struct End {
    outcome: Outcome,
    /// Whether the skill said so, and not somebody else for it.
    is_own: bool,
}

impl End {
    fn own(outcome: Outcome) -> Self {
        Self {
            outcome,
            is_own: true,
        }
    }

    fn other(outcome: Outcome) -> Self {
        Self {
            outcome,
            is_own: false,
        }
    }
}

/// Runs a task and reports it; once more when it is handed out anew while its run is cut short.
pub(super) async fn run(worker: Arc<Worker>, given: Given) {
    let mut next = Some(given);
    while let Some(given) = next {
        let trace = Carried::of(&worker.config, &given.task);
        let span = trace.log_span(&worker.config, &given.task);
        next = run_once(&worker, &given, trace).instrument(span).await;
    }
}

/// Runs a task and reports it; returns a newer handout of it that is to be run instead.
async fn run_once(worker: &Arc<Worker>, given: &Given, trace: Carried) -> Option<Given> {
    let task = &given.task;
    let started = Instant::now();
    let lap = Lap::begin(worker.config.clock.as_ref());
    let events = Arc::new(Events::default());
    let work = async {
        let end = end_of(worker, given, &events, &trace).await;
        trace.ran(&worker.config, task, &end.outcome, &lap);
        events.close();
        (end, started.elapsed())
    };
    // An error leaves events for the delivery of the result.
    let mut ways = Ways::of(worker, given.link);
    let ((end, took), _) = tokio::join!(work, events.carry(&mut ways, &worker.give_up));
    let End { outcome, is_own } = end;
    worker
        .config
        .metrics
        .ended(&task.skill, &outcome.status, took);
    info!(
        task.id = %task.task_id,
        job.id = task.job_id,
        skill = task.skill,
        status = outcome.status,
        duration_ms = ms(took),
        "task ended"
    );
    if !is_own && !worker.give_up.is_cancelled() {
        // What is said of the lost handout must not end the new one.
        let again = worker.board.given_again(&task.task_id);
        if again.is_some() {
            return again;
        }
    }
    let to_send = Report {
        link: given.link,
        result: compose(&worker.config, task, outcome, took),
        deadline: task.deadline,
        events,
        trace,
        is_own,
    };
    report(worker, to_send).await
}

/// Delivers a result and lets the task go; returns a newer handout of it that is to be run.
pub(super) async fn report(worker: &Worker, mut report: Report) -> Option<Given> {
    let task_id = report.result.task_id.clone();
    loop {
        let is_accepted = deliver(worker, &mut report).await;
        let remember = report.is_own.then_some(&report.result);
        if is_accepted || worker.give_up.is_cancelled() {
            worker.board.finish(&task_id, remember);
            return None;
        }
        // Perhaps it came while nobody held the task, and now this worker does.
        let again = worker.board.given_again_or_finish(&task_id, remember)?;
        if !report.is_own {
            return Some(again);
        }
        report.link = again.link;
        report.deadline = again.task.deadline;
    }
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
async fn end_of(worker: &Arc<Worker>, given: &Given, events: &Arc<Events>, trace: &Carried) -> End {
    let Given { task, cancel, .. } = given;
    if task
        .allowed_skills()
        .is_some_and(|allowed| !allowed.contains(&task.skill.as_str()))
    {
        return End::other(Outcome::failure(
            TaskErrorCode::SecurityError,
            format!("the job's policy does not allow `{}`", task.skill),
        ));
    }
    let Some(skill) = worker.config.skills.get(&task.skill) else {
        // Not permanent: another worker may have the skill.
        return End::other(Outcome::failure(
            TaskErrorCode::TransientError,
            format!("this worker has no skill `{}`", task.skill),
        ));
    };
    let folder = match worker
        .transfer
        .as_ref()
        .map(|moves| moves.folder(task.task_id.as_str()))
    {
        None => None,
        Some(Ok(folder)) => Some(folder),
        Some(Err(trouble)) => return End::other(trouble.outcome()),
    };
    let context = context_of(worker, given, folder.as_ref(), (events, trace));
    let params = match worker
        .contracts
        .checked_params(&task.skill, task.params.clone())
    {
        Ok(params) => params,
        Err(refusal) => return End::other(*refusal),
    };
    let time_left = task
        .deadline
        .map(|deadline| time_left(worker.config.clock.now(), deadline, task.timestamp));
    // A set of one: the run is a task of its own, so that its panic is its own, and it ends with
    // this function however that ends.
    let mut running = JoinSet::new();
    let account = Account::new(&worker.config, trace);
    let run = run_skill(Arc::clone(worker), skill, context, params, account);
    running.spawn(run.in_current_span());
    let end = tokio::select! {
        joined = running.join_next() => {
            let outcome = worker.contracts.checked_outcome(&task.skill, ended(joined));
            // A skill may have heard of its cancellation first.
            if cancel.is_cancelled() { End::other(outcome) } else { End::own(outcome) }
        }
        () = cancel.cancelled() => End::other(Outcome::cancelled()),
        () = worker.give_up.cancelled() => End::other(Outcome::failure(
            TaskErrorCode::TransientError,
            "the worker was stopped before the task was done",
        )),
        () = expired(time_left) => End::other(Outcome::failure(
            TaskErrorCode::TimeoutError,
            "the deadline passed while the task was running",
        )),
    };
    running.shutdown().await;
    // Only now: nobody is at work in it any more.
    drop(folder);
    end
}

/// Returns the task as its skill sees it.
fn context_of(
    worker: &Arc<Worker>,
    Given { task, cancel, .. }: &Given,
    folder: Option<&TaskFolder>,
    (events, trace): (&Arc<Events>, &Carried),
) -> TaskContext {
    TaskContext {
        job_id: task.job_id.clone(),
        task_id: task.task_id.to_string(),
        deadline: task.deadline,
        speed: worker.config.speed,
        deterministic: worker.config.deterministic,
        folder: folder.map(|folder| folder.path().to_owned()),
        trace: trace.members.clone(),
        cancel: cancel.clone(),
        progress: Arc::new(Reporter {
            worker: Arc::clone(worker),
            events: Arc::clone(events),
        }),
    }
}

/// Runs a skill between fetching what it is given and storing what it has made.
async fn run_skill(
    worker: Arc<Worker>,
    skill: Arc<dyn Skill>,
    context: TaskContext,
    params: Object,
    account: Account,
) -> Outcome {
    let (Some(transfer), Some(folder)) = (&worker.transfer, &context.folder) else {
        return skill.run(&context, &params).await;
    };
    let (params, inputs) = match transfer.fetch(params, folder, &account).await {
        Ok(fetched) => fetched,
        Err(trouble) => return trouble.outcome(),
    };
    let mut outcome = skill.run(&context, &params).await;
    if let Some(data) = outcome.data.take_if(|_| carries_data(&outcome.status)) {
        let stored = transfer.store(&context.job_id, data, (folder, &inputs), &account);
        match stored.await {
            Ok((data, files)) => (outcome.data, outcome.files) = (Some(data), files),
            Err(trouble) => return trouble.outcome(),
        }
    }
    outcome
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
    events: Arc<Events>,
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
            trace_context: Some(task.trace.clone()),
            priority: 0.0,
            timestamp: None,
            security: None,
            metadata: None,
        };
        self.events.push(event).await;
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
