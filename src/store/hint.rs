//! What another process on the same store has done, told as it happens. A hint that is lost costs
//! latency and nothing else: what it tells is found by looking.

use tokio::sync::broadcast;

use crate::base::{JobId, TaskId, WorkerId};

/// Hints that a slow reader may be behind; then it is told that it has missed some.
pub const HINTS_MAX: usize = 4_096;

/// Something that another process did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// The job has changed.
    Changed(JobId),
    /// The task is queued.
    Queued(TaskId),
    /// The task is not queued any more: it has ended.
    Ended(TaskId),
    /// The worker works on the task in vain.
    Stop {
        /// Who.
        worker: WorkerId,
        /// On what.
        task_id: TaskId,
        /// Of which job.
        job_id: JobId,
    },
    /// The worker has registered.
    Registered(WorkerId),
    /// Hints were lost: look at everything.
    Missed,
}

/// Where hints come from; nothing when no other process can use the store.
pub type Hints = Option<broadcast::Receiver<Hint>>;
