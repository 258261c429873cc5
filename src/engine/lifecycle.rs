//! A job's beginning, its end by order, and its second chance.

use std::sync::Arc;

use super::passage::Passage;
use super::size::json_bytes;
use super::{Advance, Guard, Ignored, Outcome, Submission, SubmitError, World, codes};
use crate::domain::{EventKind, Job, JobStatus, Object};

/// Returns what a passage came to.
pub(super) fn advanced(passage: Passage<'_>) -> Outcome {
    if passage.lacks_branches {
        return Outcome::NeedsBranches;
    }
    Outcome::Advanced(Box::new(passage.done()))
}

/// Tells why an ended job takes nothing more. The reasons are the wire's.
pub(super) fn ended_reason(job: &Job) -> Ignored {
    if job.status == JobStatus::Cancelled {
        return Ignored::JobCancelled;
    }
    match &job.error {
        Some(error) if codes::is_deadline(&error.code) => Ignored::DeadlineExceeded,
        _ => Ignored::JobAlreadyTerminated,
    }
}

/// Makes a job and runs it to its first wait.
pub(super) fn create(world: &World<'_>, submission: Submission) -> Result<Advance, SubmitError> {
    check_submission(world, &submission)?;
    let guards = guards(&submission);
    let mut passage = Passage::new(world, new_job(world, submission));
    passage.guards = guards;
    let blueprint = passage.world.blueprint;
    let event = passage.record(EventKind::JobCreated);
    event
        .details
        .insert("blueprint".to_owned(), serde_json::json!(blueprint.name));
    event
        .details
        .insert("revision".to_owned(), serde_json::json!(blueprint.revision));
    passage.follow(super::passage::Next::State(blueprint.start.clone()), None);
    Ok(passage.done())
}

fn check_submission(world: &World<'_>, submission: &Submission) -> Result<(), SubmitError> {
    let limits = world.limits;
    if submission.depth > limits.max_depth {
        let (depth, limit) = (submission.depth, limits.max_depth);
        return Err(SubmitError::TooDeep { depth, limit });
    }
    if let Some(seen) = submission.max_transitions
        && !(1..=limits.max_transitions).contains(&seen)
    {
        return Err(SubmitError::MaxTransitions {
            seen,
            limit: limits.max_transitions,
        });
    }
    let (seen, limit) = (
        json_bytes(&submission.initial_data),
        limits.payload_bytes_max,
    );
    if seen > limit {
        return Err(SubmitError::TooLarge { seen, limit });
    }
    world
        .blueprint
        .check_input(&submission.initial_data)
        .map_err(|reason| SubmitError::InvalidInput {
            blueprint: world.blueprint.name.clone(),
            reason,
        })
}

fn guards(submission: &Submission) -> Vec<Guard> {
    let client = &submission.client.id;
    let key = submission
        .idempotency
        .as_ref()
        .map(|key| Guard::Idempotency {
            client: client.clone(),
            key: key.clone(),
        });
    let quota = submission.quota.as_ref().map(|quota| Guard::Quota {
        client: client.clone(),
        quota: quota.clone(),
    });
    key.into_iter().chain(quota).collect()
}

fn new_job(world: &World<'_>, submission: Submission) -> Job {
    let blueprint = world.blueprint;
    Job {
        id: submission.id,
        // The passage makes it 1.
        revision: 0,
        blueprint: blueprint.name.clone(),
        blueprint_revision: blueprint.revision.clone(),
        client: submission.client,
        status: JobStatus::Pending,
        state: blueprint.start.clone(),
        visit: 0,
        path: Vec::new(),
        waiting: None,
        wake_at: None,
        initial_data: Arc::new(submission.initial_data),
        state_history: Object::new(),
        aggregation_results: None,
        result: None,
        error: None,
        progress: None,
        progress_message: None,
        step: 0,
        max_transitions: transitions_allowed(world, submission.max_transitions),
        transitions_each: None,
        depth: submission.depth,
        parent: submission.parent,
        child_job_id: None,
        webhook_url: submission.webhook_url,
        dispatch_timeout_ms: submission.dispatch_timeout_ms,
        result_timeout_ms: submission.result_timeout_ms,
        policy: submission.policy,
        security: submission.security,
        metadata: submission.metadata,
        data_metadata: submission.data_metadata,
        labels: submission.labels,
        tracing_context: submission.tracing_context,
        created_at: world.now,
        updated_at: world.now,
        entered_at: world.now,
        ended_at: None,
        keep_until: None,
        lost_workers: Vec::new(),
        failed_state: None,
        retries: 0,
    }
}

/// Returns the fewest of what the server, the blueprint and the request allow.
fn transitions_allowed(world: &World<'_>, wanted: Option<u32>) -> u32 {
    let server = world.limits.max_transitions;
    let blueprint = world.blueprint.max_transitions.unwrap_or(server);
    wanted.unwrap_or(server).min(server).min(blueprint)
}

/// Ends a job because someone asked for it, with all that runs for it.
pub(super) fn cancelled(world: &World<'_>, job: Job, reason: &str) -> Outcome {
    if job.status.is_terminal() {
        return Outcome::Ignored(ended_reason(&job));
    }
    let mut passage = Passage::new(world, job);
    passage.cancel(codes::CANCELLED, reason);
    advanced(passage)
}

/// Sets a failed or quarantined job going again, from the state where it failed, with what it has
/// gathered. The one change that a terminal job allows (I2). The event that once led to that state is
/// not known any more: what a state needs of it belongs into `state_history`.
pub(super) fn retried(world: &World<'_>, job: Job) -> Outcome {
    if !matches!(job.status, JobStatus::Failed | JobStatus::Quarantined) {
        return Outcome::Ignored(Ignored::NotRetryable);
    }
    let mut passage = Passage::new(world, job);
    let from = passage
        .job
        .failed_state
        .take()
        .unwrap_or_else(|| passage.job.state.clone());
    let ended_in = passage.job.state.clone();
    let event = passage.record(EventKind::JobRetried);
    event.previous_state = Some(ended_in.clone());
    event.next_state = Some(from.clone());
    passage.settle();
    passage.keep_aggregation();
    let job = &mut passage.job;
    let each = job.transitions_of_a_run();
    job.transitions_each = Some(each);
    job.retries += 1;
    job.max_transitions = job
        .step
        .saturating_add(transitions_allowed(world, Some(each)));
    job.result = None;
    job.error = None;
    job.ended_at = None;
    job.keep_until = None;
    passage.previous = Some(ended_in);
    passage.follow(super::passage::Next::State(from), None);
    advanced(passage)
}
