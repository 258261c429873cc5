//! What a call that failed comes to.

use std::error::Error as _;

use s3::error::S3Error;

use crate::store::BlobError;

/// Text of the server's that is looked at for the name of its error.
const TEXT_CHARS_MAX: usize = 200;

/// What was heard of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// It has answered, if not to any purpose.
    Answer,
    /// It was asked and did not answer.
    Nothing,
    /// It was not asked.
    NotAsked,
}

/// Why a call failed for good.
#[derive(Debug)]
pub(super) struct Failed {
    /// The status, when the server has answered.
    pub(super) status: Option<u16>,
    /// The server's name for it (`NoSuchKey`), or what happened instead of an answer.
    pub(super) reason: String,
    /// Whether an attempt at the call may have done its work unheard.
    pub(super) may_be_done: bool,
    /// What was heard of the server.
    pub(super) heard: Heard,
}

impl Failed {
    /// Tells whether there is nothing under the key.
    pub(super) fn is_absent(&self) -> bool {
        // A server without the bucket says 404 too, but with a name; to a HEAD it says nothing.
        self.status == Some(404) && self.reason != "NoSuchBucket"
    }

    /// There was no answer; says whether it was asked.
    pub(super) fn unheard(reason: String, heard: Heard) -> Self {
        Self {
            status: None,
            reason,
            may_be_done: heard == Heard::Nothing,
            heard,
        }
    }

    /// Tells whether somebody should know: refusals of keys, signatures or the bucket's name last until
    /// somebody acts, and so does a disk that is full (507).
    pub(super) fn is_outage(&self) -> bool {
        self.is_transient()
            || matches!(self.status, Some(403 | 507))
            || self.reason == "NoSuchBucket"
    }

    /// Tells whether the same may go through a moment later.
    pub(super) fn is_transient(&self) -> bool {
        matches!(
            self.status,
            None | Some(408 | 425 | 429 | 500 | 502 | 503 | 504)
        )
    }
}

impl From<Failed> for BlobError {
    fn from(failed: Failed) -> Self {
        Self::Unavailable(match failed.status {
            Some(status) => format!("S3 answered {status} {}", failed.reason),
            None => failed.reason,
        })
    }
}

/// Says what an error of the crate's comes to, without anything that is nobody's business.
pub(super) fn failed(error: &S3Error) -> Failed {
    let mut heard = Heard::Answer;
    let (status, reason) = match error {
        S3Error::HttpFailWithBody(status, text) => (Some(*status), name_of(text)),
        S3Error::Reqwest(error) => {
            let mut reason = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                reason = format!("{reason}: {cause}");
                source = cause.source();
            }
            let status = error.status().map(|status| status.as_u16());
            if status.is_none() {
                heard = Heard::Nothing;
            }
            (status, reason)
        }
        // An answer that makes no sense is one.
        other => (None, other.to_string()),
    };
    Failed {
        status,
        reason,
        may_be_done: status.is_none(),
        heard,
    }
}

/// Returns the name of an error in the server's words, else their beginning.
fn name_of(text: &str) -> String {
    let name = text
        .split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"))
        .map(|(name, _)| name);
    match name {
        Some(name) => name.to_owned(),
        None => text.chars().take(TEXT_CHARS_MAX).collect(),
    }
}
