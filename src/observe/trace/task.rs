//! The spans of tasks and webhooks, and what they carry on to those who take them up.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::job::{StepTrace, Stored, below, job_place, state_place, text};
use super::span::whole;
use super::{Kind, Place, Span, Traces, carried, recorded};
use crate::base::trace::{BAGGAGE, TRACEPARENT, TRACESTATE};
use crate::base::{JobId, TaskId, Timestamp, TraceContext};
use crate::domain::task::status;
use crate::domain::{EventKind, Task, Webhook};
use crate::engine::{Effect, Input};

/// Who names themselves on the side of messages. Source: semantic conventions for messaging.
const SYSTEM: &str = "avtomatika";

/// An attempt that an input is about.
pub(super) struct Attempt {
    id: TaskId,
    skill: String,
    ordinal: u32,
    branch: Option<u32>,
    visit: u64,
    available_at: Timestamp,
}

fn task_place(context: TraceContext, task: &TaskId) -> TraceContext {
    context.derived(&[b"task", task.as_str().as_bytes()])
}

impl Traces {
    /// Records the attempts at tasks that the step has ended: by their report, or by the end of
    /// what they were for.
    pub(super) fn attempts(&self, step: &StepTrace, stored: Stored<'_>) {
        let job = stored.job;
        for effect in stored.effects {
            let Effect::Record(event) = effect else {
                continue;
            };
            let ended = event.kind == EventKind::TaskFinished;
            let known = step
                .attempt
                .as_ref()
                .filter(|attempt| ended && Some(&attempt.id) == event.task_id.as_ref());
            if let Some(attempt) = known {
                let state = state_place(step.context, job.id, attempt.visit);
                let place = below(state, task_place(step.context, &attempt.id));
                let ends = (attempt.available_at, event.at);
                let span = Span::from_to(format!("task {}", attempt.skill), place, ends)
                    .state_of(&job.tracing_context)
                    .kind(Kind::Producer)
                    .with("messaging.system", SYSTEM)
                    .with("messaging.operation.type", "send")
                    .with("messaging.destination.name", attempt.skill.clone())
                    .with("messaging.message.id", attempt.id.to_string())
                    .with("avtomatika.job.id", job.id.to_string())
                    .with("avtomatika.task.attempt", whole(attempt.ordinal))
                    .with_some("avtomatika.task.branch", attempt.branch.map(whole))
                    .with_some(
                        "avtomatika.worker.id",
                        event.worker_id.as_ref().map(ToString::to_string),
                    )
                    .with("avtomatika.task.status", text(event, "status").to_owned());
                let has_failed = text(event, "status") == status::FAILURE;
                self.record(if has_failed {
                    span.failed(text(event, "code"))
                } else {
                    span
                });
            }
        }
        for (worker, task) in stored.ended_leases {
            // Nobody has read its record: it was given in this visit, not before its beginning.
            let state = state_place(step.context, job.id, step.visit);
            let place = below(state, task_place(step.context, task));
            let span = Span::from_to("task", place, (step.entered_at, job.updated_at))
                .state_of(&job.tracing_context)
                .kind(Kind::Producer)
                .with("messaging.system", SYSTEM)
                .with("messaging.operation.type", "send")
                .with("messaging.message.id", task.to_string())
                .with("avtomatika.job.id", job.id.to_string())
                .with("avtomatika.worker.id", worker.to_string())
                .with("avtomatika.task.status", status::CANCELLED);
            self.record(span);
        }
    }

    /// Records a task's time in the queue: it has been leased.
    pub fn leased(&self, task: &Task) {
        let (true, Some(lease)) = (self.is_on(), &task.lease) else {
            return;
        };
        let Some(context) = recorded(&task.spec.tracing_context) else {
            return;
        };
        let parts = [
            b"queue".as_slice(),
            task.id.as_str().as_bytes(),
            lease.id.as_bytes(),
        ];
        let place = below(task_place(context, &task.id), context.derived(&parts));
        let ends = (task.available_at, lease.since);
        let span = Span::from_to(format!("queue {}", task.spec.skill), place, ends)
            .state_of(&task.spec.tracing_context)
            .with("messaging.system", SYSTEM)
            .with("messaging.destination.name", task.spec.skill.clone())
            .with("messaging.message.id", task.id.to_string())
            .with("avtomatika.job.id", task.job_id.to_string())
            .with("avtomatika.worker.id", lease.worker.to_string())
            .with("avtomatika.task.priority", task.spec.priority);
        self.record(span);
    }

    /// Returns the context that a worker gets with its task: the task's own span, so that the
    /// worker's hangs below it. What is not recorded goes on as it came, and where nothing came the worker
    /// is told so ([`unrecorded`]). While traces are off what came goes on.
    #[must_use]
    pub fn of_task<'a>(&self, task: &'a Task) -> Cow<'a, BTreeMap<String, String>> {
        let known = &task.spec.tracing_context;
        if !self.is_on() {
            return Cow::Borrowed(known);
        }
        match known.get(TRACEPARENT) {
            None => Cow::Owned(carried(known, unrecorded(task.job_id))),
            Some(text) => match TraceContext::parse_sampled(text) {
                Some(context) => Cow::Owned(carried(known, task_place(context, &task.id))),
                None => Cow::Borrowed(known),
            },
        }
    }

    /// Begins a try at a webhook: returns its place, if it is recorded, and the headers that carry it or
    /// say that it is not, as [`of_task`](Self::of_task) does.
    #[must_use]
    pub fn webhook(&self, webhook: &Webhook) -> (Option<Place>, Vec<(&'static str, String)>) {
        let known = &webhook.tracing_context;
        let place =
            recorded(known).and_then(|context| self.within(job_place(context, webhook.job_id)));
        let parent = match place {
            Some(place) => Some(place.context.to_string()),
            None => known
                .get(TRACEPARENT)
                .cloned()
                .or_else(|| self.is_on().then(|| unrecorded(webhook.job_id).to_string())),
        };
        let others = [TRACESTATE, BAGGAGE].map(|name| (name, known.get(name).cloned()));
        let headers = [(TRACEPARENT, parent)].into_iter().chain(others);
        let headers = headers.filter_map(|(name, value)| Some((name, value?)));
        (place, headers.collect())
    }
}

/// Returns the place of a job that is in no trace: mostly because the one that began with it is not
/// recorded, of which its record has nothing. Whoever takes up something of the job is told, and records
/// nothing either, whether it follows the flag or decides by the id: no share but nearly all takes one of
/// the highest.
fn unrecorded(job: JobId) -> TraceContext {
    let mut trace_id = job.0.into_bytes();
    trace_id[8..10].fill(0xff);
    let mut span_id = [0; 8];
    span_id.copy_from_slice(&trace_id[8..]);
    TraceContext::root(trace_id, span_id, false)
}

/// Returns the attempt that an input is about.
pub(super) fn attempt_of(input: &Input) -> Option<Attempt> {
    let (Input::TaskReported { task, .. } | Input::TaskExpired { task } | Input::TaskLost { task }) =
        input
    else {
        return None;
    };
    Some(Attempt {
        id: task.id.clone(),
        skill: task.spec.skill.clone(),
        ordinal: task.ordinal,
        branch: task.branch,
        visit: task.visit,
        available_at: task.available_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::trace::Sampler;

    #[test]
    fn what_is_not_recorded_is_so_by_its_flag_and_by_its_id() {
        let place = unrecorded(JobId::from_parts(Timestamp(1_795_422_000_000), [7; 10]));
        let read = |name, share| Sampler::read(Some(name), Some(share)).expect("is one");
        for (sampler, parent) in [
            (read("parentbased_always_on", "1"), Some(&place)),
            (read("traceidratio", "0.99"), Some(&place)),
            (read("traceidratio", "0.99"), None),
        ] {
            assert!(!sampler.takes(place.trace_id, parent), "{sampler:?}");
        }
    }
}
