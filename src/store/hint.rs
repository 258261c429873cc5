//! What another process on the same store has done, told as it happens. A hint that is lost costs
//! latency and nothing else: what it tells is found by looking.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use uuid::Uuid;

use crate::base::{JobId, TaskId, WorkerId};

/// Hints that a slow reader may be behind; then it is told that it has missed some.
pub const HINTS_MAX: usize = 4_096;

/// Something that another process did.
#[derive(Debug, Clone, PartialEq)]
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
    /// The task is not queued any more: a worker has it.
    Leased(TaskId),
    /// What the store does not keep, but those who rank workers want to know.
    Fleet(Arc<FleetNews>),
    /// Hints were lost: look at everything.
    Missed,
}

/// What one orchestrator tells the others of itself and of the workers that it hears.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FleetNews {
    /// Who says it; each start of a process has another name.
    pub from: Uuid,
    /// `waiting` names all that wait there.
    #[serde(skip_serializing_if = "is_false")]
    pub whole: bool,
    /// The others are asked for everything.
    #[serde(skip_serializing_if = "is_false")]
    pub asks: bool,
    /// This is its last word: nobody waits there any more.
    #[serde(skip_serializing_if = "is_false")]
    pub leaves: bool,
    /// Workers that wait there for a task, each with how many it has already.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<(WorkerId, u32)>,
    /// Workers that wait there no longer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<WorkerId>,
    /// Workers whose record in the store is another.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<WorkerId>,
    /// Workers whose reputation is another, with what it is now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rated: Vec<(WorkerId, f64)>,
    /// Queued tasks that are left to a worker which waits elsewhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub offers: Vec<(TaskId, WorkerId)>,
    /// Skills of which a task went to a worker in turn, with who it was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub turns: Vec<(String, WorkerId)>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks it so")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Where hints come from; nothing when no other process can use the store.
pub type Hints = Option<broadcast::Receiver<Hint>>;
