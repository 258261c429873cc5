//! Requests as they came in, and the answers that are told for them.

use axum::body::Bytes;
use axum::http::Method;
use serde_json::Value;
use tokio::time::Instant;

/// What a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Register,
    Beat,
    Poll,
    Result,
    Event,
    /// A text frame.
    Frame,
    Token,
    Refresh,
    /// The opening of a socket.
    Socket,
    Other,
}

impl Kind {
    /// Tells what a request is by its method and path.
    pub fn of(method: &Method, path: &str) -> Kind {
        match (method.as_str(), path) {
            ("POST", "/_worker/workers/register") => Kind::Register,
            ("POST", "/_worker/tasks/result") => Kind::Result,
            ("POST", "/_worker/events") => Kind::Event,
            ("POST", "/_worker/auth/token") => Kind::Token,
            ("POST", "/_worker/auth/token/refresh") => Kind::Refresh,
            ("GET", path) if path.starts_with("/_worker/ws/") => Kind::Socket,
            ("GET", path)
                if path.starts_with("/_worker/workers/") && path.ends_with("/tasks/next") =>
            {
                Kind::Poll
            }
            ("PATCH", path) if path.starts_with("/_worker/workers/") => Kind::Beat,
            _ => Kind::Other,
        }
    }

    /// Tells whether such messages are signed.
    pub fn is_signed(self) -> bool {
        matches!(
            self,
            Self::Register | Self::Beat | Self::Result | Self::Event | Self::Frame
        )
    }
}

/// A request as it came in.
#[derive(Debug, Clone)]
pub struct Seen {
    pub kind: Kind,
    pub path: String,
    /// Of the three that a worker sends.
    pub token: Option<String>,
    pub id: Option<String>,
    pub version: Option<String>,
    /// `null` when there was none or when it is not JSON.
    pub body: Value,
    /// As it came.
    pub bytes: Bytes,
    /// When, by the clock that timestamps are compared with, in seconds.
    pub at_seconds: i64,
    /// When, for intervals.
    pub at: Instant,
    /// The answer that was told for it, and when it was given.
    pub told: Option<(u16, Instant)>,
    /// Whether it is what an answer was repeated for.
    pub heeds: bool,
}

impl Seen {
    /// Names the request and the answer that was told for it.
    pub fn brief(&self) -> String {
        match self.told {
            Some((status, _)) => format!("{:?} ({status})", self.kind),
            None => format!("{:?}", self.kind),
        }
    }
}

/// An answer that is told once.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub body: Value,
    /// Seconds of `Retry-After`.
    pub retry_after: Option<u32>,
    /// The one task that it is meant for.
    pub task: Option<String>,
}

impl Reply {
    /// Makes an answer without a wish to be left alone.
    pub fn new(status: u16, body: Value) -> Self {
        Self {
            status,
            body,
            retry_after: None,
            task: None,
        }
    }

    /// Limits the answer to messages of one task.
    #[must_use]
    pub fn of_task(mut self, task: &str) -> Self {
        self.task = Some(task.to_owned());
        self
    }
}
