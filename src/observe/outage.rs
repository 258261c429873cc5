//! Whether a server answers, as the calls of it tell: an outage begins once and ends once, however
//! many calls fail meanwhile.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::base::{Clock, Timestamp};

/// An outage ends when no call has failed for so long: a call that was under way when it began, or
/// the half of a cluster that is still there, says nothing.
const QUIET: Duration = Duration::from_secs(1);

/// How a server stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// It does not answer just now.
    pub is_away: bool,
    /// Outages that have begun since the start of the process.
    pub outage_count: u64,
}

/// Whether a part is away, and how often it went. Tells nobody.
#[derive(Debug, Default)]
pub struct Presence {
    is_away: AtomicBool,
    count: AtomicU64,
}

impl Presence {
    /// It is away; tells whether it was there before.
    pub fn goes(&self) -> bool {
        let is_news = !self.is_away.swap(true, Ordering::AcqRel);
        if is_news {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        is_news
    }

    /// It is there; tells whether it was away before.
    pub fn comes(&self) -> bool {
        self.is_away.swap(false, Ordering::AcqRel)
    }

    /// Returns how it stands.
    pub fn standing(&self) -> Standing {
        Standing {
            is_away: self.is_away.load(Ordering::Acquire),
            outage_count: self.count.load(Ordering::Relaxed),
        }
    }
}

/// The outages of one server. Tells the log when one begins and when it ends.
pub struct Outages {
    part: &'static str,
    clock: Arc<dyn Clock>,
    presence: Presence,
    began_at: AtomicI64,
    failed_at: AtomicI64,
    /// Reading has failed in this outage.
    is_unread: AtomicBool,
}

impl Outages {
    /// Makes a server that answers until a call tells otherwise; `part` names it in the log.
    pub fn new(part: &'static str, clock: Arc<dyn Clock>) -> Self {
        Self {
            part,
            clock,
            presence: Presence::default(),
            began_at: AtomicI64::default(),
            failed_at: AtomicI64::default(),
            is_unread: AtomicBool::default(),
        }
    }

    /// A call has failed because the server does not answer.
    pub fn failed(&self, error: &dyn Display) {
        let now = self.clock.now();
        self.failed_at.store(now.0, Ordering::Relaxed);
        if self.presence.goes() {
            self.began_at.store(now.0, Ordering::Relaxed);
            self.is_unread.store(false, Ordering::Relaxed);
            tracing::warn!(part = self.part, %error, "outage begins");
        }
    }

    /// Likewise a call that only reads.
    pub fn failed_to_read(&self, error: &dyn Display) {
        self.failed(error);
        self.is_unread.store(true, Ordering::Relaxed);
    }

    /// A call that only reads was answered, which a server does, too, that is full: it says something where
    /// such a call has failed.
    pub fn read(&self) {
        if self.standing().is_away && self.is_unread.load(Ordering::Relaxed) {
            self.answered_again();
        }
    }

    /// A call was answered. Costs one look at a flag while there is no outage.
    pub fn answered(&self) {
        if self.standing().is_away {
            self.answered_again();
        }
    }

    fn answered_again(&self) {
        let now = self.clock.now();
        let failed_at = Timestamp(self.failed_at.load(Ordering::Relaxed));
        if now.since(failed_at) >= QUIET && self.presence.comes() {
            let began_at = Timestamp(self.began_at.load(Ordering::Relaxed));
            let duration_ms = u64::try_from(now.since(began_at).as_millis()).unwrap_or(u64::MAX);
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
        outages.answered();
        assert_eq!(seen(), (false, 0));
        outages.failed(&"gone");
        at(500);
        outages.failed(&"gone");
        outages.answered();
        assert_eq!(seen(), (true, 1), "half of a cluster answers");
        at(1499);
        outages.answered();
        assert_eq!(seen(), (true, 1));
        at(1500);
        outages.answered();
        assert_eq!(seen(), (false, 1));
        outages.failed(&"gone");
        assert_eq!(seen(), (true, 2));
    }

    #[test]
    fn an_outage_of_writing_alone_does_not_end_with_reading() {
        let clock = Arc::new(Hand::default());
        let outages = Outages::new("store", clock.clone());
        let at = |ms| clock.0.store(ms, Ordering::SeqCst);
        let seen = || (outages.standing().is_away, outages.standing().outage_count);
        for minute in 0..10 {
            outages.failed(&"full");
            at(minute * 60_000 + 30_000);
            outages.read();
            assert_eq!(seen(), (true, 1));
        }
        outages.answered();
        assert_eq!(seen(), (false, 1));
        // Where reading failed, too, it says that the server is back.
        outages.failed_to_read(&"gone");
        at(900_000);
        outages.read();
        assert_eq!(seen(), (false, 2));
        outages.failed(&"full");
        at(990_000);
        outages.read();
        assert_eq!(seen(), (true, 3));
    }
}
