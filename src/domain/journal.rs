//! What is told of a job: history events for the record, webhooks for the client.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::Object;
use crate::base::{ClientId, JobId, TaskId, Timestamp, WorkerId, crypto};

/// What happened. Names are the original's where it has them. Source: engine-semantics §17.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The job was accepted.
    JobCreated,
    /// A state was entered.
    StateStarted,
    /// A state was left for the next.
    StateFinished,
    /// A state's evaluation failed.
    StateFailed,
    /// A task or a whole fan-out was queued.
    TaskDispatched,
    /// A task ended: by its report, a deadline or a loss.
    TaskFinished,
    /// A task goes to the queue again.
    TaskRetried,
    /// A result came that no longer counts.
    TaskIgnored,
    /// A child was started.
    ChildStarted,
    /// A child ended.
    ChildFinished,
    /// A person is asked.
    ApprovalRequired,
    /// A person has decided.
    ApprovalReceived,
    /// The blueprint's own word, from a state's `log`.
    Log,
    /// The blueprint's own event, from a state's `emit`.
    Emitted,
    /// A worker's event; the type is in the details.
    WorkerEvent,
    /// The one terminal event (I5).
    JobFinished,
    /// The one terminal event (I5).
    JobFailed,
    /// The one terminal event (I5).
    JobQuarantined,
    /// The one terminal event (I5).
    JobCancelled,
    /// A person set an ended job going again.
    JobRetried,
}

impl EventKind {
    /// Returns the kind's text on the wire.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::JobCreated => "job_created",
            Self::StateStarted => "state_started",
            Self::StateFinished => "state_finished",
            Self::StateFailed => "state_failed",
            Self::TaskDispatched => "task_dispatched",
            Self::TaskFinished => "task_finished",
            Self::TaskRetried => "task_retried",
            Self::TaskIgnored => "task_ignored",
            Self::ChildStarted => "child_started",
            Self::ChildFinished => "child_finished",
            Self::ApprovalRequired => "approval_required",
            Self::ApprovalReceived => "approval_received",
            Self::Log => "log",
            Self::Emitted => "emitted",
            Self::WorkerEvent => "worker_event",
            Self::JobFinished => "job_finished",
            Self::JobFailed => "job_failed",
            Self::JobQuarantined => "job_quarantined",
            Self::JobCancelled => "job_cancelled",
            Self::JobRetried => "job_retried",
        }
    }

    /// Tells whether this ends the job.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        matches!(
            self,
            Self::JobFinished | Self::JobFailed | Self::JobQuarantined | Self::JobCancelled
        )
    }
}

/// One line of a job's history. Never holds a secret, a token or a payload (I9).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Derived from job, revision and place, so that writing it twice is writing it once.
    pub event_id: Uuid,
    /// The job.
    pub job_id: JobId,
    /// The owner, to keep histories apart; never shown.
    pub client: ClientId,
    /// The job's revision that the event belongs to.
    pub revision: u64,
    /// Place among the revision's events, from 0.
    pub index: u32,
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(rename = "event_type")]
    pub kind: EventKind,
    /// The state that the job was in.
    pub state: String,
    /// The state before, where one was left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_state: Option<String>,
    /// The state after, where one is entered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_state: Option<String>,
    /// Whose doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_id: Option<WorkerId>,
    /// Which attempt at which task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// Number of the attempt, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// How long what has ended took, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Small facts: codes, reasons, names. Bounded by `Limits::event_details_bytes_max`.
    #[serde(default, skip_serializing_if = "Object::is_empty")]
    pub details: Object,
}

impl Event {
    /// Derives the id of the event at a place in a job's life. It ends with the family's partition.
    #[must_use]
    pub fn derive_id(job: JobId, revision: u64, index: u32) -> Uuid {
        let digest = crypto::sha256(&[
            b"event",
            job.0.as_bytes(),
            &revision.to_be_bytes(),
            &index.to_be_bytes(),
        ]);
        let mut bytes = [0_u8; 16];
        bytes.copy_from_slice(&digest[..16]);
        bytes[15] = job.partition();
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}

/// A message to a client's URL, stored with the step that caused it and sent from there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Webhook {
    /// The delivery's id, the same for every attempt: `webhook-id` on the wire.
    pub id: Uuid,
    /// The job.
    pub job_id: JobId,
    /// Whose secret signs it.
    pub client: ClientId,
    /// Where it goes.
    pub url: String,
    /// `job_finished`, `approval_required`, `worker_event:<type>`, …
    pub event: String,
    /// The body, rendered once so that every attempt sends the same bytes. Source: http-api §5.
    pub body: Value,
    /// The job's trace context.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tracing_context: BTreeMap<String, String>,
    /// When it was made.
    pub created_at: Timestamp,
}
