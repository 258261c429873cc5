//! What can go wrong with an outgoing call, by what the caller does about it.

use std::time::Duration;

use thiserror::Error;

use super::TlsProblem;

/// A call that brought no usable answer. Names no header and no secret.
#[derive(Debug, Error)]
pub enum NetError {
    /// The address cannot be called at all: fix it.
    #[error("`{url}` is not a usable address: {reason}")]
    BadUrl {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The address lies where this client may not go: no later try can succeed.
    #[error("{host} is at {address}, which may not be called from here")]
    Refused {
        /// As it was named.
        host: String,
        /// Where it is.
        address: String,
    },
    /// Certificates or keys of this side cannot be used.
    #[error("TLS: {0}")]
    Tls(#[from] TlsProblem),
    /// This side does not trust the other's certificate, or the other does not take this side's:
    /// someone has to set another file right, then the same call may succeed.
    #[error("{0}")]
    Certificate(String),
    /// No connection: try again later.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// Nothing came in time: try again later.
    #[error("no answer within {} ms", after.as_millis())]
    Timeout {
        /// The limit.
        after: Duration,
    },
    /// The connection broke while it was in use: whether the call was seen is unknown.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The answer is longer than the caller reads.
    #[error("the answer is longer than {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// The other side refused.
    #[error("status {code}: {}", preview(body))]
    Status {
        /// 300 to 599.
        code: u16,
        /// What it said.
        body: Vec<u8>,
        /// From `Retry-After`, when it was given in seconds.
        retry_after: Option<Duration>,
    },
    /// The answer is not what it should be.
    #[error("unexpected answer: {0}")]
    Decode(String),
}

impl NetError {
    /// Tells whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Certificate(_) | Self::Timeout { .. } | Self::Broken(_) => {
                true
            }
            Self::Status { code, .. } => *code >= 500 || *code == 429 || *code == 408,
            _ => false,
        }
    }

    /// Returns the status code that the other side refused with.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { code, .. } => Some(*code),
            _ => None,
        }
    }
}

/// Returns the beginning of a body for a message.
fn preview(body: &[u8]) -> String {
    const CHARACTERS_MAX: usize = 200;
    let text = String::from_utf8_lossy(body);
    let mut short: String = text
        .chars()
        .take(CHARACTERS_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
