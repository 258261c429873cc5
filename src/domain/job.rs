//! The job: one run of a blueprint, and everything the engine needs to take it further.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Object;
use super::client::ClientRef;
use crate::base::{JobId, TaskId, Timestamp, WorkerId};

/// Where a job stands. Names are the original's; `waiting_for_timer` and `waiting_for_event` are
/// new because the original cannot wait for either. Source: engine-semantics §1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// Accepted, not stepped yet. Only a job that failed to start at once is seen here.
    Pending,
    /// Between two states. Never stored: a step runs to the next wait.
    Running,
    /// A task is queued or with a worker.
    WaitingForWorker,
    /// A fan-out's branches are under way.
    WaitingForParallelTasks,
    /// A person has to decide.
    WaitingForHuman,
    /// A child job is under way.
    WaitingForSubJob,
    /// A state's evaluation failed and is tried again later.
    AwaitingRetry,
    /// Time has to pass.
    WaitingForTimer,
    /// A named event has to come.
    WaitingForEvent,
    /// Ended well.
    Finished,
    /// Ended badly in a way that the blueprint or its input decides.
    Failed,
    /// Ended badly in a way that a person should look at.
    Quarantined,
    /// Ended because someone asked for it.
    Cancelled,
}

impl JobStatus {
    /// Every status, in the order of the enum.
    pub const ALL: [Self; 13] = [
        Self::Pending,
        Self::Running,
        Self::WaitingForWorker,
        Self::WaitingForParallelTasks,
        Self::WaitingForHuman,
        Self::WaitingForSubJob,
        Self::AwaitingRetry,
        Self::WaitingForTimer,
        Self::WaitingForEvent,
        Self::Finished,
        Self::Failed,
        Self::Quarantined,
        Self::Cancelled,
    ];

    /// Tells whether the job has ended. There is one terminal set (fixes EQ1).
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Finished | Self::Failed | Self::Quarantined | Self::Cancelled
        )
    }

    /// Returns the status's text on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::WaitingForWorker => "waiting_for_worker",
            Self::WaitingForParallelTasks => "waiting_for_parallel_tasks",
            Self::WaitingForHuman => "waiting_for_human",
            Self::WaitingForSubJob => "waiting_for_sub_job",
            Self::AwaitingRetry => "awaiting_retry",
            Self::WaitingForTimer => "waiting_for_timer",
            Self::WaitingForEvent => "waiting_for_event",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Quarantined => "quarantined",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads a status's text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// Why a job failed, was quarantined or cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobError {
    /// Stable code: a worker's own code, or one of `engine::codes`.
    pub code: String,
    /// For people.
    pub message: String,
    /// The state in which it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// Whom a child job reports to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentLink {
    /// The parent.
    pub job_id: JobId,
    /// The parent's state visit that waits for this child; an answer for another visit is stale.
    pub visit: u64,
}

/// How the branches of a fan-out stand, as counters only: a branch's own result is a record of its
/// own, so a commit costs the same at the first branch and at the ten-thousandth.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BranchCounts {
    /// All branches of this visit.
    pub total: u32,
    /// Branches handed to the queue so far; those after it are held back by `limit`.
    pub released: u32,
    /// Branches that have ended, whatever their status.
    pub ended: u32,
    /// Ended with status `success`.
    pub succeeded: u32,
}

/// What a waiting job waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "for", rename_all = "snake_case")]
pub enum Waiting {
    /// One task.
    Task {
        /// The current attempt; a result that names another is stale.
        task_id: TaskId,
    },
    /// The branches of a fan-out.
    Branches(BranchCounts),
    /// A child job.
    Child {
        /// The child.
        job_id: JobId,
    },
    /// A decision. The token is valid once: leaving the state forgets it.
    Human {
        /// 43 characters; whoever holds it may decide.
        token: String,
        /// Where the request goes, as the blueprint names it.
        integration: String,
        /// What the person is asked, rendered.
        message: String,
    },
    /// A point in time, which is the job's `wake_at`.
    Timer,
    /// A named event.
    Event {
        /// Its name.
        name: String,
    },
    /// Another try at evaluating the state, at `wake_at`.
    Retry {
        /// Evaluations that have failed in this visit.
        failures: u32,
        /// What brought the job into the state, for the next try to see again.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            deserialize_with = "super::present"
        )]
        event: Option<Value>,
    },
}

/// One run of a blueprint.
///
/// Invariants: I1 `revision` rises by one with each commit; I2 a terminal job never changes but by
/// an explicit retry; I3 a job that is not terminal has a `waiting`, and whatever it waits for is
/// queued, leased, timed or a person's to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The id.
    pub id: JobId,
    /// Counts the commits, from 1.
    pub revision: u64,
    /// The blueprint's name.
    pub blueprint: String,
    /// The revision of the blueprint that the job started with and keeps.
    pub blueprint_revision: String,
    /// The owner.
    pub client: ClientRef,
    /// Where it stands.
    pub status: JobStatus,
    /// The state that it is in.
    pub state: String,
    /// Counts state entries, from 1: names one stay in one state.
    pub visit: u64,
    /// Which branches of nested `choose` the waiting action stands in; empty for the state's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<u16>,
    /// What it waits for; none when it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// When it is to be woken, whatever it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wake_at: Option<Timestamp>,
    /// What the client gave. Never changes, so that a store may keep it apart.
    #[serde(default)]
    pub initial_data: Arc<Value>,
    /// What the job has gathered.
    #[serde(default)]
    pub state_history: Object,
    /// The branches' results while the state after a fan-out runs, by branch id.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::present"
    )]
    pub aggregation_results: Option<Value>,
    /// The outcome, once ended.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::present"
    )]
    pub result: Option<Value>,
    /// Why it did not end well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
    /// The current task's progress, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<f64>,
    /// The current task's own words on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_message: Option<String>,
    /// State entries so far, against `max_transitions`.
    pub step: u32,
    /// The most state entries that the job may make.
    pub max_transitions: u32,
    /// How many of them each manual retry allows anew: what the job began with. None until the
    /// first retry, when `max_transitions` still says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transitions_each: Option<u32>,
    /// 0 for a job that a client started, one more for each level of children.
    #[serde(default)]
    pub depth: u32,
    /// Whom it reports to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentLink>,
    /// The last child that it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child_job_id: Option<JobId>,
    /// Where its webhooks go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<String>,
    /// Default for tasks: the longest wait for a worker, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispatch_timeout_ms: Option<u64>,
    /// Default for tasks: the longest time from dispatch to result, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_timeout_ms: Option<u64>,
    /// What it may do; children inherit it. Never changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Object>,
    /// The client's security context, handed on to tasks.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::present"
    )]
    pub security: Option<Value>,
    /// The client's metadata, handed on to tasks and webhooks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Object>,
    /// Files among the data, by top-level key; handed on to tasks whose parameters name the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_metadata: Option<Object>,
    /// For finding it again: the client's own attributes. Never change.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// W3C trace context: `traceparent`, `tracestate`, `baggage`. Never changes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tracing_context: BTreeMap<String, String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When the present state was entered.
    pub entered_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// When the record may be deleted, once ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_until: Option<Timestamp>,
    /// Workers that died with the current task, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost_workers: Vec<WorkerId>,
    /// The state from which a retry goes on, when the job has failed or been quarantined: the one
    /// whose work failed, not the `end` state that says so. Before that, the last state that was
    /// left by its way out for failures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_state: Option<String>,
    /// How often someone has set the ended job going again. Its parent is told of the first end
    /// only, so a retry of a child stays its own affair.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: u32,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Job {
    /// Returns how many state entries the job may make from its creation, or from a manual retry,
    /// to its end.
    #[must_use]
    pub fn transitions_of_a_run(&self) -> u32 {
        self.transitions_each.unwrap_or(self.max_transitions)
    }

    /// Returns the skills that the policy allows, or nothing when it allows all.
    #[must_use]
    pub fn allowed_skills(&self) -> Option<Vec<&str>> {
        let list = self.policy.as_ref()?.get("allowed_skills")?.as_array()?;
        Some(list.iter().filter_map(Value::as_str).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_text_round_trips() {
        for status in JobStatus::ALL {
            assert_eq!(JobStatus::parse(status.as_str()), Some(status));
            assert_eq!(
                serde_json::to_value(status).expect("serialises"),
                status.as_str()
            );
        }
        assert_eq!(JobStatus::parse("error"), None);
    }
}
