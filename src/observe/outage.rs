//! Whether a server answers, as the calls of it tell: an outage begins once and ends once, however
//! many calls fail meanwhile.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::{Clock, Timestamp};

/// An outage goes on as long as calls fail at such distances: a call that was under way when it began, or
/// the half of a cluster that is still there, says nothing.
const QUIET: Duration = Duration::from_secs(1);

/// Likewise where what goes through asks for less than what has failed: a disk that is too full for a large
/// file takes small ones, for hours.
const LONG_QUIET: Duration = Duration::from_mins(1);

/// How a server stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// It does not answer just now, or does not take what it was given lately.
    pub is_away: bool,
    /// Outages that have begun since the start of the process.
    pub outage_count: u64,
}

/// What a call asks of a part. One that goes through shows that an outage is over when it asks for as much
/// as those that have failed in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// An answer, as whoever only reads asks for. One that gives none gives nothing else either; one that
    /// is full gives it.
    Answer,
    /// An answer that others get: that they do says nothing of this one, unless it goes on.
    OneAnswer,
    /// Room for so many bytes.
    Room(u64),
    /// Something of its own: no other call shows that it can be had again.
    Own,
}

/// What has failed in an outage.
#[derive(Debug, Default)]
struct Failing {
    began_at: Timestamp,
    failed_at: Timestamp,
    /// Not even an answer was given.
    is_unanswered: bool,
    /// Others were given theirs.
    is_partly_unanswered: bool,
    /// The most bytes for which there was no room, if that has failed.
    bytes: Option<u64>,
    has_own: bool,
}

impl Failing {
    fn add(&mut self, asked: Asked, now: Timestamp) {
        self.failed_at = now;
        match asked {
            Asked::Answer => self.is_unanswered = true,
            Asked::OneAnswer => self.is_partly_unanswered = true,
            Asked::Room(bytes) => self.bytes = self.bytes.max(Some(bytes)),
            Asked::Own => self.has_own = true,
        }
    }

    /// Tells whether a call that goes through shows that all of it is over.
    fn is_over(&self, asked: Asked, now: Timestamp) -> bool {
        let mut quiet = now.since(self.failed_at);
        if now < self.failed_at {
            // The clock was set back.
            quiet = LONG_QUIET;
        }
        if self.is_unanswered {
            return quiet >= QUIET;
        }
        match asked {
            // Whoever only reads says nothing of what was not to be read.
            Asked::Answer | Asked::OneAnswer if self.bytes.is_some() || self.has_own => false,
            Asked::Room(bytes)
                if Some(bytes) >= self.bytes && !self.has_own && !self.is_partly_unanswered =>
            {
                quiet >= QUIET
            }
            _ => quiet >= LONG_QUIET,
        }
    }
}

/// Whether a part is away, and how often it went. Tells nobody.
pub struct Presence {
    clock: Arc<dyn Clock>,
    is_away: AtomicBool,
    count: AtomicU64,
    failing: Mutex<Failing>,
}

impl Presence {
    /// Makes a part that is there until a call tells otherwise.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            is_away: AtomicBool::default(),
            count: AtomicU64::default(),
            failing: Mutex::default(),
        }
    }

    /// A call has failed because of the part; tells whether it was there before.
    pub fn failed(&self, asked: Asked) -> bool {
        let now = self.clock.now();
        let mut failing = self.failing();
        let is_news = !self.is_away.swap(true, Ordering::AcqRel);
        if is_news {
            self.count.fetch_add(1, Ordering::Relaxed);
            *failing = Failing {
                began_at: now,
                ..Failing::default()
            };
        }
        failing.add(asked, now);
        is_news
    }

    /// A call went through; returns how long the part was away when it shows that this is over. Costs one
    /// look at a flag while there is no outage.
    pub fn answered(&self, asked: Asked) -> Option<Duration> {
        if !self.is_away.load(Ordering::Acquire) {
            return None;
        }
        let now = self.clock.now();
        let failing = self.failing();
        // Another may have ended it meanwhile.
        let is_news = failing.is_over(asked, now) && self.is_away.swap(false, Ordering::AcqRel);
        is_news.then(|| now.since(failing.began_at))
    }

    /// Returns how it stands.
    pub fn standing(&self) -> Standing {
        Standing {
            is_away: self.is_away.load(Ordering::Acquire),
            outage_count: self.count.load(Ordering::Relaxed),
        }
    }

    fn failing(&self) -> MutexGuard<'_, Failing> {
        // Every operation leaves it whole, so a panic elsewhere does not spoil it.
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Presence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.standing().fmt(f)
    }
}

/// The outages of one server. Tells the log when one begins and when it ends.
pub struct Outages {
    part: &'static str,
    presence: Presence,
}

impl Outages {
    /// Makes a server that answers until a call tells otherwise; `part` names it in the log.
    pub fn new(part: &'static str, clock: Arc<dyn Clock>) -> Self {
        Self {
            part,
            presence: Presence::new(clock),
        }
    }

    /// A call has failed because the server does not answer, or does not do what it asks for.
    pub fn failed(&self, asked: Asked, error: &dyn Display) {
        if self.presence.failed(asked) {
            tracing::warn!(part = self.part, %error, "outage begins");
        }
    }

    /// A call went through. Costs one look at a flag while there is no outage.
    pub fn answered(&self, asked: Asked) {
        if let Some(duration) = self.presence.answered(asked) {
            let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            tracing::info!(part = self.part, duration_ms, "outage ends");
        }
    }

    /// Returns how the server stands.
    pub fn standing(&self) -> Standing {
        self.presence.standing()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicI64;

    use super::*;

    #[derive(Default)]
    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp(self.0.load(Ordering::SeqCst))
        }
    }

    #[test]
    fn an_outage_begins_once_and_ends_when_nothing_fails_any_more() {
        let clock = Arc::new(Hand::default());
        let outages = Outages::new("store", clock.clone());
        let at = |ms| clock.0.store(ms, Ordering::SeqCst);
        let seen = || (outages.standing().is_away, outages.standing().outage_count);
        outages.answered(Asked::Answer);
        assert_eq!(seen(), (false, 0));
        outages.failed(Asked::Answer, &"gone");
        at(500);
        outages.failed(Asked::Answer, &"gone");
        outages.answered(Asked::Answer);
        assert_eq!(seen(), (true, 1), "half of a cluster answers");
        at(1499);
        outages.answered(Asked::Answer);
        assert_eq!(seen(), (true, 1));
        at(1500);
        outages.answered(Asked::Answer);
        assert_eq!(seen(), (false, 1));
        outages.failed(Asked::Answer, &"gone");
        assert_eq!(seen(), (true, 2));
    }

    #[test]
    fn an_outage_of_writing_alone_does_not_end_with_reading() {
        let clock = Arc::new(Hand::default());
        let outages = Outages::new("store", clock.clone());
        let at = |ms| clock.0.store(ms, Ordering::SeqCst);
        let seen = || (outages.standing().is_away, outages.standing().outage_count);
        for minute in 0..10 {
            outages.failed(Asked::Room(0), &"full");
            at(minute * 60_000 + 30_000);
            outages.answered(Asked::Answer);
            assert_eq!(seen(), (true, 1));
        }
        at(700_000);
        outages.answered(Asked::Answer);
        assert_eq!(seen(), (true, 1), "however long it is quiet");
        outages.answered(Asked::Room(0));
        assert_eq!(seen(), (false, 1));
        // Where reading failed, too, it says that the server is back.
        outages.failed(Asked::Answer, &"gone");
        outages.failed(Asked::Own, &"gone");
        at(900_000);
        outages.answered(Asked::Answer);
        assert_eq!(seen(), (false, 2));
        outages.failed(Asked::Room(0), &"full");
        at(990_000);
        outages.answered(Asked::Answer);
        assert_eq!(seen(), (true, 3));
    }

    /// What is small goes through all the time.
    #[test]
    fn an_outage_ends_with_what_asks_for_as_much_or_after_a_long_quiet() {
        let clock = Arc::new(Hand::default());
        let presence = Presence::new(clock.clone());
        let later = |ms| clock.0.fetch_add(ms, Ordering::SeqCst);
        for (failed, as_much) in [
            (Asked::Room(1_000), Some(Asked::Room(1_000))),
            (Asked::Own, None),
        ] {
            assert!(presence.failed(failed));
            for _ in 0..100 {
                later(59_000);
                for asked in [Asked::Answer, Asked::Room(999), Asked::Own] {
                    assert_eq!(presence.answered(asked), None);
                }
                assert!(!presence.failed(Asked::Room(7)), "it is the same one");
                assert!(!presence.failed(failed));
            }
            if let Some(as_much) = as_much {
                assert_eq!(presence.answered(as_much), None, "something fails just now");
                later(1_000);
                let lasted = Duration::from_secs(100 * 59 + 1);
                assert_eq!(presence.answered(as_much), Some(lasted));
                assert!(presence.failed(failed));
            }
            later(60_000);
            assert!(presence.answered(Asked::Room(0)).is_some());
            assert!(!presence.standing().is_away);
        }
        assert_eq!(presence.standing().outage_count, 3);
        // Where somebody only reads nothing else may ever be asked for.
        assert!(presence.failed(Asked::OneAnswer));
        later(59_999);
        assert_eq!(presence.answered(Asked::Answer), None);
        later(1);
        assert!(presence.answered(Asked::Answer).is_some());
        assert!(presence.failed(Asked::Room(0)));
        later(-3_600_000);
        assert_eq!(presence.answered(Asked::Answer), None);
        assert!(
            presence.answered(Asked::Room(0)).is_some(),
            "the clock was set back"
        );
    }
}
