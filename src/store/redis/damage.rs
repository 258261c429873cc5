//! What cannot be read: encrypted with a key that is not set, written by a newer release, changed by
//! somebody. It is told now and then, left out, and in nobody's way.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::link::held;
use crate::base::{TaskId, Timestamp};
use crate::store::StoreError;

/// Between two lines of the log: with a wrong key there is no end of what cannot be read.
const TELL_EVERY: Duration = Duration::from_mins(1);
/// How long what is due and cannot be read is passed over. Another orchestrator, with another key, may
/// have written it anew meanwhile.
const PASSED_OVER: Duration = Duration::from_mins(1);
/// What is passed over at most, so that neither memory nor a look grows without end.
const PASSED_OVER_MAX: usize = 20_000;

/// What has been left out.
#[derive(Default)]
pub(super) struct Damage {
    untold: Mutex<Untold>,
    /// Tasks that are due and until when they are passed over.
    due: Mutex<HashMap<TaskId, Instant>>,
}

#[derive(Default)]
struct Untold {
    /// How often something was left out since the last line.
    times: usize,
    told_at: Option<Instant>,
}

impl Damage {
    /// Tells that something was left out so many times, and why the first was, at most once a minute.
    pub fn tell(&self, times: usize, error: &StoreError) {
        if let Some(times) = self.to_tell(times) {
            tracing::error!(%error, times, "damaged records are left out");
        }
    }

    fn to_tell(&self, times: usize) -> Option<usize> {
        let mut untold = held(&self.untold);
        untold.times += times;
        let is_time = |at: Instant| at.elapsed() >= TELL_EVERY;
        if untold.times == 0 || !untold.told_at.is_none_or(is_time) {
            return None;
        }
        untold.told_at = Some(Instant::now());
        Some(std::mem::take(&mut untold.times))
    }

    /// Returns what can be read; the rest is told.
    pub fn readable<T>(
        &self,
        read: impl IntoIterator<Item = Result<Option<T>, StoreError>>,
    ) -> Vec<T> {
        let (mut found, mut times, mut first) = (Vec::new(), 0, None);
        for one in read {
            match one {
                Ok(one) => found.extend(one),
                Err(error) => {
                    times += 1;
                    first.get_or_insert(error);
                }
            }
        }
        if let Some(error) = first {
            self.tell(times, &error);
        }
        found
    }

    /// Returns how many tasks that are due are known to be unreadable.
    pub fn due_count(&self) -> usize {
        held(&self.due).len()
    }

    /// Takes those out of what is due that are passed over; those that are no longer due are forgotten,
    /// and so are those whose time is over, which are to be read again.
    pub fn pass_over(&self, due: &mut Vec<(Timestamp, String)>) {
        let mut known = held(&self.due);
        if known.is_empty() {
            return;
        }
        let now = Instant::now();
        let still: HashSet<&str> = due.iter().map(|(_, id)| id.as_str()).collect();
        known.retain(|id, until| *until > now && still.contains(id.as_str()));
        due.retain(|(_, id)| !known.contains_key(id.as_str()));
    }

    /// Passes these over from now on; tells whether there was room for any.
    pub fn cannot_read(&self, due: impl IntoIterator<Item = TaskId>) -> bool {
        let until = Instant::now() + PASSED_OVER;
        let mut known = held(&self.due);
        let before = known.len();
        let room = PASSED_OVER_MAX.saturating_sub(before);
        known.extend(due.into_iter().take(room).map(|id| (id, until)));
        known.len() > before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(count: usize) -> Vec<(Timestamp, String)> {
        (0..count)
            .map(|n| (Timestamp(0), format!("t{n}")))
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn one_line_a_minute_tells_how_often_something_was_left_out() {
        let damage = Damage::default();
        assert_eq!(damage.to_tell(500), Some(500));
        assert_eq!(damage.to_tell(500), None);
        assert_eq!(damage.to_tell(20), None);
        tokio::time::advance(TELL_EVERY).await;
        assert_eq!(damage.to_tell(1), Some(521));
        tokio::time::advance(TELL_EVERY).await;
        assert_eq!(damage.to_tell(0), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_read_is_passed_over_for_a_while_and_while_it_is_due() {
        let damage = Damage::default();
        let mut seen = due(3);
        damage.pass_over(&mut seen);
        assert_eq!(seen, due(3));
        assert!(damage.cannot_read([TaskId::from("t0"), TaskId::from("t1")]));
        damage.pass_over(&mut seen);
        assert_eq!(seen, due(3)[2..]);
        let mut seen = due(1);
        damage.pass_over(&mut seen);
        assert_eq!(seen, []);
        assert_eq!(damage.due_count(), 1, "the other is no longer due");
        tokio::time::advance(PASSED_OVER).await;
        let mut seen = due(1);
        damage.pass_over(&mut seen);
        assert_eq!(seen, due(1), "it is read again");
        let many = (0..=PASSED_OVER_MAX).map(|n| TaskId::from(format!("t{n}")));
        assert!(damage.cannot_read(many));
        assert_eq!(damage.due_count(), PASSED_OVER_MAX);
        assert!(!damage.cannot_read([TaskId::from("one more")]));
    }
}
