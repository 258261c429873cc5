//! The end of a task's attempt: reported by its worker, or seen by the clock.

use serde_json::{Value, json};

use super::failure::{self, Again, Expiry, Over, Verdict};
use super::passage::Passage;
use super::{Answer, Effect, Guard, Ignored, Outcome, World, codes, lifecycle};
use crate::base::WorkerId;
use crate::blueprint::{Action, Dispatch, ParallelTasks};
use crate::domain::error_code::FailureClass;
use crate::domain::job::Waiting;
use crate::domain::task::status;
use crate::domain::{EventKind, Job, Lease, Object, Task, TaskErrorCode, TaskReport, TaskStatus};

/// Takes a worker's report (I4).
pub(super) fn reported(
    world: &World<'_>,
    job: Job,
    task: &Task,
    worker: &WorkerId,
    report: &TaskReport,
) -> Outcome {
    if let Some(reason) = refusal(&job, task, worker) {
        return Outcome::Ignored(reason);
    }
    let mut passage = Passage::new(world, job);
    passage.guards.push(Guard::TaskHeldBy {
        id: task.id.clone(),
        worker: worker.clone(),
    });
    let report = checked(world, &passage.job, task, worker, report);
    let verdict = failure::judge(task, &report, world.now);
    passage.finished(task, &report);
    if task.branch.is_some() {
        passage.answer = Answer::ParallelBranchAccepted;
        passage.rate(worker, &report, false);
        passage.branch_over(task, &report, &verdict);
    } else {
        passage.task_over(task, &report, &verdict, true);
    }
    lifecycle::advanced(passage)
}

/// Takes the passing of a task's time.
pub(super) fn expired(world: &World<'_>, job: Job, task: &Task) -> Outcome {
    let guard = || Guard::TaskDue {
        id: task.id.clone(),
        now: world.now,
    };
    let over = failure::expiry(task, world.now).map(|expiry| (expiry, guard()));
    over_unreported(world, job, task, over.ok_or(Ignored::NotDue))
}

/// Takes the word of a task's worker that it has not got the task.
pub(super) fn lost(world: &World<'_>, job: Job, task: &Task) -> Outcome {
    let guard = |lease: &Lease| Guard::TaskLeasedBy {
        id: task.id.clone(),
        lease: lease.id,
    };
    let lease = task.lease.as_ref();
    let over = lease.map(|lease| (Expiry::Lost, guard(lease)));
    over_unreported(world, job, task, over.ok_or(Ignored::WorkerMismatch))
}

/// Ends an attempt of which no worker has said how it ended.
fn over_unreported(
    world: &World<'_>,
    job: Job,
    task: &Task,
    over: Result<(Expiry, Guard), Ignored>,
) -> Outcome {
    if job.status.is_terminal() {
        return Outcome::Ignored(lifecycle::ended_reason(&job));
    }
    if !is_current(&job, task) {
        return Outcome::Ignored(Ignored::StaleTask);
    }
    let (expiry, guard) = match over {
        Ok(over) => over,
        Err(reason) => return Outcome::Ignored(reason),
    };
    let mut passage = Passage::new(world, job);
    passage.guards.push(guard);
    if expiry == Expiry::Lost && task.branch.is_none() {
        passage
            .job
            .lost_workers
            .extend(task.lease.iter().map(|lease| lease.worker.clone()));
    }
    let (report, verdict) = judged_expiry(&passage.job, task, expiry, world);
    passage.finished(task, &report);
    if task.branch.is_some() {
        passage.branch_over(task, &report, &verdict);
    } else {
        passage.task_over(task, &report, &verdict, false);
    }
    lifecycle::advanced(passage)
}

/// Judges an expiry; a single task's lost workers are in the job already.
fn judged_expiry(
    job: &Job,
    task: &Task,
    expiry: Expiry,
    world: &World<'_>,
) -> (TaskReport, Verdict) {
    if task.branch.is_none() {
        return failure::judge_expiry(task, expiry, &job.lost_workers, world.now);
    }
    let lost: Vec<WorkerId> = task
        .lease
        .iter()
        .map(|lease| lease.worker.clone())
        .collect();
    failure::judge_expiry(task, expiry, &lost, world.now)
}

/// Tells why a report does not count, if it does not. Source: wire-protocol §8.4.
fn refusal(job: &Job, task: &Task, worker: &WorkerId) -> Option<Ignored> {
    let holder = task.lease.as_ref().map(|lease| &lease.worker);
    if task.status == TaskStatus::Ended && holder.is_some() {
        if holder != Some(worker) {
            return Some(Ignored::WorkerMismatch);
        }
        match task.answer {
            None | Some(Answer::None) => {}
            Some(answer) => return Some(Ignored::Repeated(answer)),
        }
    }
    if job.status.is_terminal() {
        return Some(lifecycle::ended_reason(job));
    }
    if holder != Some(worker) {
        return Some(Ignored::WorkerMismatch);
    }
    (!is_current(job, task)).then_some(Ignored::StaleTask)
}

/// Tells whether the job waits for this very attempt.
pub(super) fn is_current(job: &Job, task: &Task) -> bool {
    let same_visit = task.job_id == job.id && task.visit == job.visit;
    let waited_for = match &job.waiting {
        Some(Waiting::Task { task_id }) => *task_id == task.id,
        Some(Waiting::Branches(_)) => task.branch.is_some(),
        _ => false,
    };
    same_visit && waited_for && task.status != TaskStatus::Ended
}

/// Returns the part of the blueprint that the task was made from.
pub(super) fn dispatch_of<'w>(world: &World<'w>, job: &Job, task: &Task) -> Option<&'w Dispatch> {
    match (
        &world.blueprint.body(&job.state, &job.path)?.action,
        task.branch,
    ) {
        (Action::Dispatch(dispatch), None) => Some(dispatch),
        (Action::Parallel(parallel), Some(branch)) => match &parallel.tasks {
            ParallelTasks::Listed(tasks) => tasks.get(usize::try_from(branch).ok()?),
            ParallelTasks::ForEach { task, .. } => Some(task),
        },
        _ => None,
    }
}

/// Returns the report as it counts: with its sender, and as a broken contract when the data of a
/// success are not what the blueprint demands.
fn checked(
    world: &World<'_>,
    job: &Job,
    task: &Task,
    worker: &WorkerId,
    report: &TaskReport,
) -> TaskReport {
    let mut report = report.clone();
    report.worker_id = Some(worker.clone());
    if report.status != status::SUCCESS {
        return report;
    }
    let Some(schema) = dispatch_of(world, job, task).and_then(|dispatch| dispatch.output.as_ref())
    else {
        return report;
    };
    let data = Value::Object(report.data.clone().unwrap_or_default());
    match world.blueprint.check_task_output(schema, &data) {
        Ok(()) => report,
        Err(reason) => {
            let code = TaskErrorCode::ContractViolationError.as_str();
            let message = format!(
                "the data of task `{}` do not match: {reason}",
                task.spec.skill
            );
            TaskReport {
                worker_id: report.worker_id,
                costs: report.costs,
                ..TaskReport::failure(code, message)
            }
        }
    }
}

/// Returns the report in the wire's form, as expressions see it.
pub(super) fn normalised(task: &Task, report: &TaskReport) -> Object {
    let mut object = Object::new();
    object.insert("job_id".to_owned(), json!(task.job_id));
    object.insert("task_id".to_owned(), json!(task.id));
    if let Value::Object(members) = json!(report) {
        object.extend(members);
    }
    object
}

impl Passage<'_> {
    /// Records the end of an attempt.
    fn finished(&mut self, task: &Task, report: &TaskReport) {
        let now = self.world.now;
        let event = self.record(EventKind::TaskFinished);
        event.task_id = Some(task.id.clone());
        event.worker_id.clone_from(&report.worker_id);
        event.attempt = Some(task.ordinal);
        event.duration_ms = task
            .lease
            .as_ref()
            .and_then(|lease| u64::try_from(now.since(lease.since).as_millis()).ok());
        event
            .details
            .insert("skill".to_owned(), json!(task.spec.skill));
        if let Some(lease) = &task.lease {
            // No line is written when a task is taken, which is the busiest moment: its end tells.
            event
                .details
                .insert("taken_at".to_owned(), json!(lease.since.to_rfc3339()));
        }
        event
            .details
            .insert("status".to_owned(), json!(report.status));
        if let Some(branch) = task.branch {
            event.details.insert("branch".to_owned(), json!(branch));
        }
        if let Some(error) = &report.error {
            event.details.insert("code".to_owned(), json!(error.code));
            event
                .details
                .insert("message".to_owned(), json!(error.message));
        }
    }

    /// Rates the worker by its report; `has_way_out` for a status of the blueprint's own.
    fn rate(&mut self, worker: &WorkerId, report: &TaskReport, has_way_out: bool) {
        let limits = self.world.limits;
        let delta = match report.status.as_str() {
            status::SUCCESS => limits.reward_success,
            status::FAILURE => {
                let code = report
                    .error
                    .as_ref()
                    .map_or("", |error| error.code.as_str());
                match TaskErrorCode::class_of(code) {
                    FailureClass::Permanent => -limits.penalty_failure,
                    FailureClass::Contract => -limits.penalty_contract,
                    FailureClass::Transient | FailureClass::Input => return,
                }
            }
            status::CANCELLED => return,
            _ if has_way_out => limits.reward_success,
            _ => return,
        };
        self.reputation = Some((worker.clone(), delta));
    }

    /// Queues the next attempt in the place of one that is over.
    pub(super) fn try_again(&mut self, task: &Task, again: &Again) -> Task {
        let next = failure::next_attempt(task, again);
        let delay = again.at.since(self.world.now);
        let event = self.record(EventKind::TaskRetried);
        event.task_id = Some(next.id.clone());
        event.attempt = Some(next.ordinal);
        event
            .details
            .insert("failures".to_owned(), json!(next.failures));
        event
            .details
            .insert("losses".to_owned(), json!(next.losses));
        event
            .details
            .insert("delay_ms".to_owned(), json!(super::dispatch::millis(delay)));
        self.effects.push(Effect::PutTask(Box::new(next.clone())));
        next
    }

    /// Goes on after a single task's attempt; `answered` when a worker waits for an answer.
    fn task_over(&mut self, task: &Task, report: &TaskReport, verdict: &Verdict, answered: bool) {
        let Some(dispatch) = dispatch_of(&self.world, &self.job, task) else {
            let message = format!("state `{}` dispatches no task", self.job.state);
            self.quarantine(codes::BLUEPRINT_MISMATCH, message);
            return;
        };
        let has_way_out = dispatch.on.contains_key(&report.status);
        if answered {
            self.answer = match (verdict, report.status.as_str()) {
                (Verdict::Again(_) | Verdict::Over(_), _) => Answer::FailureHandled,
                (Verdict::Done, status::CANCELLED) => Answer::CancelledHandled,
                (Verdict::Done, _) if has_way_out => Answer::SuccessTransition,
                (Verdict::Done, _) => Answer::UnhandledStatusFailure,
            };
            if let Some(worker) = &report.worker_id {
                self.rate(worker, report, has_way_out);
            }
        }
        let end = Effect::EndTask {
            id: task.id.clone(),
            answer: self.answer,
            report: None,
        };
        self.effects.push(end);
        match verdict {
            Verdict::Again(again) => {
                let task_id = self.try_again(task, again).id;
                self.rest(Waiting::Task { task_id });
            }
            Verdict::Over(over) => self.task_failed(dispatch, task, report, over),
            Verdict::Done => self.task_done(dispatch, task, report),
        }
    }

    fn task_failed(&mut self, dispatch: &Dispatch, task: &Task, report: &TaskReport, over: &Over) {
        self.settle();
        self.job.failed_state = Some(self.job.state.clone());
        if let Some(to) = dispatch.on.get(status::FAILURE) {
            let event = Value::Object(normalised(task, report));
            let next = self.go(to);
            self.follow(next, Some(&event));
        } else if over.quarantines {
            self.quarantine(&over.code, over.message.clone());
        } else {
            self.fail(&over.code, over.message.clone());
        }
    }

    fn task_done(&mut self, dispatch: &Dispatch, task: &Task, report: &TaskReport) {
        self.settle();
        let Some(to) = dispatch.on.get(&report.status) else {
            if report.status == status::CANCELLED {
                let message = format!("its worker cancelled task `{}`", task.spec.skill);
                self.cancel(codes::WORKER_CANCELLED, message);
            } else {
                let message = format!(
                    "task `{}` ended with status `{}`, for which state `{}` has no way out",
                    task.spec.skill, report.status, self.job.state
                );
                self.fail(codes::UNHANDLED_STATUS, message);
            }
            return;
        };
        let mark = self.mark();
        if let Err(trouble) = self.merge_report(dispatch, report) {
            self.roll_back(&mark);
            self.quarantine(trouble.code, trouble.message);
            return;
        }
        self.job.failed_state = None;
        let event = Value::Object(normalised(task, report));
        let next = self.go(to);
        self.follow(next, Some(&event));
    }

    /// Takes over what the report brings. Source: engine-semantics §6; fixes EQ12.
    fn merge_report(
        &mut self,
        dispatch: &Dispatch,
        report: &TaskReport,
    ) -> Result<(), super::passage::Trouble> {
        if let Some(data) = &report.data {
            match &dispatch.into {
                Some(key) => self.add_history(key, Value::Object(data.clone()))?,
                None => self.merge_history(data.clone())?,
            }
        }
        if let Some(files) = &report.data_metadata {
            self.job
                .data_metadata
                .get_or_insert_default()
                .extend(files.clone());
        }
        if let Some(metadata) = &report.metadata {
            self.job
                .metadata
                .get_or_insert_default()
                .extend(metadata.clone());
        }
        if let Some(security) = &report.security {
            self.job.security = Some(security.clone());
        }
        Ok(())
    }
}
