//! What the scripts print.

use std::fmt::Write as _;

use serde_json::Value;

use super::harness::Bench;
use crate::domain::job::Waiting;
use crate::domain::{Event, EventKind, Job, Task, TaskStatus};
use crate::engine::{Effect, Signal};

/// Says what a step wants.
pub fn describe(bench: &Bench, effect: &Effect) -> String {
    match effect {
        Effect::PutTask(task) => {
            let params = Value::Object(task.spec.params.clone());
            let held = if task.status == TaskStatus::Held {
                "hold"
            } else {
                "queue"
            };
            let delay = task.available_at.since(bench.now).as_secs_f64();
            let delay = if delay > 0.0 {
                format!(" in {delay}s")
            } else {
                String::new()
            };
            format!("{held} {}{delay} {params}", name(task))
        }
        Effect::EndTask { id, answer, report } => {
            let kept = report.as_ref().map_or("", |_| ", report kept");
            format!("end {} answering {answer:?}{kept}", name(&bench.tasks[id]))
        }
        Effect::ReleaseBranches { from, to, .. } => format!("release branches {from}..{to}"),
        Effect::EndTasks { visit } => format!("end all tasks of visit {visit}"),
        Effect::Signal(Signal::StartChild(start)) => {
            format!("start child `{}` {}", start.blueprint, start.input)
        }
        Effect::Signal(Signal::ChildEnded { end, .. }) => {
            format!(
                "tell parent finished={} in {}",
                end.finished, end.final_state
            )
        }
        Effect::Signal(Signal::CancelChild { reason, .. }) => format!("cancel child: {reason}"),
        Effect::SendWebhook(webhook) => {
            let body = &webhook.body;
            format!(
                "webhook {} result={} error={}",
                webhook.event, body["result"], body["error"]
            )
        }
        Effect::PutData { store, key, value } => format!("put {store}.{key} = {value}"),
        Effect::Record(event) => record(event),
    }
}

/// Says how a job stands.
pub fn standing(bench: &Bench, job: &Job) -> String {
    let mut text = format!("{} in {}", job.status.as_str(), job.state);
    if let Some(Waiting::Branches(counts)) = &job.waiting {
        let (ended, total, well) = (counts.ended, counts.total, counts.succeeded);
        write!(
            text,
            ", {ended}/{total} ended, {well} well, {} released",
            counts.released
        )
        .expect("a string takes all");
    }
    if let Some(at) = job.wake_at {
        write!(text, ", wakes in {}s", at.since(bench.now).as_secs_f64())
            .expect("a string takes all");
    }
    if let Some(error) = &job.error {
        write!(text, ", {}: {}", error.code, error.message).expect("a string takes all");
    }
    if let Some(state) = &job.failed_state {
        write!(text, " (retry from {state})").expect("a string takes all");
    }
    text
}

/// Returns a task's name: skill, branch, attempt.
pub fn name(task: &Task) -> String {
    let branch = task
        .branch
        .map_or(String::new(), |branch| format!("[{branch}]"));
    format!("{}{branch}#{}", task.spec.skill, task.ordinal)
}

/// Says what a line of history says.
pub fn record(event: &Event) -> String {
    let kind = serde_json::to_value(&event.kind).expect("serialises");
    let kind = kind.as_str().unwrap_or_default();
    match &event.kind {
        EventKind::StateStarted => format!("{kind} {}", event.state),
        EventKind::StateFinished => {
            format!(
                "{kind} {}>{}",
                event.state,
                event.next_state.as_deref().unwrap_or("?")
            )
        }
        EventKind::Log => format!("{kind} {}", event.details["message"]),
        EventKind::StateFailed | EventKind::TaskFinished if event.details.contains_key("code") => {
            format!("{kind} {}", event.details["code"])
        }
        _ => kind.to_owned(),
    }
}
