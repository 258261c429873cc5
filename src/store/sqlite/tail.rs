//! The end of the feed, kept in memory: what commits tell now goes into the archive a moment later, and
//! then it need not be read and parsed. Bounded: what has waited longest is read from the file after all.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::JobId;
use crate::store::EventText;

/// Text of all entries, in bytes.
const BYTES_MAX: usize = 12 << 20;

/// A row of history that waits.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Its number.
    pub seq: i64,
    /// Its job.
    pub job: JobId,
    /// What it tells: the events alone, and nothing else of their commit.
    pub events: Arc<[EventText]>,
    /// How long its text is.
    pub bytes: usize,
}

/// The entries at the end.
#[derive(Debug)]
pub(super) struct Tail {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Whatever was written behind this number, and waits, is among the entries.
    from: i64,
    /// The last number that the archive has.
    through: i64,
}

impl Tail {
    /// Begins behind the last number that was given. `through` is the last that the archive has.
    pub const fn new(last: i64, through: i64) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            from: last,
            through,
        }
    }

    /// A row has been written.
    pub fn push(&mut self, entry: Entry) {
        self.bytes += entry.bytes;
        self.entries.push_back(entry);
        while self.bytes > BYTES_MAX {
            let Some(oldest) = self.entries.pop_front() else {
                return;
            };
            self.bytes -= oldest.bytes;
            self.from = oldest.seq;
        }
    }

    /// Returns the oldest entries that wait, at most so many; nothing when older ones have to be read
    /// from the file.
    pub fn read(&self, limit: usize) -> Option<Vec<Entry>> {
        let is_whole = self.through >= self.from;
        is_whole.then(|| self.entries.iter().take(limit).cloned().collect())
    }

    /// The archive has everything up to this number.
    pub fn acknowledge(&mut self, through: i64) {
        self.through = self.through.max(through);
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.seq <= through) {
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seq: i64, bytes: usize) -> Entry {
        Entry {
            seq,
            job: JobId(uuid::Uuid::from_u128(1)),
            events: Arc::new([]),
            bytes,
        }
    }

    fn numbers(tail: &Tail, limit: usize) -> Option<Vec<i64>> {
        let read = tail.read(limit)?;
        Some(read.iter().map(|entry| entry.seq).collect())
    }

    #[test]
    fn what_was_written_since_is_there_once_all_before_is_acknowledged() {
        let mut tail = Tail::new(7, 4);
        tail.push(entry(8, 10));
        tail.push(entry(11, 10));
        assert_eq!(numbers(&tail, 9), None, "5 to 7 wait in the file");
        tail.acknowledge(6);
        assert_eq!(numbers(&tail, 9), None);
        tail.acknowledge(7);
        assert_eq!(numbers(&tail, 9), Some(vec![8, 11]));
        assert_eq!(numbers(&tail, 1), Some(vec![8]));
        tail.acknowledge(8);
        tail.acknowledge(3);
        assert_eq!(numbers(&tail, 9), Some(vec![11]));
        tail.acknowledge(11);
        assert_eq!((numbers(&tail, 9), tail.bytes), (Some(vec![]), 0));
    }

    #[test]
    fn what_does_not_fit_is_read_from_the_file() {
        let mut tail = Tail::new(0, 0);
        for seq in 1..=4 {
            tail.push(entry(seq, BYTES_MAX / 3));
        }
        assert_eq!(numbers(&tail, 9), None);
        tail.acknowledge(1);
        assert_eq!(numbers(&tail, 9), Some(vec![2, 3, 4]));
    }
}
