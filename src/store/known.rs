//! Small records that calls of the store take and return.

use crate::base::{JobId, Timestamp};
use crate::domain::Task;

/// What an idempotency key stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownKey {
    /// The job that it made.
    pub job_id: JobId,
    /// The request that made it.
    pub fingerprint: String,
}

/// One revision of a blueprint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlueprintRevision {
    /// The blueprint's name.
    pub name: String,
    /// The digest of its source.
    pub revision: String,
}

/// What is due.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Due {
    /// Jobs whose `wake_at` has passed.
    pub jobs: Vec<JobId>,
    /// Tasks whose `due_at` has passed.
    pub tasks: Vec<Task>,
    /// When the next job or task is due after these, if any.
    pub next: Option<Timestamp>,
}
