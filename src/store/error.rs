//! What may go wrong with a store, and why a commit did not happen.

use crate::base::{JobId, TaskId};

/// What went wrong with a store. Ask of each: retry, tell the user, or bug?
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached or is too slow just now; the same call may go through later.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The store's content cannot be read: a newer version wrote it, or it is damaged.
    #[error("the store's content cannot be read: {0}")]
    Corrupt(String),
    /// The store does not take this content, however often it is asked; when it takes nothing without
    /// the content either, it is an outage. Only an archive says so.
    #[error("the store refuses the content: {0}")]
    Refused(String),
}

impl StoreError {
    /// Tells whether the store does not answer just now.
    #[must_use]
    pub const fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// Why a commit did not happen. Nothing of it was stored.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The job's revision is another: load it and step again.
    #[error("the job has changed meanwhile")]
    Conflict,
    /// The idempotency key has a job already.
    #[error("the idempotency key belongs to job {job_id}")]
    KeyTaken {
        /// That job.
        job_id: JobId,
        /// The request that made it.
        fingerprint: String,
    },
    /// The client has no job left this month.
    #[error("the quota of {limit} jobs a month is used up")]
    QuotaExceeded {
        /// The quota.
        limit: u64,
    },
    /// A task is no longer what the step took it for: load it and step again.
    #[error("task {0} has changed meanwhile")]
    TaskChanged(TaskId),
    /// Another job is no longer what the step took it for: load it and look again.
    #[error("job {0} has changed meanwhile")]
    OtherJobChanged(JobId),
    /// The store's own trouble. Whether the commit happened is unknown after `Unavailable`: load
    /// the job and see.
    #[error(transparent)]
    Store(#[from] StoreError),
}
