//! What every adapter does alike: how an effect changes a task, which message gets which id, which
//! job matches a query. Pure functions, so that the adapters cannot come to differ.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::{Commit, DeliveryRecord, JobQuery};
use crate::base::{ClientId, JobId, Timestamp, WorkerId, crypto, partition_of};
use crate::domain::task::Answer;
use crate::domain::{Job, Lease, Task, TaskReport, TaskStatus, Webhook};
use crate::engine::{Guard, Signal};

/// The reputation of a worker that nothing is known of.
pub const REPUTATION_START: f64 = 1.0;

/// How long a reputation is kept after its worker's time was over, in ms: 30 days. A worker without a
/// `WORKER_ID` has another name each time that it starts.
pub const REPUTATION_KEPT_MS: i64 = 30 * 24 * 3_600_000;

/// Returns the time before which workers' time has to have been over for their reputation to go, too.
#[must_use]
pub fn reputations_gone_before(workers_expired_before: Timestamp) -> Timestamp {
    Timestamp(workers_expired_before.0.saturating_sub(REPUTATION_KEPT_MS))
}

/// Checks what whoever commits has to see to. A violation is a bug of theirs.
///
/// Invariants: I1, I12.
pub fn assert_well_formed(commit: &Commit) {
    debug_assert_eq!(
        commit.job.revision,
        commit.expected_revision + 1,
        "I1: one step, one revision"
    );
    for guard in &commit.guards {
        if let Guard::Idempotency { client, key } = guard {
            debug_assert_eq!(
                commit.job.id.partition(),
                key_partition(client, &key.key),
                "a job lies where its key does"
            );
        }
    }
}

/// Returns the partition in which an idempotency key lies, and with it the job that has it: both are
/// written at once, and only what lies in one partition can be.
#[must_use]
pub fn key_partition(client: &ClientId, key: &str) -> u8 {
    partition_of(&[client.as_str(), key])
}

/// Returns the id of the signal that the effect at `index` of the job's commit puts into the outbox.
///
/// It derives from its place, so that committing twice cannot make two of it, and ends with the
/// family's partition, as a webhook's id does.
#[must_use]
pub fn signal_id(job: &Job, index: usize) -> Uuid {
    let digest = crypto::sha256(&[
        b"signal",
        job.id.0.as_bytes(),
        &job.revision.to_be_bytes(),
        &(index as u64).to_be_bytes(),
    ]);
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[15] = job.id.partition();
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// Returns the signal's kind as rows have it.
#[must_use]
pub const fn signal_kind(signal: &Signal) -> &'static str {
    match signal {
        Signal::StartChild(_) => "start_child",
        Signal::ChildEnded { .. } => "child_ended",
        Signal::CancelChild { .. } => "cancel_child",
    }
}

/// Ends a task as `Effect::EndTask` says. Its parameters, and what travels with them to the worker
/// (security, metadata), are dropped; who held it stays, to answer resends.
pub fn end_task(task: &mut Task, answer: Answer, report: Option<&TaskReport>) {
    close_task(task);
    // `Answer::None` is what nobody was answered, as when a deadline has ended the task.
    task.answer = (answer != Answer::None).then_some(answer);
    task.report = report.cloned();
}

/// Ends a task as `Effect::EndTasks` says; returns who has to be told.
pub fn end_open_task(task: &mut Task) -> Option<WorkerId> {
    let holder = match (task.status, &task.lease) {
        (TaskStatus::Leased, Some(lease)) => Some(lease.worker.clone()),
        _ => None,
    };
    close_task(task);
    holder
}

fn close_task(task: &mut Task) {
    task.status = TaskStatus::Ended;
    let spec = Arc::make_mut(&mut task.spec);
    spec.params = crate::domain::Object::new();
    spec.params_metadata = None;
    spec.security = None;
    spec.metadata = None;
}

/// Gives a queued task to a worker; false when it is not queued.
pub fn lease_task(task: &mut Task, lease: Lease) -> bool {
    if task.status != TaskStatus::Queued {
        return false;
    }
    task.status = TaskStatus::Leased;
    task.lease = Some(lease);
    true
}

/// Takes a task back from whoever has it by that lease; false when nobody has.
pub fn release_task(task: &mut Task, lease: Uuid) -> bool {
    if !is_leased_by(task, lease) {
        return false;
    }
    task.status = TaskStatus::Queued;
    task.lease = None;
    true
}

/// Puts off the end of the worker's lease; false when the worker does not hold the task.
pub fn extend_lease(task: &mut Task, worker: &WorkerId, until: Timestamp) -> bool {
    if !is_held_by(task, worker) {
        return false;
    }
    if let Some(lease) = &mut task.lease {
        // A heartbeat that was overtaken by a later one takes nothing away.
        lease.until = lease.until.max(until);
    }
    true
}

/// Tells whether somebody has the task by that lease.
#[must_use]
pub fn is_leased_by(task: &Task, lease: Uuid) -> bool {
    let is_it = |held: &Lease| held.id == lease;
    task.status == TaskStatus::Leased && task.lease.as_ref().is_some_and(is_it)
}

/// Tells whether the task is leased to the worker.
#[must_use]
pub fn is_held_by(task: &Task, worker: &WorkerId) -> bool {
    task.status == TaskStatus::Leased
        && task
            .lease
            .as_ref()
            .is_some_and(|lease| lease.worker == *worker)
}

/// Returns the latest attempt of each branch, by branch; attempts that ended without a report have
/// been superseded.
#[must_use]
pub fn latest_branches(tasks: impl IntoIterator<Item = Task>) -> Vec<Task> {
    let mut latest: BTreeMap<u32, Task> = BTreeMap::new();
    for task in tasks {
        let Some(branch) = task.branch else { continue };
        if task.status == TaskStatus::Ended && task.report.is_none() {
            continue;
        }
        match latest.get(&branch) {
            Some(known) if known.ordinal >= task.ordinal => {}
            _ => {
                latest.insert(branch, task);
            }
        }
    }
    latest.into_values().collect()
}

/// Tells whether a listing shows the job; where it continues and how long it is, is the adapter's.
#[must_use]
pub fn matches(query: &JobQuery, job: &Job) -> bool {
    query
        .client
        .as_ref()
        .is_none_or(|client| *client == job.client.id)
        && (query.statuses.is_empty() || query.statuses.contains(&job.status))
        && query
            .blueprint
            .as_ref()
            .is_none_or(|blueprint| *blueprint == job.blueprint)
        && query.created_from.is_none_or(|from| job.created_at >= from)
        && query.created_to.is_none_or(|to| job.created_at < to)
        && query
            .labels
            .iter()
            .all(|(key, value)| job.labels.get(key) == Some(value))
}

/// Tells whether a job's time is over.
#[must_use]
pub fn is_forgettable(job: &Job, now: Timestamp) -> bool {
    job.status.is_terminal() && job.keep_until.is_some_and(|until| until <= now)
}

/// Returns a reputation after a change, within 0 to 1.
#[must_use]
pub fn adjusted_reputation(reputation: f64, delta: f64) -> f64 {
    let changed = reputation + delta;
    // A change that is not a number must not become the reputation.
    if changed.is_nan() {
        reputation
    } else {
        changed.clamp(0.0, 1.0)
    }
}

/// How a message in the outbox stands, apart from what it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// `pending`, `delivered` or `dead`.
    pub status: &'static str,
    /// Tries so far.
    pub attempts: u32,
    /// What the last failed try said.
    pub last_error: Option<String>,
    /// When it is tried next, or was tried last.
    pub updated_at: Timestamp,
}

/// Returns a webhook's line in the delivery log.
#[must_use]
pub fn delivery_record(job_id: JobId, webhook: &Webhook, standing: Standing) -> DeliveryRecord {
    DeliveryRecord {
        id: webhook.id,
        job_id,
        event: webhook.event.clone(),
        url: webhook.url.clone(),
        status: standing.status.to_owned(),
        attempts: standing.attempts,
        last_error: standing.last_error,
        created_at: webhook.created_at,
        updated_at: standing.updated_at,
    }
}
