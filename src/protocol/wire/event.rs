//! E5 and E8: events that workers send, commands that they get.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Sparse;
use super::parts::{self, SecurityContext};
use crate::base::{TaskId, WorkerId};
use crate::domain::Object;
use crate::protocol::WireError;
use crate::protocol::members::Members;

/// The event type whose payload is `progress` (0 to 1) and `message`.
pub const PROGRESS: &str = "progress";

/// `WorkerEventPayload`.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerEventPayload {
    /// Makes it unique.
    pub event_id: String,
    /// The immediate sender; must be the authenticated id, the receiver compares.
    pub worker_id: WorkerId,
    /// Who made it.
    pub origin_worker_id: WorkerId,
    /// `progress` or the skill's own.
    pub event_type: String,
    /// By the skill's `events_schema`.
    pub payload: Object,
    /// The task that it came from.
    pub origin_task_id: Option<String>,
    /// Who passed it on. Unsigned.
    pub bubbling_chain: Option<Vec<String>>,
    /// The job that it is for.
    pub target_job_id: Option<String>,
    /// The task that it is for.
    pub target_task_id: Option<TaskId>,
    /// Trace headers.
    pub trace_context: Option<BTreeMap<String, String>>,
    /// 0 when missing.
    pub priority: f64,
    /// Units: seconds since the Unix epoch.
    pub timestamp: Option<i64>,
    /// Added by [`seal`](crate::protocol::seal) on the way out.
    pub security: Option<SecurityContext>,
    /// Free.
    pub metadata: Option<Object>,
}

impl WorkerEventPayload {
    /// Reads the message.
    pub fn decode(message: &Value) -> Result<Self, WireError> {
        let from = Members::root(message)?;
        Ok(Self {
            event_id: from.string("event_id")?,
            worker_id: WorkerId::from(from.string("worker_id")?),
            origin_worker_id: WorkerId::from(from.string("origin_worker_id")?),
            event_type: from.string("event_type")?,
            payload: from.object("payload")?,
            origin_task_id: from.opt_string("origin_task_id")?,
            bubbling_chain: from.opt_strings("bubbling_chain")?,
            target_job_id: from.opt_string("target_job_id")?,
            target_task_id: from.opt_string("target_task_id")?.map(TaskId::from),
            trace_context: from.opt_string_map("trace_context")?,
            priority: from.opt_float("priority")?.unwrap_or(0.0),
            timestamp: from.opt_int("timestamp")?,
            security: from.opt_nested("security", parts::security)?,
            metadata: from.opt_object("metadata")?,
        })
    }

    /// Returns the message without its signature.
    #[must_use]
    pub fn encode(&self) -> Object {
        Sparse::default()
            .with("event_id", self.event_id.as_str())
            .with("worker_id", self.worker_id.as_str())
            .with("origin_worker_id", self.origin_worker_id.as_str())
            .with("event_type", self.event_type.as_str())
            .with("payload", self.payload.clone())
            .with_some("origin_task_id", self.origin_task_id.clone())
            .with_some("bubbling_chain", self.bubbling_chain.clone())
            .with_some("target_job_id", self.target_job_id.clone())
            .with_serde("target_task_id", self.target_task_id.as_ref())
            .with_serde("trace_context", self.trace_context.as_ref())
            .with("priority", self.priority)
            .with_some("timestamp", self.timestamp)
            .with_some("metadata", self.metadata.clone())
            .done()
    }

    /// Returns the share done (0 to 1) and the message of a progress event; nothing when it is of
    /// another type or says no share.
    #[must_use]
    pub fn progress(&self) -> Option<(f64, Option<&str>)> {
        if self.event_type != PROGRESS {
            return None;
        }
        let share = self.payload.get("progress")?.as_f64()?;
        Some((
            share.clamp(0.0, 1.0),
            self.payload.get("message").and_then(Value::as_str),
        ))
    }
}

/// `WorkerCommand`: a text frame to the worker.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerCommand {
    /// `cancel_task`, or a name that only other workers know.
    pub command: String,
    /// The task.
    pub task_id: Option<TaskId>,
    /// Its job.
    pub job_id: Option<String>,
    /// Free.
    pub params: Option<Object>,
    /// Free.
    pub metadata: Option<Object>,
}

impl WorkerCommand {
    /// Returns the command that stops a task.
    #[must_use]
    pub fn cancel(task_id: TaskId, job_id: Option<String>) -> Self {
        Self {
            command: super::CANCEL_TASK.to_owned(),
            task_id: Some(task_id),
            job_id,
            params: None,
            metadata: None,
        }
    }

    /// Reads the frame.
    pub fn decode(message: &Value) -> Result<Self, WireError> {
        let from = Members::root(message)?;
        Ok(Self {
            command: from.string("command")?,
            task_id: from.opt_string("task_id")?.map(TaskId::from),
            job_id: from.opt_string("job_id")?,
            params: from.opt_object("params")?,
            metadata: from.opt_object("metadata")?,
        })
    }

    /// Returns the frame's object.
    #[must_use]
    pub fn encode(&self) -> Value {
        let object = Sparse::default()
            .with("command", self.command.as_str())
            .with_serde("task_id", self.task_id.as_ref())
            .with_some("job_id", self.job_id.clone())
            .with_some("params", self.params.clone())
            .with_some("metadata", self.metadata.clone());
        Value::Object(object.done())
    }
}
