//! Calls to the server: so many at once, each for so long, again when that can help, and hardly any while
//! it does not answer; and one log line when the server is gone and one when it is back.

use std::sync::Arc;
use std::time::Duration;

use s3::Bucket;
use s3::error::S3Error;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::S3Settings;
use super::failed::{Failed, Heard, failed};
use super::silence::Silence;
use crate::base::SystemClock;
use crate::observe::{Asked, Presence, Standing};

/// Times that a call is made that may be made again.
const ATTEMPTS: u32 = 4;
/// The longest that a server that was silent is waited for. Whoever tries it does so for all others, and is
/// somebody who could do something else.
const TRIAL_MAX: Duration = Duration::from_secs(5);

/// The way to the server.
pub(super) struct Calls {
    bucket: Bucket,
    slots: Semaphore,
    timeout: Duration,
    retry_pause: Duration,
    endpoint: String,
    silence: Silence,
    presence: Presence,
}

impl Calls {
    pub(super) fn new(bucket: Bucket, settings: &S3Settings) -> Self {
        Self {
            bucket,
            slots: Semaphore::new(settings.concurrency.max(1)),
            timeout: settings.timeout,
            retry_pause: settings.retry_pause,
            endpoint: settings.endpoint.clone(),
            silence: Silence::default(),
            presence: Presence::new(Arc::new(SystemClock)),
        }
    }

    pub(super) fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    pub(super) fn standing(&self) -> Standing {
        self.presence.standing()
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Makes a call, and again when it can be hoped to go through then. All of it takes no longer than one
    /// call may: a server that has not answered in that time is not asked once more.
    ///
    /// Whether the server takes what it is given is told by the calls that ask it for as much.
    ///
    /// Fails at once while the server is silent, but for one call in a second, which is made once.
    pub(super) async fn repeat<T, F>(
        &self,
        what: &'static str,
        asked: Asked,
        call: impl Fn() -> F,
    ) -> Result<T, Failed>
    where
        F: Future<Output = Result<T, S3Error>>,
    {
        self.repeat_within(self.timeout, (what, asked), call).await
    }

    /// The same, of a call for which the server needs as long as this, all attempts together.
    pub(super) async fn repeat_within<T, F>(
        &self,
        longest: Duration,
        (what, asked): (&'static str, Asked),
        call: impl Fn() -> F,
    ) -> Result<T, Failed>
    where
        F: Future<Output = Result<T, S3Error>>,
    {
        let began = Instant::now();
        let mut pause = self.retry_pause;
        let mut attempt = 1;
        loop {
            let left = longest.saturating_sub(began.elapsed());
            let ended = self.attempt(left, true, call()).await;
            match ended {
                Err(failed)
                    if failed.is_transient()
                        && attempt < ATTEMPTS
                        && began.elapsed() + pause < longest
                        && !self.silence.is_on() =>
                {
                    tracing::debug!(what, attempt, reason = %failed.reason, "S3 call is repeated");
                }
                ended => return self.noted((what, asked), began, ended, attempt > 1),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
            attempt += 1;
        }
    }

    /// Makes a call once, however silent the server is: it is to show just that.
    pub(super) async fn once<T, F>(
        &self,
        what: &'static str,
        asked: Asked,
        call: impl Fn() -> F,
    ) -> Result<T, Failed>
    where
        F: Future<Output = Result<T, S3Error>>,
    {
        let began = Instant::now();
        let ended = self.attempt(self.timeout, false, call()).await;
        self.noted((what, asked), began, ended, false)
    }

    async fn attempt<T>(
        &self,
        mut longest: Duration,
        heeds_silence: bool,
        call: impl Future<Output = Result<T, S3Error>>,
    ) -> Result<T, Failed> {
        if heeds_silence && self.silence.is_on() {
            longest = longest.min(TRIAL_MAX);
        }
        let mut heard = Heard::NotAsked;
        let timed = tokio::time::timeout(longest, async {
            // It is never closed, so that an error cannot come.
            let _slot = self.slots.acquire().await;
            heard = Heard::Nothing;
            // Not before: it may have fallen silent while others were waited for.
            if heeds_silence && let Some(reason) = self.silence.holds_back() {
                return Err(Failed::unheard(reason, Heard::NotAsked));
            }
            let ended = call.await.map_err(|error| failed(&error));
            if !matches!(&ended, Err(failed) if failed.heard == Heard::Nothing) {
                self.silence.ends();
            }
            ended
        });
        timed.await.unwrap_or_else(|_| {
            let seconds = longest.as_secs();
            let reason = match heard {
                Heard::NotAsked => {
                    format!("S3_MAX_CONCURRENCY calls to S3 were under way for {seconds} s")
                }
                Heard::Nothing | Heard::Answer => format!("S3 did not answer within {seconds} s"),
            };
            Err(Failed::unheard(reason, heard))
        })
    }

    /// Tells the log when the server goes and when it comes back.
    fn noted<T>(
        &self,
        (what, asked): (&'static str, Asked),
        began: Instant,
        ended: Result<T, Failed>,
        is_repeated: bool,
    ) -> Result<T, Failed> {
        match ended {
            Err(mut failed) => {
                failed.may_be_done |= is_repeated;
                if let Some(asked) = self.wanting(asked, began, &failed)
                    && self.presence.failed(asked)
                {
                    let (endpoint, reason) = (&self.endpoint, &failed.reason);
                    tracing::warn!(endpoint, what, status = failed.status, %reason, "S3 is unavailable");
                }
                Err(failed)
            }
            Ok(answer) => {
                if self.presence.answered(asked).is_some() {
                    tracing::info!(endpoint = self.endpoint, "S3 is back");
                }
                Ok(answer)
            }
        }
    }

    /// Returns what could not be had of the server, where that makes an outage.
    fn wanting(&self, asked: Asked, began: Instant, failed: &Failed) -> Option<Asked> {
        match failed.heard {
            Heard::NotAsked => return None,
            Heard::Nothing if self.silence.begins(began, &failed.reason) => {
                return Some(Asked::Answer);
            }
            Heard::Nothing | Heard::Answer => {}
        }
        failed.is_outage().then_some(match asked {
            Asked::Answer => Asked::OneAnswer,
            asked => asked,
        })
    }
}

#[cfg(test)]
mod tests;
