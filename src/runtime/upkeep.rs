//! The archive's upkeep: when it is due, and how it stands. One that fails, as while somebody else holds the
//! tables, is tried again after a growing pause: each try has others wait, and history is to go on.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::Timestamp;
use crate::store::StoreError;

/// Between two upkeeps; the first is at the start.
const EVERY: Duration = Duration::from_hours(1);
/// After one that failed; doubles with each that follows it, up to [`EVERY`].
const PAUSE: Duration = Duration::from_mins(1);

/// See the module.
#[derive(Default)]
pub(super) struct Upkeep(Mutex<State>);

#[derive(Default)]
struct State {
    /// When the next one is due; none is at once.
    next: Option<Timestamp>,
    /// Since when none has gone through, if so.
    failing_since: Option<Timestamp>,
    /// How many have failed since then.
    failures: u32,
}

impl Upkeep {
    /// Tells whether one is due.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.lock().next.is_none_or(|next| now >= next)
    }

    /// Returns since when none has gone through, if so.
    pub(super) fn failing_since(&self) -> Option<Timestamp> {
        self.lock().failing_since
    }

    /// Notes how one has ended.
    pub(super) fn ended(&self, now: Timestamp, result: Result<(), StoreError>) {
        let mut state = self.lock();
        let Err(error) = result else {
            if let Some(since) = state.failing_since {
                let duration_ms = u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX);
                tracing::info!(duration_ms, "the upkeep of the history goes through again");
            }
            *state = State {
                next: Some(now.after(EVERY)),
                ..State::default()
            };
            return;
        };
        if state.failing_since.is_none() {
            state.failing_since = Some(now);
            tracing::warn!(
                %error,
                "the upkeep of the history fails: what is older than its retention stays, and no room is \
                 made for coming months. Look for a session that holds its tables for long, as a dump \
                 does, and whether its user owns them; it is tried again at least every hour"
            );
        }
        let pause = PAUSE * 2_u32.saturating_pow(state.failures.min(16));
        state.next = Some(now.after(pause.min(EVERY)));
        state.failures = state.failures.saturating_add(1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_tried_again_after_a_growing_pause() {
        let minutes = |count: i64| Timestamp(count * 60_000);
        let fails = || Err(StoreError::Unavailable("a lock".to_owned()));
        let upkeep = Upkeep::default();
        assert!(upkeep.is_due(minutes(0)));
        let mut tries = Vec::new();
        for minute in 0..200 {
            if upkeep.is_due(minutes(minute)) {
                tries.push(minute);
                upkeep.ended(minutes(minute), fails());
            }
        }
        assert_eq!(tries, [0, 1, 3, 7, 15, 31, 63, 123, 183]);
        assert_eq!(upkeep.failing_since(), Some(minutes(0)));
        upkeep.ended(minutes(243), Ok(()));
        assert_eq!(upkeep.failing_since(), None);
        assert!(!upkeep.is_due(minutes(302)));
        assert!(upkeep.is_due(minutes(303)));
        upkeep.ended(minutes(303), fails());
        assert!(upkeep.is_due(minutes(304)), "it begins with a short pause");
    }
}
