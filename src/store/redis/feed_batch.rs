//! A batch of the feed while it is put together: what waits by partition, what of it this process has
//! kept, and what was read.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use fred::types::Value;

use super::feed_entry::{Entry, Number, Row};
use super::history::row;
use super::kept::{Kept, KeptRow};
use super::seal::Seal;
use crate::base::JobId;
use crate::store::{EventText, FeedBatch, JobText, StoreError};

/// The stream of what was told before the feed was on; the other one is shown when it is through.
const BEFORE: &str = "fb";

/// What waits in a partition, oldest first.
#[derive(Debug)]
pub(super) struct Part {
    pub partition: u8,
    stream: String,
    pub entries: Vec<Entry>,
    /// Whether there was no room for all of it.
    pub is_cut: bool,
    /// Jobs of rows that were read, as they are now.
    pub jobs: BTreeMap<JobId, Value>,
}

impl Part {
    /// Begins with what was found.
    pub const fn new(partition: u8, stream: String, entries: Vec<Entry>) -> Self {
        Self {
            partition,
            stream,
            entries,
            is_cut: false,
            jobs: BTreeMap::new(),
        }
    }

    /// Tells whether more may wait than the so many that were asked for.
    pub fn is_more(&self, asked: usize) -> bool {
        self.entries.len() >= asked || self.stream == BEFORE
    }

    /// Takes the rows that are kept, until they are so many bytes; one is always taken.
    pub fn take(&mut self, kept: &mut Kept, bytes_max: usize) {
        let mut bytes = 0;
        for (index, entry) in self.entries.iter_mut().enumerate() {
            if bytes >= bytes_max {
                self.is_cut = true;
                self.entries.truncate(index);
                return;
            }
            let (Some(job), Some(first)) = (entry.job, entry.place) else {
                continue;
            };
            // Its number alone does not say which it is: a server that has forgotten its last second may
            // give it again.
            let place = (self.partition, entry.number);
            if let Some(row) = kept.take(place, (job, first)) {
                bytes += row.bytes();
                entry.row = Row::Kept(row);
            }
        }
    }

    /// Returns the names of the rows that have to be read.
    pub fn unread(&self) -> impl Iterator<Item = &Value> {
        let unread = |entry: &&Entry| matches!(entry.row, Row::Unread);
        self.entries.iter().filter(unread).map(|entry| &entry.name)
    }

    /// Takes rows that were read, the first so many of those that had to be. What lies behind the last
    /// of them waits on.
    pub fn found(&mut self, count: usize, mut rows: impl Iterator<Item = Vec<u8>>) {
        let mut left = count;
        for (index, entry) in self.entries.iter_mut().enumerate() {
            if !matches!(entry.row, Row::Unread) {
                continue;
            }
            if left == 0 {
                self.is_cut = true;
                self.entries.truncate(index);
                return;
            }
            left -= 1;
            entry.row = Row::Read(rows.next().unwrap_or_default());
        }
    }
}

/// Leaves the oldest entries of all partitions, so many; tells whether there were more.
pub(super) fn cut(parts: &mut [Part], limit: usize) -> bool {
    let mut numbers: Vec<Number> = parts
        .iter()
        .flat_map(|part| part.entries.iter().map(|entry| entry.number))
        .collect();
    if numbers.len() <= limit {
        return false;
    }
    let (_, &mut last, _) = numbers.select_nth_unstable(limit.saturating_sub(1));
    let mut room = limit;
    for part in parts {
        let wanted = part.entries.partition_point(|entry| entry.number <= last);
        part.entries.truncate(wanted.min(room));
        room -= part.entries.len();
    }
    true
}

/// Up to where a partition was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PartThrough {
    pub partition: u8,
    pub stream: String,
    /// The first entry that was read, and the last.
    pub first: String,
    pub last: String,
    pub count: usize,
}

impl PartThrough {
    fn write_all(parts: &[Part]) -> String {
        let parts = parts.iter().filter_map(|part| {
            let (first, last) = (part.entries.first()?.number, part.entries.last()?.number);
            let (stream, count) = (&part.stream, part.entries.len());
            Some(format!(
                "{}:{stream}:{first}:{last}:{count}",
                part.partition
            ))
        });
        parts.collect::<Vec<_>>().join(",")
    }

    /// Reads what was written of all partitions.
    pub fn read_all(text: &str) -> Option<Vec<Self>> {
        let parts = text.split(',').filter(|part| !part.is_empty()).map(|part| {
            let mut words = part.split(':');
            let part = Self {
                partition: words.next()?.parse().ok()?,
                stream: words.next()?.to_owned(),
                first: words.next()?.to_owned(),
                last: words.next()?.to_owned(),
                count: words.next()?.parse().ok()?,
            };
            words.next().is_none().then_some(part)
        });
        parts.collect()
    }
}

/// A job of a batch.
enum Found {
    /// As a row that is kept has stored it.
    Kept(KeptRow),
    /// As it was read.
    Read(Arc<JobText>),
}

impl Found {
    fn id(&self) -> JobId {
        match self {
            Self::Kept(row) => row.id(),
            Self::Read(job) => job.id,
        }
    }

    fn revision(&self) -> u64 {
        match self {
            Self::Kept(row) => row.revision(),
            Self::Read(job) => job.revision,
        }
    }

    /// Returns what the archive gets.
    fn text(self) -> Option<Arc<JobText>> {
        let id = self.id();
        let text = match self {
            Self::Kept(row) => row.job().map(Arc::new),
            Self::Read(job) => Ok(job),
        };
        text.inspect_err(|error| tell_of_damage(id, error)).ok()
    }
}

fn tell_of_damage(id: JobId, error: &StoreError) {
    tracing::error!(job.id = %id, %error, "a damaged job is exported without its record");
}

/// What the partitions have, put together.
pub(super) struct Batch<'a> {
    seal: &'a Seal,
    events: Vec<EventText>,
    /// The jobs, and where each is among them.
    jobs: Vec<Found>,
    places: HashMap<JobId, usize>,
}

impl<'a> Batch<'a> {
    /// Puts it together, oldest first. What is damaged holds up nobody else's.
    pub fn of(seal: &'a Seal, parts: Vec<Part>, is_full: bool) -> FeedBatch {
        let through = PartThrough::write_all(&parts);
        let (mut entries, mut jobs) = (Vec::new(), BTreeMap::new());
        for part in parts {
            entries.extend(part.entries);
            jobs.extend(part.jobs);
        }
        entries.sort_unstable_by_key(|entry| entry.number);
        let mut batch = Self {
            seal,
            events: Vec::new(),
            jobs: Vec::new(),
            places: HashMap::new(),
        };
        for entry in entries {
            let Some(id) = entry.job else { continue };
            match entry.row {
                Row::Kept(row) => {
                    batch.events.extend(row.events());
                    batch.add(Found::Kept(row));
                }
                Row::Read(row) if !row.is_empty() => batch.add_read(id, &row, &mut jobs),
                Row::Read(_) | Row::Unread => {}
            }
        }
        FeedBatch {
            events: batch.events,
            jobs: batch.jobs.into_iter().filter_map(Found::text).collect(),
            through,
            is_full,
        }
    }

    /// Adds a job, unless a newer record of it is there.
    fn add(&mut self, job: Found) {
        match self.places.entry(job.id()) {
            std::collections::hash_map::Entry::Occupied(place) => {
                let known = &mut self.jobs[*place.get()];
                if job.revision() > known.revision() {
                    *known = job;
                }
            }
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(self.jobs.len());
                self.jobs.push(job);
            }
        }
    }

    /// Adds a row that was read, and its job if that comes with it.
    fn add_read(&mut self, id: JobId, body: &[u8], jobs: &mut BTreeMap<JobId, Value>) {
        match row(self.seal, body) {
            Ok(events) => self.events.extend(events.iter().map(EventText::of)),
            Err(error) => {
                tracing::error!(job.id = %id, %error, "history that cannot be read is not exported");
                return;
            }
        }
        // It comes once for all its rows, and with the first that can be read.
        let parts = jobs.remove(&id);
        match parts.map(|parts| self.seal.decode_job(id, parts)) {
            Some(Ok(Some(job))) => self.add(Found::Read(Arc::new(JobText::of(&job)))),
            Some(Err(error)) => tell_of_damage(id, &error),
            Some(Ok(None)) | None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::feed_entry::tests::entry;
    use super::*;

    fn part(partition: u8, times: &[u64]) -> Part {
        let read = |ms| entry(&format!("{ms}-7"), &format!("job {ms}")).expect("an entry");
        let entries = times.iter().map(read);
        Part::new(partition, "fe".to_owned(), entries.collect())
    }

    fn counts(parts: &[Part]) -> Vec<usize> {
        parts.iter().map(|part| part.entries.len()).collect()
    }

    #[test]
    fn the_oldest_of_all_partitions_are_left() {
        let make = || vec![part(0, &[1, 4, 5]), part(1, &[2, 3, 9]), part(2, &[])];
        for (limit, expected, is_cut) in [
            (9, vec![3, 3, 0], false),
            (6, vec![3, 3, 0], false),
            (5, vec![3, 2, 0], true),
            (3, vec![1, 2, 0], true),
            (1, vec![1, 0, 0], true),
        ] {
            let mut parts = make();
            assert_eq!(cut(&mut parts, limit), is_cut, "{limit}");
            assert_eq!(counts(&parts), expected, "{limit}");
        }
        let mut same = vec![part(0, &[1, 1]), part(1, &[1, 1])];
        assert!(cut(&mut same, 3));
        assert_eq!(counts(&same), [2, 1], "no more than wanted at one time");
    }

    #[test]
    fn what_lies_behind_an_unread_row_waits() {
        let mut one = part(3, &[1, 2, 3]);
        assert_eq!(one.unread().count(), 3);
        one.found(2, [b"a".to_vec(), b"b".to_vec()].into_iter());
        assert_eq!((one.entries.len(), one.is_cut), (2, true));
        assert_eq!(one.unread().count(), 0);
        let through = PartThrough::write_all(&[one, part(4, &[])]);
        assert_eq!(through, "3:fe:1-7:2-7:2");
        let read = PartThrough {
            partition: 3,
            stream: "fe".to_owned(),
            first: "1-7".to_owned(),
            last: "2-7".to_owned(),
            count: 2,
        };
        assert_eq!(PartThrough::read_all(&through), Some(vec![read]));
        assert_eq!(PartThrough::read_all(""), Some(vec![]));
        for bad in ["3", "3:fe:1-7:2", "x:fe:1-7:2-7:2", "3:fe:1-7:2-7:2:1"] {
            assert_eq!(PartThrough::read_all(bad), None, "{bad}");
        }
    }
}
