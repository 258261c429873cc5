//! What this process has told lately, kept while it brings the feed over: then neither the rows nor
//! their jobs have to be read from the server and parsed. Bounded: what does not fit is read after all.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::{Event, Job};
use crate::engine::Effect;
use crate::store::Commit;

/// Text of all that is kept, in bytes; as values it takes about three times as much.
const BYTES_MAX: usize = 12 << 20;

/// A commit that has told something.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub job: Arc<Job>,
    effects: Arc<Vec<Effect>>,
}

impl Told {
    /// Keeps a commit.
    pub fn new(commit: &Commit) -> Self {
        Self {
            job: Arc::clone(&commit.job),
            effects: Arc::clone(&commit.effects),
        }
    }

    /// Returns what it has told.
    pub fn events(&self) -> impl Iterator<Item = &Arc<Event>> {
        self.effects.iter().filter_map(|effect| match effect {
            Effect::Record(event) => Some(event),
            _ => None,
        })
    }
}

/// Returns the name under which an entry of the feed is kept. Its number is in it: a server that has
/// forgotten its last second may be told something else of the same job at the same place.
pub(super) fn entry(number: &str, name: &str) -> String {
    format!("{number} {name}")
}

/// Commits by their entries in the feed, each with the length of its text.
#[derive(Debug)]
pub(super) struct Kept<T = Told> {
    told: HashMap<String, (T, usize)>,
    bytes: usize,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self {
            told: HashMap::new(),
            bytes: 0,
        }
    }
}

impl<T> Kept<T> {
    /// Keeps one whose text is so long, if there is room.
    pub fn add(&mut self, entry: String, told: T, bytes: usize) {
        if self.bytes + bytes <= BYTES_MAX {
            self.bytes += bytes;
            let replaced = self.told.insert(entry, (told, bytes));
            self.bytes -= replaced.map_or(0, |(_, bytes)| bytes);
        }
    }

    /// Takes one out, and how long its text is.
    pub fn take(&mut self, entry: &str) -> Option<(T, usize)> {
        let (told, bytes) = self.told.remove(entry)?;
        self.bytes -= bytes;
        Some((told, bytes))
    }

    /// Keeps what another one has left, as far as there is room.
    pub fn add_all(&mut self, left: Self) {
        for (entry, (told, bytes)) in left.told {
            self.add(entry, told, bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_is_not_kept() {
        let mut kept = Kept::default();
        kept.add("a".to_owned(), 'a', BYTES_MAX - 1);
        kept.add("b".to_owned(), 'b', 2);
        kept.add("c".to_owned(), 'c', 1);
        assert_eq!(kept.take("b"), None);
        assert_eq!(kept.take("a"), Some(('a', BYTES_MAX - 1)));
        kept.add("b".to_owned(), 'b', 5);
        kept.add("b".to_owned(), 'b', 2);
        let mut other = Kept::default();
        other.add("d".to_owned(), 'd', 4);
        other.add_all(kept);
        assert_eq!((other.told.len(), other.bytes), (3, 7));
    }
}
