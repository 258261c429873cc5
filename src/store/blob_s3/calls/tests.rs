//! How calls behave to a server that answers, refuses or says nothing.

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
    let ended = world
        .calls
        .repeat_within(longest, ("complete", Asked::Answer), call)
        .await;
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
async fn who_only_waits_for_others_says_nothing_of_the_server() {
    let mut world = World::new();
    world.calls.slots = Semaphore::new(1);
    let (needs, longest) = (Duration::from_mins(4), Duration::from_mins(5));
    let long = world
        .calls
        .repeat_within(longest, ("complete", Asked::Answer), || async {
            tokio::time::sleep(needs).await;
            Ok(())
        });
    let (long, other) = tokio::join!(long, world.call(Some(200)));
    long.expect("is answered");
    other.2.expect_err("has no turn");
    assert_eq!((other.1, world.calls.standing()), (0, Standing::default()));
    assert!(!world.calls.silence.is_on());
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
