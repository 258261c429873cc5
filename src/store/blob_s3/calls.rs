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
        let timed = tokio::time::timeout(longest, async {
            // It is never closed, so that an error cannot come.
            let _slot = self.slots.acquire().await;
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
            let reason = format!("S3 did not answer within {} s", longest.as_secs());
            Err(Failed::unheard(reason, Heard::Nothing))
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
            // Others get theirs: that they do says nothing of this one.
            Asked::Answer => Asked::Own,
            asked => asked,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

    use s3::Region;
    use s3::creds::Credentials;

    use super::*;
    use crate::base::{Clock, Timestamp};

    #[derive(Default)]
    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp(self.0.load(Ordering::SeqCst))
        }
    }

    /// How the server behaves, and how often it was asked.
    struct World {
        calls: Calls,
        asked: AtomicU32,
    }

    impl World {
        fn new() -> Self {
            let settings = S3Settings::new("http://localhost:1", "files", "a".into(), "b".into());
            let region = Region::Custom {
                region: settings.region.clone(),
                endpoint: settings.endpoint.clone(),
            };
            let credentials = Credentials::new(Some("a"), Some("b"), None, None, None);
            let credentials = credentials.expect("are given");
            let bucket = Bucket::new(&settings.bucket, region, credentials).expect("has a name");
            Self {
                calls: Calls::new(*bucket, &settings),
                asked: AtomicU32::new(0),
            }
        }

        /// Returns how long the call took, how often the server was asked, and how it ended.
        async fn call(&self, answer: Option<u16>) -> (Duration, u32, Result<(), Failed>) {
            self.call_by(answer, false).await
        }

        async fn call_by(
            &self,
            answer: Option<u16>,
            is_probe: bool,
        ) -> (Duration, u32, Result<(), Failed>) {
            let (began, before) = (Instant::now(), self.asked.load(Ordering::Relaxed));
            let call = || async {
                self.asked.fetch_add(1, Ordering::Relaxed);
                match answer {
                    None => pending().await,
                    Some(200) => ready(Ok(())).await,
                    Some(status) => Err(S3Error::HttpFailWithBody(status, String::new())),
                }
            };
            let ended = if is_probe {
                self.calls.once("list", Asked::Room(0), call).await
            } else {
                self.calls.repeat("get", Asked::Answer, call).await
            };
            let asked = self.asked.load(Ordering::Relaxed) - before;
            (began.elapsed(), asked, ended)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_answer_is_waited_for_once() {
        let world = World::new();
        let (took, asked, ended) = world.call(None).await;
        assert!(ended.is_err());
        assert_eq!((took, asked), (world.calls.timeout(), 1));
        assert!(world.calls.standing().is_away);
        // All others are told at once.
        for _ in 0..3 {
            let (took, asked, ended) = world.call(Some(200)).await;
            let failed = ended.expect_err("it is silent");
            assert_eq!((took, asked), (Duration::ZERO, 0), "{}", failed.reason);
            assert!(failed.reason.contains("did not answer within 30 s"));
            assert!(!failed.is_absent());
        }
        // One of those a second later tries, for a shorter time and once.
        tokio::time::advance(TRIAL_MAX).await;
        let (tried, other) = tokio::join!(world.call(None), world.call(None));
        assert_eq!((tried.0, tried.1), (TRIAL_MAX, 1));
        assert_eq!(other.0, Duration::ZERO);
        // Whoever comes right after it does not wait as it has.
        assert_eq!(world.call(None).await.0, Duration::ZERO);
        // What asks how the server is asks it in any case, and an answer ends it.
        let (_, asked, ended) = world.call_by(Some(200), true).await;
        assert_eq!((asked, ended.is_ok()), (1, true));
        assert_eq!(world.call(Some(200)).await.1, 1);
        assert_eq!(world.calls.standing().outage_count, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_the_server_needs_long_for_has_its_time() {
        let world = World::new();
        let (needs, longest) = (Duration::from_mins(4), Duration::from_mins(5));
        let call = || async {
            tokio::time::sleep(needs).await;
            Ok(())
        };
        let ended = world.calls.repeat_within(longest, ("complete", Asked::Answer), call).await;
        ended.expect("is answered");
        // The second is not even made.
        for may_be_done in [true, false] {
            let failed = world
                .calls
                .repeat("complete", Asked::Answer, call)
                .await
                .expect_err("is not answered");
            assert_eq!(failed.may_be_done, may_be_done, "{}", failed.reason);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_an_answer() {
        let world = World::new();
        for status in [404, 403, 503, 503] {
            let (_, asked, ended) = world.call(Some(status)).await;
            assert_eq!(ended.expect_err("is refused").status, Some(status));
            assert_eq!(asked, if status == 503 { ATTEMPTS } else { 1 });
        }
        // It ends a silence, and what can be hoped for then is asked for again.
        world.call(None).await.2.expect_err("it is silent");
        tokio::time::advance(TRIAL_MAX).await;
        assert_eq!(world.call(Some(503)).await.1, ATTEMPTS);
    }

    #[tokio::test(start_paused = true)]
    async fn one_call_that_is_lost_while_others_are_answered_is_no_silence() {
        let world = World::new();
        let (lost, ()) = tokio::join!(world.call(None), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            world.call(Some(200)).await.2.expect("is answered");
        });
        lost.2.expect_err("is lost");
        assert_eq!(world.call(Some(200)).await.1, 1);
    }

    /// A full disk, or a key that may only read: what reads is answered all the time, and so is what asks
    /// how the server is.
    #[tokio::test(start_paused = true)]
    async fn writes_that_are_refused_are_one_outage() {
        let clock = Arc::new(Hand::default());
        let mut world = World::new();
        world.calls.presence = Presence::new(clock.clone());
        let put = async |bytes, status| {
            let call = || {
                ready(Err::<(), _>(S3Error::HttpFailWithBody(
                    status,
                    String::new(),
                )))
            };
            let refused = world.calls.repeat("put", Asked::Room(bytes), call).await;
            refused.expect_err("is refused");
        };
        let later = |seconds: i64| clock.0.fetch_add(seconds * 1_000, Ordering::SeqCst);
        let seen = || {
            let standing = world.calls.standing();
            (standing.is_away, standing.outage_count)
        };
        for status in [507, 403, 503].repeat(5) {
            put(1_000, status).await;
            later(59);
            world.call(Some(200)).await.2.expect("reads");
            world.call_by(Some(200), true).await.2.expect("is well");
            assert_eq!(seen(), (true, 1), "{status}");
        }
        let stored = world
            .calls
            .repeat("put", Asked::Room(1_000), || ready(Ok(())));
        stored.await.expect("stores");
        assert_eq!(seen(), (false, 1));
        // Nobody writes any more: it has to end all the same.
        put(1_000, 507).await;
        later(60);
        world.call(Some(200)).await.2.expect("reads");
        assert_eq!(seen(), (true, 2));
        world.call_by(Some(200), true).await.2.expect("is well");
        assert_eq!(seen(), (false, 2));
    }
}
