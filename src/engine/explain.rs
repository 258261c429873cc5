//! Why a job waits, in a code and in words.

use serde::{Deserialize, Serialize};

use super::select::{Mismatch, ParamsCheck};
use crate::base::{JobId, TaskId, Timestamp, WorkerId};
use crate::domain::{Job, Task, Worker};

/// Why one worker does not have one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerVerdict {
    /// The worker.
    pub worker_id: WorkerId,
    /// The first requirement that it fails; none and it is only busy or about to be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mismatch: Option<Mismatch>,
}

/// A task that the job waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskVerdict {
    /// The attempt.
    pub task_id: TaskId,
    /// Its skill.
    pub skill: String,
    /// `running`, `backing_off`, `held_by_limit`, `no_worker_for_skill`, `no_qualified_worker`,
    /// `all_qualified_workers_busy`.
    pub code: String,
    /// For people.
    pub message: String,
    /// Who has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by: Option<WorkerId>,
    /// Every known worker, by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<WorkerVerdict>,
}

/// Why a job stands where it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The job.
    pub job_id: JobId,
    /// Its status.
    pub status: String,
    /// Its state.
    pub state: String,
    /// Stable code: a task's, or `ended`, `waiting_for_human`, `waiting_for_child`,
    /// `waiting_for_timer`, `waiting_for_event`, `retrying`, `fan_out`.
    pub code: String,
    /// For people: what it waits for, since when, until when.
    pub message: String,
    /// What would set it going.
    pub unblocks: Vec<String>,
    /// The open tasks, at most so many as the caller loaded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<TaskVerdict>,
}

/// What the explanation is made from.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The job.
    pub job: &'a Job,
    /// Its open tasks.
    pub tasks: &'a [Task],
    /// Every known worker.
    pub workers: &'a [Worker],
    /// The present.
    pub now: Timestamp,
    /// The dispatch floor.
    pub reputation_min: f64,
    /// Compiled schemas.
    pub params_ok: ParamsCheck<'a>,
}

/// Explains a job.
#[must_use]
pub fn explain(_facts: &Facts<'_>) -> Explanation {
    unimplemented!()
}
