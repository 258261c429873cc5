//! A job's spans, from what its steps have changed.
//!
//! The tree: job → state → wait or task → the task's time in the queue; the worker's span hangs
//! below the task's, a child job below the state that started it, a webhook below the job. Each step
//! and its commit hang below what caused them.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::span::{Lap, whole};
use super::task::{Attempt, attempt_of};
use super::{Place, Span, Traces, current, recorded};
use crate::base::{JobId, TaskId, Timestamp, TraceContext, WorkerId};
use crate::domain::job::Waiting;
use crate::domain::{Event, EventKind, Job, JobStatus, TaskStatus};
use crate::engine::{Effect, Input};

pub(super) fn job_place(context: TraceContext, job: JobId) -> TraceContext {
    context.derived(&[b"job", job.0.as_bytes()])
}

pub(super) fn state_place(context: TraceContext, job: JobId, visit: u64) -> TraceContext {
    context.derived(&[b"state", job.0.as_bytes(), &visit.to_be_bytes()])
}

/// Returns the place of what an id names below a parent.
pub(super) fn below(parent: TraceContext, context: TraceContext) -> Place {
    Place {
        context,
        parent: Some(parent.span_id),
    }
}

/// What has to be known of a job from before a step, to record what the step has ended.
pub struct StepTrace {
    pub(super) context: TraceContext,
    input: &'static str,
    state: String,
    pub(super) visit: u64,
    pub(super) entered_at: Timestamp,
    rested_at: Timestamp,
    waiting: Option<Waiting>,
    is_open: bool,
    pub(super) attempt: Option<Attempt>,
    lap: Lap,
    committing: Option<SystemTime>,
}

impl StepTrace {
    /// The commit begins.
    pub fn commit_begins(&mut self) {
        self.committing = Some(self.lap.so_far());
    }
}

/// What a step came to, as stored.
#[derive(Clone, Copy)]
pub(super) struct Stored<'a> {
    pub(super) job: &'a Job,
    pub(super) effects: &'a [Effect],
    pub(super) ended_leases: &'a [(WorkerId, TaskId)],
}

impl Traces {
    /// Returns what is known before a step; nothing for a job whose trace is not recorded.
    #[must_use]
    pub fn step(
        &self,
        job: &Job,
        input: &Input,
        lap: impl FnOnce() -> Lap,
    ) -> Option<Box<StepTrace>> {
        if !self.is_on() {
            return None;
        }
        let context = recorded(&job.tracing_context)?;
        Some(Box::new(StepTrace {
            context,
            input: name_of(input),
            state: job.state.clone(),
            visit: job.visit,
            entered_at: job.entered_at,
            rested_at: job.updated_at,
            waiting: job.waiting.clone(),
            is_open: !job.status.is_terminal(),
            attempt: attempt_of(input),
            lap: lap(),
            committing: None,
        }))
    }

    /// Returns what is known before a job's first step.
    #[must_use]
    pub fn creation(
        &self,
        tracing_context: &BTreeMap<String, String>,
        lap: impl FnOnce() -> Lap,
    ) -> Option<Box<StepTrace>> {
        if !self.is_on() {
            return None;
        }
        let context = recorded(tracing_context)?;
        let lap = lap();
        Some(Box::new(StepTrace {
            context,
            input: "create",
            state: String::new(),
            visit: 0,
            entered_at: Timestamp(0),
            rested_at: Timestamp(0),
            waiting: None,
            is_open: false,
            attempt: None,
            lap,
            committing: None,
        }))
    }

    /// Records a step that has been stored, and what has ended with it.
    pub fn stepped(
        &self,
        step: &StepTrace,
        job: &Job,
        effects: &[Effect],
        ended_leases: &[(WorkerId, TaskId)],
    ) {
        let stored = Stored {
            job,
            effects,
            ended_leases,
        };
        self.step_and_commit(step, stored);
        self.wait_over(step, stored);
        self.states(step, stored);
        self.attempts(step, stored);
        for effect in effects {
            match effect {
                Effect::Record(event) if event.kind.is_terminal() => {
                    self.job_ended(step, job, event);
                }
                Effect::PutTask(task) if task.status == TaskStatus::Leased => self.leased(task),
                _ => {}
            }
        }
    }

    fn step_and_commit(&self, step: &StepTrace, stored: Stored<'_>) {
        let job = stored.job;
        let cause = current().filter(|caller| caller.trace_id == step.context.trace_id);
        let parent = cause.unwrap_or_else(|| match (step.visit, &job.parent) {
            (0, None) => step.context,
            (0, Some(_)) => job_place(step.context, job.id),
            (visit, _) => state_place(step.context, job.id, visit),
        });
        let revision = job.revision.to_be_bytes();
        let own = |what: &[u8]| {
            step.context
                .derived(&[what, job.id.0.as_bytes(), &revision])
        };
        let (start, end) = (step.lap.start(), step.lap.so_far());
        let place = below(parent, own(b"step"));
        let span = Span::between(format!("step {}", step.input), place, (start, end))
            .state_of(&job.tracing_context)
            .with("avtomatika.job.id", job.id.to_string())
            .with("avtomatika.job.revision", whole(job.revision))
            .with("avtomatika.job.status", job.status.as_str());
        self.record(span);
        if let Some(began) = step.committing {
            let place = below(place.context, own(b"commit"));
            let span = Span::between("commit", place, (began, end))
                .state_of(&job.tracing_context)
                .with("avtomatika.effect.count", whole(stored.effects.len()));
            self.record(span);
        }
    }

    /// Records a wait that the step has ended. What tasks and children are waited for shows itself.
    fn wait_over(&self, step: &StepTrace, stored: Stored<'_>) {
        let job = stored.job;
        if step.waiting.is_none() || (step.waiting == job.waiting && step.visit == job.visit) {
            return;
        }
        let (name, since) = match &step.waiting {
            Some(Waiting::Human { .. }) => ("wait human", step.entered_at),
            Some(Waiting::Timer) => ("wait timer", step.entered_at),
            Some(Waiting::Event { .. }) => ("wait event", step.entered_at),
            Some(Waiting::Retry { .. }) => ("wait retry", step.rested_at),
            _ => return,
        };
        let state = state_place(step.context, job.id, step.visit);
        // Between two of one visit there is a commit.
        let revision = job.revision.to_be_bytes();
        let own = [b"wait".as_slice(), job.id.0.as_bytes(), &revision];
        let place = below(state, step.context.derived(&own));
        let span = Span::from_to(name, place, (since, job.updated_at))
            .state_of(&job.tracing_context)
            .with("avtomatika.job.id", job.id.to_string())
            .with("avtomatika.state", step.state.clone());
        self.record(span);
    }

    /// Records the states that the step has left, or ended the job in.
    fn states(&self, step: &StepTrace, stored: Stored<'_>) {
        let job = stored.job;
        let mut open = step
            .is_open
            .then_some((step.visit, step.state.as_str(), step.entered_at));
        let mut visit = step.visit;
        for effect in stored.effects {
            let Effect::Record(event) = effect else {
                continue;
            };
            if event.kind == EventKind::StateStarted {
                visit += 1;
                open = Some((visit, &event.state, event.at));
            }
            let is_end = event.kind == EventKind::StateFinished || event.kind.is_terminal();
            let Some((visit, state, since)) = open.take_if(|_| is_end) else {
                continue;
            };
            let own = state_place(step.context, job.id, visit);
            let place = below(job_place(step.context, job.id), own);
            let span = Span::from_to(format!("state {state}"), place, (since, event.at))
                .state_of(&job.tracing_context)
                .with("avtomatika.job.id", job.id.to_string())
                .with("avtomatika.blueprint", job.blueprint.clone())
                .with("avtomatika.state", state.to_owned())
                .with("avtomatika.visit", whole(visit))
                .with_some("avtomatika.state.next", event.next_state.clone());
            let code = Some(text(event, "code")).filter(|code| !code.is_empty());
            self.record(match code {
                Some(code) => span.failed(code),
                None => span,
            });
        }
    }

    fn job_ended(&self, step: &StepTrace, job: &Job, event: &Event) {
        let first = job_place(step.context, job.id);
        // Set going again, a job ends again: that is a span of its own, below the first.
        let (own, parent) = if job.retries > 0 {
            let retries = job.retries.to_be_bytes();
            let again = step
                .context
                .derived(&[b"again", job.id.0.as_bytes(), &retries]);
            (again, first)
        } else {
            let parent = job
                .parent
                .as_ref()
                .map(|link| state_place(step.context, link.job_id, link.visit));
            (first, parent.unwrap_or(step.context))
        };
        let ends = (job.created_at, event.at);
        let span = Span::from_to(format!("job {}", job.blueprint), below(parent, own), ends)
            .state_of(&job.tracing_context)
            .with("avtomatika.job.id", job.id.to_string())
            .with("avtomatika.blueprint", job.blueprint.clone())
            .with(
                "avtomatika.blueprint.revision",
                job.blueprint_revision.clone(),
            )
            .with("avtomatika.job.status", job.status.as_str())
            .with("avtomatika.job.step", whole(job.step))
            .with("avtomatika.job.depth", whole(job.depth))
            .with("avtomatika.job.retries", whole(job.retries));
        let has_failed = matches!(job.status, JobStatus::Failed | JobStatus::Quarantined);
        self.record(if has_failed {
            span.failed(text(event, "code"))
        } else {
            span
        });
    }
}

pub(super) fn text<'a>(event: &'a Event, name: &str) -> &'a str {
    let value = event.details.get(name);
    value.and_then(serde_json::Value::as_str).unwrap_or("")
}

const fn name_of(input: &Input) -> &'static str {
    match input {
        Input::TaskReported { .. } => "task_reported",
        Input::TaskExpired { .. } => "task_expired",
        Input::TaskLost { .. } => "task_lost",
        Input::WorkerEvent { .. } => "worker_event",
        Input::Decided { .. } => "decided",
        Input::EventReceived { .. } => "event_received",
        Input::ChildEnded(_) => "child_ended",
        Input::Woken => "woken",
        Input::Cancel { .. } => "cancel",
        Input::Retry => "retry",
    }
}
