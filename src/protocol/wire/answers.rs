//! What the orchestrator answers.

use std::fmt;

use serde_json::Value;

use super::Sparse;
use crate::base::{Secret, TaskId, WorkerId};
use crate::domain::task::Answer;
use crate::protocol::WireError;
use crate::protocol::headers::PROTOCOL_VERSION;
use crate::protocol::members::Members;

/// E6 and E7: a pair of short-lived tokens.
#[derive(Clone, PartialEq)]
pub struct TokenResponse {
    /// Goes into the token header.
    pub access_token: Secret,
    /// Units: seconds.
    pub expires_in: i64,
    /// Whose it is.
    pub worker_id: WorkerId,
    /// Good for one exchange.
    pub refresh_token: Option<Secret>,
}

impl fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenResponse")
            .field("worker_id", &self.worker_id)
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}

impl TokenResponse {
    fn read(from: &Members<'_>) -> Result<Self, WireError> {
        Ok(Self {
            access_token: Secret::new(from.string("access_token")?),
            expires_in: from.int("expires_in")?,
            worker_id: WorkerId::from(from.string("worker_id")?),
            refresh_token: from.opt_string("refresh_token")?.map(Secret::new),
        })
    }

    /// Reads the answer.
    pub fn decode(message: &Value) -> Result<Self, WireError> {
        Self::read(&Members::root(message)?)
    }

    /// Returns the answer.
    #[must_use]
    pub fn encode(&self) -> Value {
        let object = Sparse::default()
            .with("access_token", self.access_token.expose())
            .with("expires_in", self.expires_in)
            .with("worker_id", self.worker_id.as_str())
            .with_some(
                "refresh_token",
                self.refresh_token.as_ref().map(Secret::expose),
            );
        Value::Object(object.done())
    }
}

/// E1.
#[derive(Debug, Clone, PartialEq)]
pub struct RegisterAnswer {
    /// The orchestrator's protocol version.
    pub version: Option<String>,
    /// Set when the versions differ.
    pub warning: Option<String>,
    /// An orchestrator may hand out tokens at once.
    pub tokens: Option<TokenResponse>,
    /// The same from all orchestrators on one store: a task of one may be reported to any. Ours alone.
    pub deployment: Option<String>,
}

impl RegisterAnswer {
    /// Returns the answer of this deployment to a worker that named this version, or none.
    #[must_use]
    pub fn to(version_seen: Option<&str>, deployment: Option<String>) -> Self {
        let warning = version_seen
            .filter(|seen| *seen != PROTOCOL_VERSION)
            .map(|seen| {
                format!("the worker speaks protocol {seen}, the orchestrator {PROTOCOL_VERSION}")
            });
        Self {
            version: Some(PROTOCOL_VERSION.to_owned()),
            warning,
            tokens: None,
            deployment,
        }
    }

    /// Reads the answer.
    pub fn decode(message: &Value) -> Result<Self, WireError> {
        let from = Members::root(message)?;
        let tokens = match from.opt_string("access_token")? {
            Some(_) => Some(TokenResponse::read(&from)?),
            None => None,
        };
        Ok(Self {
            version: from.opt_string("version")?,
            warning: from.opt_string("warning")?,
            tokens,
            deployment: from.opt_string("deployment_id")?,
        })
    }

    /// Returns the answer.
    #[must_use]
    pub fn encode(&self) -> Value {
        let object = Sparse::default()
            .with("status", "registered")
            .with_some("version", self.version.clone())
            .with_some("warning", self.warning.clone())
            .with_some("deployment_id", self.deployment.clone());
        let mut answer = object.done();
        if let Some(Value::Object(tokens)) = self.tokens.as_ref().map(TokenResponse::encode) {
            answer.extend(tokens);
        }
        Value::Object(answer)
    }
}

/// E2.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HeartbeatAnswer {
    /// The heartbeat said nothing; it kept the worker alive only.
    pub ttl_refreshed: bool,
    /// The worker should send its skills with the next one.
    pub require_full_sync: bool,
    /// Tasks to stop.
    pub cancel_task_ids: Vec<TaskId>,
    /// With them whose they are, as in [`RegisterAnswer`].
    pub deployment: Option<String>,
    /// Added once to the worker's next pause. Units: milliseconds.
    pub next_heartbeat_jitter_ms: Option<i64>,
}

impl HeartbeatAnswer {
    /// Reads the answer. `null`, which the original gives to an empty heartbeat of an unknown
    /// worker, reads as an answer that says nothing.
    pub fn decode(message: &Value) -> Result<Self, WireError> {
        if message.is_null() {
            return Ok(Self::default());
        }
        let from = Members::root(message)?;
        let cancel = from.opt_strings("cancel_task_ids")?.unwrap_or_default();
        Ok(Self {
            ttl_refreshed: from.opt_string("status")?.as_deref() == Some("ttl_refreshed"),
            require_full_sync: from.opt_bool("require_full_sync")?.unwrap_or(false),
            cancel_task_ids: cancel.into_iter().map(TaskId::from).collect(),
            deployment: from.opt_string("deployment_id")?,
            next_heartbeat_jitter_ms: from.opt_seconds("next_heartbeat_jitter_ms")?,
        })
    }

    /// Returns the answer; members that say nothing are left out.
    #[must_use]
    pub fn encode(&self) -> Value {
        let status = if self.ttl_refreshed {
            "ttl_refreshed"
        } else {
            "ok"
        };
        let cancel = Some(&self.cancel_task_ids).filter(|ids| !ids.is_empty());
        let object = Sparse::default()
            .with("status", status)
            .with_some("require_full_sync", self.require_full_sync.then_some(true))
            .with_serde("cancel_task_ids", cancel)
            .with_some("deployment_id", self.deployment.clone())
            .with_some("next_heartbeat_jitter_ms", self.next_heartbeat_jitter_ms);
        Value::Object(object.done())
    }
}

/// E4. Always with code 200: an error would only make the worker send the result again.
#[derive(Debug, Clone, PartialEq)]
pub enum ResultAnswer {
    /// It counts.
    Accepted {
        /// The name of what happened; see [`Answer`].
        transition: Option<String>,
    },
    /// It does not count.
    Ignored {
        /// One of [`ignored`](crate::protocol::errors::ignored).
        reason: String,
        /// For people.
        message: Option<String>,
    },
}

impl ResultAnswer {
    /// Returns the answer to a result that counts.
    #[must_use]
    pub fn accepted(answer: Answer) -> Self {
        let name = match answer {
            Answer::SuccessTransition => Some("success_transition"),
            Answer::FailureHandled => Some("failure_handled"),
            Answer::CancelledHandled => Some("cancelled_handled"),
            Answer::ParallelBranchAccepted => Some("parallel_branch_accepted"),
            Answer::UnhandledStatusFailure => Some("unhandled_status_failure"),
            Answer::None => None,
        };
        Self::Accepted {
            transition: name.map(str::to_owned),
        }
    }

    /// Returns the answer to a result that does not count.
    #[must_use]
    pub fn ignored(reason: &str, message: impl Into<String>) -> Self {
        Self::Ignored {
            reason: reason.to_owned(),
            message: Some(message.into()),
        }
    }

    /// Reads the answer: whatever does not say `ignored` counts as accepted, as for the SDK.
    #[must_use]
    pub fn decode(message: &Value) -> Self {
        let text = |name: &str| message.get(name).and_then(Value::as_str).map(str::to_owned);
        if message.get("status").and_then(Value::as_str) == Some("ignored") {
            Self::Ignored {
                reason: text("reason").unwrap_or_default(),
                message: text("message"),
            }
        } else {
            Self::Accepted {
                transition: text("transition"),
            }
        }
    }

    /// Returns the answer.
    #[must_use]
    pub fn encode(&self) -> Value {
        let object = match self {
            Self::Accepted { transition } => Sparse::default()
                .with("status", "accepted")
                .with_some("transition", transition.clone()),
            Self::Ignored { reason, message } => Sparse::default()
                .with("status", "ignored")
                .with("reason", reason.as_str())
                .with_some("message", message.clone()),
        };
        Value::Object(object.done())
    }
}

/// E5. Always with code 200, errors of content included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventAnswer {
    /// Taken.
    Accepted,
    /// Not taken.
    Refused {
        /// `CONTRACT_VIOLATION_ERROR` when the payload breaks the skill's own schema.
        code: Option<&'static str>,
        /// For people.
        message: String,
    },
}

impl EventAnswer {
    /// Returns the answer.
    #[must_use]
    pub fn encode(&self) -> Value {
        let object = match self {
            Self::Accepted => Sparse::default().with("status", "event_accepted"),
            Self::Refused { code, message } => Sparse::default()
                .with("status", "error")
                .with_some("code", *code)
                .with("message", message.as_str()),
        };
        Value::Object(object.done())
    }
}
