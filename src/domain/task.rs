//! The task: one piece of work for one worker, and the report that comes back.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::Object;
use super::worker::Requirements;
use crate::base::{ClientId, JobId, TaskId, Timestamp, WorkerId};

/// How a worker is chosen among those that qualify. Source: engine-semantics §5.4.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Skill hot first, then cheapest, then best reputation, then least loaded, then in turn.
    #[default]
    Default,
    /// In turn.
    RoundRobin,
    /// Fewest tasks under way.
    LeastConnections,
    /// Lowest price.
    Cheapest,
    /// Lowest price divided by reputation.
    BestValue,
    /// Cheapest with a free place; else the one with the fewest tasks.
    Overflow,
}

/// Back-off between attempts: `initial · factor^(failures-1)`, at most `max`, spread by `jitter`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Backoff {
    /// Delay after the first failure, in ms.
    pub initial_ms: u64,
    /// Growth from one failure to the next, at least 1.
    pub factor: f64,
    /// The longest delay, in ms.
    pub max_ms: u64,
    /// Share of the delay by which it is spread either way, 0 to 1; a hash of the task id decides.
    pub jitter: f64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial_ms: 1_000,
            factor: 2.0,
            max_ms: 60_000,
            jitter: 0.2,
        }
    }
}

/// How often a task is tried, and how long between.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Attempts in all, the first included; at least 1.
    pub max_attempts: u32,
    /// The delay between them.
    pub backoff: Backoff,
}

impl Default for RetryPolicy {
    /// Four attempts, as the original's `JOB_MAX_RETRIES=3` gives.
    fn default() -> Self {
        Self {
            max_attempts: 4,
            backoff: Backoff::default(),
        }
    }
}

/// What is to be done: all that stays the same from one attempt to the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// The skill's name; `type` on the wire.
    pub skill: String,
    /// The parameters, rendered.
    pub params: Object,
    /// How the worker is chosen.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub strategy: Strategy,
    /// Larger goes first.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub priority: f64,
    /// The highest price per second that is acceptable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cost: Option<f64>,
    /// What the worker must have, besides the skill.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub requires: Requirements,
    /// Statuses besides the standard ones that the blueprint has a way out for; a worker whose
    /// skill declares its statuses must declare these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub custom_statuses: Vec<String>,
    /// Longest run on a worker, in ms.
    pub execution_timeout_ms: u64,
    /// How often it is tried.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub retry: RetryPolicy,
    /// Deliveries that may be lost, on the way to a worker or with it before the task is quarantined.
    pub max_deliveries: u32,
    /// The job's policy, for the worker to check again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Object>,
    /// The job's security context.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::present"
    )]
    pub security: Option<Value>,
    /// The job's metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Object>,
    /// Files among the parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params_metadata: Option<Object>,
    /// The job's trace context.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub tracing_context: std::collections::BTreeMap<String, String>,
    /// The job's step at dispatch.
    pub step: u32,
    /// The job's depth.
    pub depth: u32,
}

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// A branch that the fan-out's `limit` holds back.
    Held,
    /// Waits for a worker, from `available_at` on.
    Queued,
    /// With a worker, under a lease.
    Leased,
    /// Done; only branches are kept in this status, with their report, until the fan-out ends.
    Ended,
}

/// A worker's claim on a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Names this lease and no other: a worker may be given the same task twice. Nil in records of
    /// earlier releases.
    #[serde(default)]
    pub id: Uuid,
    /// Who holds it; only a result from this worker counts.
    pub worker: WorkerId,
    /// When it was given.
    pub since: Timestamp,
    /// When it ends unless the worker's heartbeat extends it.
    pub until: Timestamp,
    /// When the task must be done at the latest, heartbeats or not.
    pub deadline: Timestamp,
}

/// One attempt at one task, as the store keeps it.
///
/// Invariant I4: a result is accepted only for the current attempt, from the lease's holder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// The attempt's id.
    pub id: TaskId,
    /// The job.
    pub job_id: JobId,
    /// The job's state visit that dispatched it.
    pub visit: u64,
    /// Its place in a fan-out, from 0; none for a single task.
    pub branch: Option<u32>,
    /// Counts deliveries and attempts together, from 1; names the attempt within the visit.
    pub ordinal: u32,
    /// Attempts that have failed before this one.
    pub failures: u32,
    /// Deliveries before this one that were lost, on the way to a worker or with it.
    pub losses: u32,
    /// Owner, for fairness between clients.
    pub client: ClientId,
    /// The blueprint, for people and metrics.
    pub blueprint: String,
    /// What is to be done.
    pub spec: Arc<TaskSpec>,
    /// Where it stands.
    pub status: TaskStatus,
    /// When the first attempt was queued.
    pub queued_at: Timestamp,
    /// Not given to a worker before this time.
    pub available_at: Timestamp,
    /// The task fails if no worker has taken it by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispatch_deadline: Option<Timestamp>,
    /// The task fails if there is no result by then, retries included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_deadline: Option<Timestamp>,
    /// Who works on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// How it ended, for branches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<TaskReport>,
    /// What the worker was answered, as the wire has it; for resends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
}

impl Task {
    /// Queues a branch that the fan-out's `limit` has held back; its deadlines count from now.
    /// Whoever carries out `Effect::ReleaseBranches` calls this. Changes nothing in a task that is
    /// not held.
    pub fn release(&mut self, now: Timestamp) {
        if self.status != TaskStatus::Held {
            return;
        }
        let held = now.since(self.queued_at);
        self.status = TaskStatus::Queued;
        self.queued_at = now;
        self.available_at = now;
        self.dispatch_deadline = self.dispatch_deadline.map(|at| at.after(held));
        self.result_deadline = self.result_deadline.map(|at| at.after(held));
    }

    /// Returns when this task next needs looking at, if ever: the store's `due` index.
    #[must_use]
    pub fn due_at(&self) -> Option<Timestamp> {
        let own = match (self.status, &self.lease) {
            (TaskStatus::Queued, _) => self.dispatch_deadline,
            (TaskStatus::Leased, Some(lease)) => Some(lease.until.min(lease.deadline)),
            _ => return None,
        };
        match (own, self.result_deadline) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

/// What a worker is answered for a result that counts. Source: wire-protocol §8.4.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The status has a way out.
    SuccessTransition,
    /// A failure was dealt with.
    FailureHandled,
    /// A cancellation was dealt with.
    CancelledHandled,
    /// One branch of several.
    ParallelBranchAccepted,
    /// The status has no way out; the job has failed.
    UnhandledStatusFailure,
    /// Not an answer to a result.
    #[default]
    None,
}

/// The error object of a failed task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskError {
    /// One of the wire's codes, or a worker's own.
    pub code: String,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// Whatever else the worker says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Object>,
}

/// The standard statuses of a report; any other text is the blueprint's own.
pub mod status {
    /// Done.
    pub const SUCCESS: &str = "success";
    /// Not done; the error says why.
    pub const FAILURE: &str = "failure";
    /// Stopped on request.
    pub const CANCELLED: &str = "cancelled";
}

/// What a worker says of a task that it has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskReport {
    /// `success`, `failure`, `cancelled` or the blueprint's own.
    pub status: String,
    /// Who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_id: Option<WorkerId>,
    /// The result, for any status but `failure`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Object>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<TaskError>,
    /// Files among the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_metadata: Option<Object>,
    /// Merged into the job's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Object>,
    /// Replaces the job's, when there is one.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::present"
    )]
    pub security: Option<Value>,
    /// `execution_time_seconds` and the handler's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub costs: Option<Object>,
}

impl TaskReport {
    /// Returns a report of failure with nothing but its code and message.
    #[must_use]
    pub fn failure(code: &str, message: impl Into<String>) -> Self {
        Self {
            status: status::FAILURE.to_owned(),
            worker_id: None,
            data: None,
            error: Some(TaskError {
                code: code.to_owned(),
                message: message.into(),
                details: None,
            }),
            data_metadata: None,
            metadata: None,
            security: None,
            costs: None,
        }
    }

    /// Returns a report of success with the data.
    #[must_use]
    pub fn success(data: Object) -> Self {
        Self {
            status: status::SUCCESS.to_owned(),
            worker_id: None,
            data: Some(data),
            error: None,
            data_metadata: None,
            metadata: None,
            security: None,
            costs: None,
        }
    }
}
