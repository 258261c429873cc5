//! E3: the task as a worker reads it. Its writer is [`task_message`](crate::protocol::task_message).

use std::collections::BTreeMap;

use serde_json::Value;

use super::parts;
use crate::base::TaskId;
use crate::domain::Object;
use crate::protocol::WireError;
use crate::protocol::members::Members;

/// `TaskPayload`, with the two members that travel unsigned.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskPayload {
    /// Usually a UUID; an orchestrator may use other texts.
    pub job_id: String,
    /// This attempt's id.
    pub task_id: TaskId,
    /// `type` on the wire.
    pub skill: String,
    /// Empty when missing.
    pub params: Object,
    /// Empty when missing.
    pub tracing_context: BTreeMap<String, String>,
    /// Files among the parameters.
    pub params_metadata: Option<Object>,
    /// 0 when missing.
    pub priority: f64,
    /// Units: seconds since the Unix epoch. Read from a float too.
    pub deadline: Option<i64>,
    /// Free.
    pub metadata: Option<Object>,
    /// Units: seconds since the Unix epoch.
    pub timestamp: Option<i64>,
    /// `allowed_skills` and others.
    pub policy: Option<Object>,
    /// Lower-case hex.
    pub sig: Option<String>,
    /// The job's step at dispatch.
    pub step: i64,
    /// The job's depth.
    pub depth: i64,
    /// Opaque.
    pub parent_hash: Option<String>,
    /// Unsigned.
    pub skill_version: Option<String>,
    /// Unsigned.
    pub skill_type: Option<String>,
}

impl TaskPayload {
    /// Reads the message.
    pub fn decode(message: &Value) -> Result<Self, WireError> {
        let from = Members::root(message)?;
        Ok(Self {
            job_id: from.string("job_id")?,
            task_id: TaskId::from(from.string("task_id")?),
            skill: from.string("type")?,
            params: from.opt_object("params")?.unwrap_or_default(),
            tracing_context: from.opt_string_map("tracing_context")?.unwrap_or_default(),
            params_metadata: parts::files(&from, "params_metadata")?,
            priority: from.opt_float("priority")?.unwrap_or(0.0),
            deadline: from.opt_seconds("deadline")?,
            metadata: from.opt_object("metadata")?,
            timestamp: from.opt_int("timestamp")?,
            policy: from.opt_object("policy")?,
            sig: from.opt_string("sig")?,
            step: from.opt_int("step")?.unwrap_or(0),
            depth: from.opt_int("depth")?.unwrap_or(0),
            parent_hash: from.opt_string("parent_hash")?,
            skill_version: from.opt_string("skill_version")?,
            skill_type: from.opt_string("skill_type")?,
        })
    }

    /// Returns the skills that the policy allows, when it limits them.
    #[must_use]
    pub fn allowed_skills(&self) -> Option<Vec<&str>> {
        let allowed = self.policy.as_ref()?.get("allowed_skills")?.as_array()?;
        Some(allowed.iter().filter_map(Value::as_str).collect())
    }
}
