//! E4: how a task ended.

use serde_json::Value;

use super::Sparse;
use super::parts::{self, SecurityContext};
use crate::base::{JobId, TaskId, WorkerId};
use crate::domain::Object;
use crate::domain::task::{TaskError, TaskReport, status};
use crate::protocol::WireError;
use crate::protocol::members::Members;

/// `TaskResult`.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskResult {
    /// As the task had it; see [`TaskResult::job`].
    pub job_id: String,
    /// The attempt.
    pub task_id: TaskId,
    /// Must be the authenticated id when given; the receiver compares.
    pub worker_id: Option<WorkerId>,
    /// Who did the work, when someone else passes it on.
    pub origin_worker_id: Option<WorkerId>,
    /// `success` when missing.
    pub status: String,
    /// The result.
    pub data: Option<Object>,
    /// Why it failed.
    pub error: Option<TaskError>,
    /// Files among the data.
    pub data_metadata: Option<Object>,
    /// Added by [`seal`](crate::protocol::seal) on the way out.
    pub security: Option<SecurityContext>,
    /// Free.
    pub metadata: Option<Object>,
    /// Units: seconds since the Unix epoch.
    pub timestamp: Option<i64>,
    /// `execution_time_seconds` and the handler's own.
    pub costs: Option<Object>,
}

impl TaskResult {
    /// Reads the message.
    pub fn decode(message: &Value) -> Result<Self, WireError> {
        let from = Members::root(message)?;
        let status = from.opt_string("status")?;
        Ok(Self {
            job_id: from.string("job_id")?,
            task_id: TaskId::from(from.string("task_id")?),
            worker_id: from.opt_string("worker_id")?.map(WorkerId::from),
            origin_worker_id: from.opt_string("origin_worker_id")?.map(WorkerId::from),
            status: status.unwrap_or_else(|| status::SUCCESS.to_owned()),
            data: from.opt_object("data")?,
            error: from.opt_nested("error", parts::task_error)?,
            data_metadata: parts::files(&from, "data_metadata")?,
            security: from.opt_nested("security", parts::security)?,
            metadata: from.opt_object("metadata")?,
            timestamp: from.opt_int("timestamp")?,
            costs: from.opt_object("costs")?,
        })
    }

    /// Returns the job's id, or nothing when the text cannot be one of this orchestrator's: such
    /// a job is simply not found.
    #[must_use]
    pub fn job(&self) -> Option<JobId> {
        self.job_id.parse().ok()
    }

    /// Returns what the engine wants to know.
    #[must_use]
    pub fn into_report(self) -> TaskReport {
        TaskReport {
            status: self.status,
            worker_id: self.worker_id,
            data: self.data,
            error: self.error,
            data_metadata: self.data_metadata,
            security: self.security.map(|security| security.encode()),
            metadata: self.metadata,
            costs: self.costs,
        }
    }

    /// Returns the message without its signature; `success` goes unsaid, as the original has it.
    #[must_use]
    pub fn encode(&self) -> Object {
        let status = Some(self.status.as_str()).filter(|text| *text != status::SUCCESS);
        Sparse::default()
            .with("job_id", self.job_id.as_str())
            .with("task_id", self.task_id.as_str())
            .with_serde("worker_id", self.worker_id.as_ref())
            .with_serde("origin_worker_id", self.origin_worker_id.as_ref())
            .with_some("status", status)
            .with_some("data", self.data.clone())
            .with_serde("error", self.error.as_ref())
            .with_some("data_metadata", self.data_metadata.clone())
            .with_some("metadata", self.metadata.clone())
            .with_some("timestamp", self.timestamp)
            .with_some("costs", self.costs.clone())
            .done()
    }
}
