//! Calls to the server: so many at once, each for so long, again when that can help; and one log
//! line when the server is gone and one when it is back.

use std::error::Error as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use s3::Bucket;
use s3::error::S3Error;
use tokio::sync::Semaphore;

use super::S3Settings;
use crate::observe::Standing;
use crate::store::BlobError;

/// Times that a call is made that may be made again.
const ATTEMPTS: u32 = 4;
/// Text of the server's that is looked at for the name of its error.
const TEXT_CHARS_MAX: usize = 200;

/// Why a call failed for good.
#[derive(Debug)]
pub(super) struct Failed {
    /// The status, when the server has answered.
    pub(super) status: Option<u16>,
    /// The server's name for it (`NoSuchKey`), or what happened instead of an answer.
    pub(super) reason: String,
    /// Whether an earlier attempt of the same call may have done its work unheard.
    pub(super) is_repeated: bool,
}

impl Failed {
    /// Tells whether there is nothing under the key.
    pub(super) fn is_absent(&self) -> bool {
        // A server without the bucket says 404 too, but with a name; to a HEAD it says nothing.
        self.status == Some(404) && self.reason != "NoSuchBucket"
    }

    fn is_transient(&self) -> bool {
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

/// The way to the server.
pub(super) struct Calls {
    bucket: Bucket,
    slots: Semaphore,
    timeout: Duration,
    retry_pause: Duration,
    endpoint: String,
    is_down: AtomicBool,
    outages: AtomicU64,
}

impl Calls {
    pub(super) fn new(bucket: Bucket, settings: &S3Settings) -> Self {
        Self {
            bucket,
            slots: Semaphore::new(settings.concurrency.max(1)),
            timeout: settings.timeout,
            retry_pause: settings.retry_pause,
            endpoint: settings.endpoint.clone(),
            is_down: AtomicBool::new(false),
            outages: AtomicU64::new(0),
        }
    }

    pub(super) fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    pub(super) fn standing(&self) -> Standing {
        Standing {
            is_away: self.is_down.load(Ordering::Relaxed),
            outage_count: self.outages.load(Ordering::Relaxed),
        }
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Makes a call, and again when it can be hoped to go through then.
    pub(super) async fn repeat<T, F>(
        &self,
        what: &'static str,
        call: impl Fn() -> F,
    ) -> Result<T, Failed>
    where
        F: Future<Output = Result<T, S3Error>>,
    {
        let mut pause = self.retry_pause;
        for attempt in 1..ATTEMPTS {
            match self.attempt(call()).await {
                Err(failed) if failed.is_transient() => {
                    tracing::debug!(what, attempt, reason = %failed.reason, "S3 call is repeated");
                }
                ended => return self.noted(what, ended, attempt > 1),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        let ended = self.attempt(call()).await;
        self.noted(what, ended, true)
    }

    /// Makes a call that is not repeated.
    pub(super) async fn once<T, F>(
        &self,
        what: &'static str,
        call: impl Fn() -> F,
    ) -> Result<T, Failed>
    where
        F: Future<Output = Result<T, S3Error>>,
    {
        let ended = self.attempt(call()).await;
        self.noted(what, ended, false)
    }

    async fn attempt<T>(
        &self,
        call: impl Future<Output = Result<T, S3Error>>,
    ) -> Result<T, Failed> {
        let timed = tokio::time::timeout(self.timeout, async {
            // It is never closed, so that an error cannot come.
            let _slot = self.slots.acquire().await;
            call.await
        });
        match timed.await {
            Ok(answered) => answered.map_err(|error| failed(&error)),
            Err(_) => Err(Failed {
                status: None,
                reason: format!("S3 did not answer within {} s", self.timeout.as_secs()),
                is_repeated: false,
            }),
        }
    }

    /// Tells the log when the server goes and when it comes back.
    fn noted<T>(
        &self,
        what: &'static str,
        ended: Result<T, Failed>,
        is_repeated: bool,
    ) -> Result<T, Failed> {
        match ended {
            Err(mut failed) => {
                failed.is_repeated = is_repeated;
                // Refusals of keys, signatures or the bucket's name last until somebody acts.
                let is_outage = failed.is_transient()
                    || failed.status == Some(403)
                    || failed.reason == "NoSuchBucket";
                if is_outage && !self.is_down.swap(true, Ordering::Relaxed) {
                    self.outages.fetch_add(1, Ordering::Relaxed);
                    let (endpoint, reason) = (&self.endpoint, &failed.reason);
                    tracing::warn!(endpoint, what, status = failed.status, %reason, "S3 is unavailable");
                }
                Err(failed)
            }
            Ok(answer) => {
                if self.is_down.swap(false, Ordering::Relaxed) {
                    tracing::info!(endpoint = self.endpoint, "S3 is back");
                }
                Ok(answer)
            }
        }
    }
}

/// Says what an error of the crate's comes to, without anything that is nobody's business.
fn failed(error: &S3Error) -> Failed {
    let (status, reason) = match error {
        S3Error::HttpFailWithBody(status, text) => (Some(*status), name_of(text)),
        S3Error::Reqwest(error) => {
            let mut reason = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                reason = format!("{reason}: {cause}");
                source = cause.source();
            }
            (error.status().map(|status| status.as_u16()), reason)
        }
        other => (None, other.to_string()),
    };
    Failed {
        status,
        reason,
        is_repeated: false,
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
