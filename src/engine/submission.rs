//! What a new job is made from, and why one may be refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::{JobId, Timestamp};
use crate::domain::{ClientRef, Object};

/// A request for a job, checked for shape by whoever received it.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// The new job's id, minted by the shell; derived for children.
    pub id: JobId,
    /// The owner.
    pub client: ClientRef,
    /// The input.
    pub initial_data: Value,
    /// Where webhooks go.
    pub webhook_url: Option<String>,
    /// Default for tasks, in ms.
    pub dispatch_timeout_ms: Option<u64>,
    /// Default for tasks, in ms.
    pub result_timeout_ms: Option<u64>,
    /// `allowed_skills` and whatever else the client's policy says.
    pub policy: Option<Object>,
    /// Handed on to tasks.
    pub security: Option<Value>,
    /// Handed on to tasks and webhooks.
    pub metadata: Option<Object>,
    /// Files among the data.
    pub data_metadata: Option<Object>,
    /// Fewer state entries than the server allows.
    pub max_transitions: Option<u32>,
    /// For finding the job again.
    pub labels: BTreeMap<String, String>,
    /// W3C trace context.
    pub tracing_context: BTreeMap<String, String>,
    /// 0 for a client's job.
    pub depth: u32,
    /// Whom a child reports to.
    pub parent: Option<crate::domain::ParentLink>,
    /// At most one job for each key (I12).
    pub idempotency: Option<IdempotencyKey>,
    /// The client's monthly quota, if it has one (I7).
    pub quota: Option<Quota>,
}

/// A client's name for one submission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyKey {
    /// The client's text.
    pub key: String,
    /// Digest of the request; the same key with another digest is a conflict.
    pub fingerprint: String,
    /// When the key may be forgotten.
    pub until: Timestamp,
}

/// A client's monthly allowance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// `2026-11`, in UTC.
    pub month: String,
    /// Jobs allowed in that month.
    pub limit: u64,
}

/// Why a submission was refused. Each is the client's to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// `initial_data` does not match the blueprint's `input`.
    #[error("initial_data does not match the input schema of blueprint `{blueprint}`: {reason}")]
    InvalidInput {
        /// The blueprint.
        blueprint: String,
        /// The first violations, with their places.
        reason: String,
    },
    /// Too deep in a family of jobs.
    #[error("a child at depth {depth} is deeper than the limit of {limit}")]
    TooDeep {
        /// The child's.
        depth: u32,
        /// The server's.
        limit: u32,
    },
    /// More transitions than the server allows, or none.
    #[error("max_transitions is {seen}, expected 1 to {limit}")]
    MaxTransitions {
        /// The request's.
        seen: u32,
        /// The server's.
        limit: u32,
    },
    /// The input is larger than a job may hold.
    #[error("initial_data is {seen} bytes, the limit is {limit}")]
    TooLarge {
        /// Its size.
        seen: usize,
        /// The limit.
        limit: usize,
    },
}
