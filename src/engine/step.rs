//! The two entrances to the engine: a new job, and an input for one.

use super::{
    Advance, Ignored, Input, Job, Outcome, Submission, SubmitError, World, approval, invariants,
    lifecycle, report, wait, worker_event,
};
use crate::domain::job::Waiting;

/// Makes a job and runs it to its first wait.
pub fn create(world: &World<'_>, submission: Submission) -> Result<Advance, SubmitError> {
    let advance = lifecycle::create(world, submission)?;
    invariants::assert(None, &advance);
    Ok(advance)
}

/// Takes a job one input further, to its next wait or its end.
#[must_use]
pub fn step(world: &World<'_>, job: Job, input: Input) -> Outcome {
    let before = cfg!(debug_assertions).then(|| job.clone());
    let outcome = dispatch(world, job, input);
    if let (Some(before), Outcome::Advanced(advance)) = (&before, &outcome) {
        invariants::assert(Some(before), advance);
    }
    outcome
}

fn dispatch(world: &World<'_>, job: Job, input: Input) -> Outcome {
    match input {
        Input::TaskReported {
            task,
            worker,
            report,
        } => report::reported(world, job, &task, &worker, &report),
        Input::TaskExpired { task } => report::expired(world, job, &task),
        Input::TaskLost { task } => report::lost(world, job, &task),
        Input::WorkerEvent { task, event } => {
            worker_event::received(world, job, task.as_deref(), &event)
        }
        Input::Decided {
            visit,
            decision,
            metadata,
            security,
        } => {
            if visit != job.visit && !job.status.is_terminal() {
                return Outcome::Ignored(Ignored::NotWaiting);
            }
            approval::decided(world, job, &decision, metadata, security)
        }
        Input::EventReceived { name, payload } => wait::event_received(world, job, &name, &payload),
        Input::ChildEnded(end) => {
            let awaited = matches!(
                &job.waiting,
                Some(Waiting::Child { job_id }) if *job_id == end.child && job.visit == end.visit
            );
            if !awaited {
                return Outcome::Ignored(Ignored::NotWaiting);
            }
            let mut passage = super::passage::Passage::new(world, job);
            passage.child_ended(&end);
            lifecycle::advanced(passage)
        }
        Input::Woken => wait::woken(world, job),
        Input::Cancel { reason } => lifecycle::cancelled(world, job, &reason),
        Input::Retry => lifecycle::retried(world, job),
    }
}
