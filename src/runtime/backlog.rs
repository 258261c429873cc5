//! What is due and not done yet: under way, or held back for a while because it has failed. What cannot
//! be done, as long as the files of a job cannot be read, is in nobody's way then.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::base::{JobId, TaskId};

/// How long what has failed is held back at first; doubles.
const HELD_BACK: Duration = Duration::from_secs(1);
/// How long it is held back at most: so long it may wait although the trouble is over.
const HELD_BACK_MAX: Duration = Duration::from_secs(10);
/// Likewise what cannot be read: nobody but an operator mends that, and there may be much of it.
const DAMAGED_HELD_BACK_MAX: Duration = Duration::from_mins(1);
/// What is known at most, so that neither memory nor a look at the store grows with the trouble. What comes
/// due when it is reached waits until there is room again.
const ENTRIES_MAX: usize = 2_000;
/// What is known at most of that which cannot be read, which takes nobody else's room: with a wrong key it is
/// all that is older.
const DAMAGED_MAX: usize = 20_000;

/// Which job or task is due.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// A job's `wake_at` has passed.
    Job(JobId),
    /// A task's `due_at` has passed.
    Task(TaskId),
}

#[derive(Debug)]
struct Entry {
    /// How often it has failed since it came due.
    failures: u32,
    /// Whether it could not be read when it was tried last.
    is_damaged: bool,
    /// Nothing while it is under way.
    held_back_until: Option<Instant>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Backlog(Mutex<HashMap<Key, Entry>>);

/// Tells whether one more may be known. Counts only when there may be none.
fn has_room(entries: &HashMap<Key, Entry>) -> bool {
    if entries.len() < ENTRIES_MAX {
        return true;
    }
    let damaged = entries.values().filter(|entry| entry.is_damaged).count();
    entries.len() - damaged.min(DAMAGED_MAX) < ENTRIES_MAX
}

impl Backlog {
    /// Returns how much is under way or held back.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Forgets what is held back and no longer due.
    pub(super) fn keep(&self, due: &HashSet<Key>) {
        self.lock()
            .retain(|key, entry| entry.held_back_until.is_none() || due.contains(key));
    }

    /// Holds nothing back any more: what was in the way of all is over.
    pub(super) fn release(&self) {
        let now = Instant::now();
        for until in self
            .lock()
            .values_mut()
            .filter_map(|entry| entry.held_back_until.as_mut())
        {
            *until = now;
        }
    }

    /// Returns how long it is until something may be tried again; what is under way may be done or have
    /// failed at any moment.
    pub(super) fn next(&self) -> Option<Duration> {
        let now = Instant::now();
        let until = |entry: &Entry| entry.held_back_until.unwrap_or(now);
        let next = self.lock().values().map(until).min()?;
        Some(next.saturating_duration_since(now))
    }

    /// Begins with what is due, unless it is under way, held back, or there is no room.
    pub(super) fn begin(self: &Arc<Self>, key: Key) -> Option<Turn> {
        let mut entries = self.lock();
        let has_room = entries.contains_key(&key) || has_room(&entries);
        let failures = match entries.get_mut(&key) {
            Some(entry) => {
                entry
                    .held_back_until
                    .take_if(|until| *until <= Instant::now())?;
                entry.failures
            }
            None if !has_room => return None,
            None => {
                let entry = Entry {
                    failures: 0,
                    is_damaged: false,
                    held_back_until: None,
                };
                entries.insert(key.clone(), entry);
                0
            }
        };
        Some(Turn {
            backlog: Arc::clone(self),
            key,
            failures,
            is_damaged: false,
            is_done: false,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        // Every operation leaves it whole, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A try at what is due. It has failed when it is dropped without having been done, by a panic too.
#[derive(Debug)]
pub(super) struct Turn {
    backlog: Arc<Backlog>,
    key: Key,
    failures: u32,
    is_damaged: bool,
    is_done: bool,
}

impl Turn {
    /// Tells whether it is the first since it came due.
    pub(super) fn is_first(&self) -> bool {
        self.failures == 0
    }

    /// It has failed, because something of it cannot be read.
    pub(super) fn damaged(mut self) {
        self.is_damaged = true;
    }

    /// It is done.
    pub(super) fn done(mut self) {
        self.is_done = true;
        self.backlog.lock().remove(&self.key);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        let pause = HELD_BACK.saturating_mul(1 << self.failures.min(8));
        let at_most = if self.is_damaged {
            DAMAGED_HELD_BACK_MAX
        } else {
            HELD_BACK_MAX
        };
        if let Some(entry) = self.backlog.lock().get_mut(&self.key) {
            entry.failures = self.failures.saturating_add(1);
            entry.is_damaged = self.is_damaged;
            entry.held_back_until = Some(Instant::now() + pause.min(at_most));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u128) -> Key {
        Key::Job(JobId(uuid::Uuid::from_u128(number)))
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_held_back_ever_longer() {
        let backlog = Arc::new(Backlog::default());
        let mut pauses = Vec::new();
        for failures in 0..6 {
            let turn = backlog.begin(key(1)).expect("it is its time");
            assert_eq!(turn.is_first(), failures == 0);
            assert!(backlog.begin(key(1)).is_none(), "it is under way");
            assert_eq!(backlog.next(), Some(Duration::ZERO));
            drop(turn);
            assert!(backlog.begin(key(1)).is_none(), "it is held back");
            let pause = backlog.next().expect("it is known");
            pauses.push(pause.as_secs());
            tokio::time::advance(pause).await;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
        drop(backlog.begin(key(1)).expect("it is its time"));
        backlog.release();
        backlog.begin(key(1)).expect("it is free").done();
        assert_eq!((backlog.len(), backlog.next()), (0, None));
    }

    #[tokio::test(start_paused = true)]
    async fn it_knows_what_is_due_and_not_too_much() {
        let backlog = Arc::new(Backlog::default());
        let known = ENTRIES_MAX as u128;
        for number in 0..known {
            drop(backlog.begin(key(number)).expect("there is room"));
        }
        assert!(backlog.begin(key(known)).is_none(), "there is no room");
        tokio::time::advance(HELD_BACK).await;
        let turn = backlog.begin(key(0)).expect("it is its time");
        backlog.keep(&HashSet::from([key(1), key(known)]));
        assert_eq!(backlog.len(), 2, "one is under way, one is still due");
        assert!(backlog.begin(key(known)).is_some(), "there is room");
        turn.done();
        assert!(backlog.begin(key(0)).is_some_and(|turn| turn.is_first()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_read_takes_nobody_elses_room() {
        let backlog = Arc::new(Backlog::default());
        let mut number = 0;
        let mut begin = || {
            number += 1;
            backlog.begin(key(number))
        };
        for _ in 0..=ENTRIES_MAX {
            begin().expect("there is room").damaged();
        }
        for _ in 0..ENTRIES_MAX {
            drop(begin().expect("there is room"));
        }
        assert!(begin().is_none(), "there is no room");
        // It is tried again all the same, and ever more seldom.
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let until = backlog.lock()[&key(1)].held_back_until;
            let pause = until.expect("is held back") - Instant::now();
            pauses.push(pause.as_secs());
            tokio::time::advance(pause).await;
            backlog.begin(key(1)).expect("it is its time").damaged();
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60]);
    }
}
