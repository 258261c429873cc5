//! What a worker says of a task while it works. Source: wire-protocol §8.5.

use serde_json::{Value, json};

use super::passage::Passage;
use super::report::{dispatch_of, is_current};
use super::{Effect, Guard, Ignored, Outcome, WorkerEvent, World, lifecycle, webhook};
use crate::domain::{EventKind, Job, Task};

/// The event type that carries progress.
const PROGRESS: &str = "progress";

/// Takes a worker's event: recorded, told to the client, and followed when the state has a way out
/// for its type. Only the holder of a current task is heard; an event that names no task is taken
/// for none of the sender's.
pub(super) fn received(
    world: &World<'_>,
    job: Job,
    task: Option<&Task>,
    event: &WorkerEvent,
) -> Outcome {
    if job.status.is_terminal() {
        return Outcome::Ignored(lifecycle::ended_reason(&job));
    }
    let held = task.filter(|task| {
        task.lease
            .as_ref()
            .is_some_and(|lease| lease.worker == event.worker)
    });
    let Some(task) = held else {
        return Outcome::Ignored(Ignored::WorkerMismatch);
    };
    if !is_current(&job, task) {
        return Outcome::Ignored(Ignored::StaleTask);
    }
    let mut passage = Passage::new(world, job);
    let guard = Guard::TaskHeldBy {
        id: task.id.clone(),
        worker: event.worker.clone(),
    };
    passage.guards.push(guard);
    passage.hear(task, event);
    if event.event_type == PROGRESS && task.branch.is_none() {
        passage.job.progress = fraction(event).or(passage.job.progress);
        passage.job.progress_message = text(event).or(passage.job.progress_message.take());
    }
    passage.follow_event(task, event);
    lifecycle::advanced(passage)
}

impl Passage<'_> {
    /// Records the event, without its payload but for progress, and tells the client.
    fn hear(&mut self, task: &Task, event: &WorkerEvent) {
        let record = self.record(EventKind::WorkerEvent);
        record.worker_id = Some(event.worker.clone());
        record.task_id = Some(task.id.clone());
        record.attempt = Some(task.ordinal);
        record
            .details
            .insert("type".to_owned(), json!(event.event_type));
        record
            .details
            .insert("event_id".to_owned(), json!(event.id));
        if let Some(branch) = task.branch {
            record.details.insert("branch".to_owned(), json!(branch));
        }
        if event.event_type == PROGRESS {
            if let Some(fraction) = fraction(event) {
                record
                    .details
                    .insert("progress".to_owned(), json!(fraction));
            }
            if let Some(text) = text(event) {
                record.details.insert("message".to_owned(), json!(text));
            }
        }
        let id = record.event_id;
        webhook::worker_event(self, id, event);
    }

    /// Goes on at once when the dispatch has a way out for the event: the task is not waited for
    /// any longer, and its worker is told.
    fn follow_event(&mut self, task: &Task, event: &WorkerEvent) {
        let Some(dispatch) = dispatch_of(&self.world, &self.job, task) else {
            return;
        };
        let Some(to) = dispatch.on_event.get(&event.event_type) else {
            return;
        };
        self.effects.push(Effect::EndTasks {
            visit: self.job.visit,
        });
        self.settle();
        let mark = self.mark();
        if let Err(trouble) = self.merge_history(event.payload.clone()) {
            self.roll_back(&mark);
            self.quarantine(trouble.code, trouble.message);
            return;
        }
        self.job.failed_state = None;
        let next = self.go(to);
        self.follow(next, Some(&Value::Object(event.payload.clone())));
    }
}

/// Returns the share of the work that is done, kept within 0 to 1.
fn fraction(event: &WorkerEvent) -> Option<f64> {
    let progress = event.payload.get(PROGRESS)?.as_f64()?;
    Some(progress.clamp(0.0, 1.0))
}

fn text(event: &WorkerEvent) -> Option<String> {
    Some(event.payload.get("message")?.as_str()?.to_owned())
}
