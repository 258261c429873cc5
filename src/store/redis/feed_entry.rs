//! An entry of the feed: its number, the row of history that it stands for, and that row once it is there.

use fred::types::Value;

use super::kept::KeptRow;
use super::records::{items, read_ordered};
use crate::base::JobId;

/// A number in the feed; they rise with the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Number(pub u64, pub u64);

impl Number {
    /// Reads it as the server writes it.
    pub fn read(text: &str) -> Option<Self> {
        let (ms, rest) = text.split_once('-')?;
        Some(Self(ms.parse().ok()?, rest.parse().ok()?))
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

/// Reads the place of a row: two numbers, and nothing behind them.
fn read_place(text: &str) -> Option<(u64, u32)> {
    let (revision, rest) = read_ordered(text.as_bytes())?;
    let (index, rest) = read_ordered(rest)?;
    let index = u32::try_from(index).ok()?;
    rest.is_empty().then_some((revision, index))
}

/// Where the row of an entry is.
#[derive(Debug)]
pub(super) enum Row {
    /// In the store.
    Unread,
    /// It was read; empty if it is gone.
    Read(Vec<u8>),
    /// This process has written it, and has its job.
    Kept(KeptRow),
}

/// A row of history that waits.
#[derive(Debug)]
pub(super) struct Entry {
    pub number: Number,
    /// Its job and its place, as text.
    pub name: Value,
    /// The job again; none of a name that cannot be read.
    pub job: Option<JobId>,
    /// The place again: the revision and the index that it begins with.
    pub place: Option<(u64, u32)>,
    pub row: Row,
}

impl Entry {
    /// Takes it as the feed has it: its number, then a field's name and its own.
    pub fn read(entry: Value) -> Option<Self> {
        let mut entry = items(entry).into_iter();
        let number = entry.next()?;
        let number = Number::read(std::str::from_utf8(number.as_bytes()?).ok()?)?;
        let name = items(entry.next()?).into_iter().nth(1)?;
        let text = std::str::from_utf8(name.as_bytes()?).ok()?;
        let (job, place) = text.split_once(' ').unwrap_or((text, ""));
        Some(Self {
            number,
            job: job.parse().ok(),
            place: read_place(place),
            name,
            row: Row::Unread,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Reads an entry as the server gives it.
    pub fn entry(number: &str, name: &str) -> Option<Entry> {
        let fields = Value::Array(vec!["r".into(), name.into()]);
        Entry::read(Value::Array(vec![number.into(), fields]))
    }

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let id = JobId::from_parts(crate::base::Timestamp(1), [7; 10]);
        let place = super::super::commit::row_place(300, 2);
        let read = entry("12-7", &format!("{id} {place}")).expect("an entry");
        assert_eq!(read.number, Number(12, 7));
        assert_eq!((read.job, read.place), (Some(id), Some((300, 2))));
        for bad in ["", "b", &place[..3], &format!("{place}a")] {
            let read = entry("12-7", &format!("{id} {bad}")).expect("an entry");
            assert_eq!((read.job, read.place), (Some(id), None), "{bad}");
        }
        let nobody = entry("12-7", "nobody").expect("an entry");
        assert_eq!((nobody.job, nobody.place), (None, None));
        assert!(entry("12", &format!("{id} {place}")).is_none());
        assert!(Entry::read(Value::Null).is_none());
    }
}
