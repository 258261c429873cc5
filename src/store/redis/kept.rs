//! What this process has told lately, kept while it brings the feed over: then neither the rows nor
//! their jobs have to be read from the server and parsed. Bounded: what does not fit is read after all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::feed_batch::Number;
use crate::base::JobId;
use crate::domain::Job;
use crate::store::{EventText, JobText};

/// Text of all that is kept, in bytes; jobs that have not ended are kept as values, which take about three
/// times as much.
const BYTES_MAX: usize = 12 << 20;

/// Where an entry of the feed is: its partition, and its number there.
pub(super) type Place = (u8, Number);

/// The row of history that a commit has told.
#[derive(Debug, PartialEq)]
pub(super) struct Told {
    pub events: Vec<EventText>,
    /// The commit's text.
    pub bytes: usize,
}

/// A job as a row has stored it.
#[derive(Debug, Clone)]
pub(super) enum Record {
    /// It goes on, and its next row brings another one.
    Open(Arc<Job>),
    /// It has ended: this is what the archive gets.
    Ended(Arc<JobText>),
}

impl Record {
    /// Takes what is to be kept of a job.
    pub fn of(job: &Arc<Job>) -> Self {
        if job.status.is_terminal() {
            Self::Ended(Arc::new(JobText::of(job)))
        } else {
            Self::Open(Arc::clone(job))
        }
    }

    /// Returns the job's id.
    pub fn id(&self) -> JobId {
        match self {
            Self::Open(job) => job.id,
            Self::Ended(job) => job.id,
        }
    }

    /// Returns the job's revision.
    pub fn revision(&self) -> u64 {
        match self {
            Self::Open(job) => job.revision,
            Self::Ended(job) => job.revision,
        }
    }

    /// Returns what the archive gets.
    pub fn into_text(self) -> Arc<JobText> {
        match self {
            Self::Open(job) => Arc::new(JobText::of(&job)),
            Self::Ended(job) => job,
        }
    }
}

/// A job as the latest of its rows has stored it.
#[derive(Debug, Clone)]
struct Latest {
    job: Record,
    /// That row. It is not the revision that says which is the latest: a server that has forgotten its
    /// last second gives revisions again, and what it has forgotten never was.
    number: Number,
}

/// Rows by their entries in the feed, and their jobs.
#[derive(Debug, Default)]
pub(super) struct Kept {
    rows: HashMap<Place, Told>,
    /// Each with how many of the rows are its own.
    jobs: HashMap<JobId, (Latest, usize)>,
    bytes: usize,
}

impl Kept {
    /// Keeps a row, and its job as it has stored it, if there is room.
    pub fn add(&mut self, place: Place, told: Told, job: Record) {
        let number = place.1;
        self.put(place, told, Latest { job, number });
    }

    fn put(&mut self, place: Place, told: Told, latest: Latest) {
        drop(self.take(place, |_| true));
        if self.bytes + told.bytes > BYTES_MAX {
            return;
        }
        self.bytes += told.bytes;
        self.rows.insert(place, told);
        match self.jobs.entry(latest.job.id()) {
            Entry::Occupied(mut known) => {
                let (known, rows) = known.get_mut();
                *rows += 1;
                if latest.number > known.number {
                    *known = latest;
                }
            }
            Entry::Vacant(none) => {
                none.insert((latest, 1));
            }
        }
    }

    /// Takes a row and its job out, if it is the one that is looked for.
    pub fn take(
        &mut self,
        place: Place,
        is_it: impl FnOnce(&[EventText]) -> bool,
    ) -> Option<(Told, Record)> {
        let Entry::Occupied(row) = self.rows.entry(place) else {
            return None;
        };
        if !is_it(&row.get().events) {
            return None;
        }
        let told = row.remove();
        self.bytes -= told.bytes;
        let id = told.events.first()?.job_id;
        let Entry::Occupied(mut known) = self.jobs.entry(id) else {
            return None;
        };
        let (latest, rows) = known.get_mut();
        *rows -= 1;
        let job = latest.job.clone();
        if *rows == 0 {
            known.remove();
        }
        Some((told, job))
    }

    /// Keeps what another one has, too, as far as there is room.
    pub fn add_all(&mut self, other: Self) {
        let Self { rows, jobs, .. } = other;
        for (place, told) in rows {
            let id = told.events.first().map(|event| event.job_id);
            if let Some((latest, _)) = id.and_then(|id| jobs.get(&id)) {
                self.put(place, told, latest.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::base::Timestamp;
    use crate::domain::{Event, EventKind, Object};

    fn job(n: u8, revision: u64) -> Arc<Job> {
        let job = json!({
            "id": JobId::from_parts(Timestamp(0), [n; 10]), "revision": revision,
            "blueprint": "b", "blueprint_revision": "1", "client": {"id": "acme", "plan": "free"},
            "status": "running", "state": "start", "visit": 1, "step": 1, "max_transitions": 9,
            "created_at": 0, "updated_at": 0, "entered_at": 0,
        });
        serde_json::from_value(job).expect("a job")
    }

    fn told(job: &Job, bytes: usize) -> Told {
        let event = Event {
            event_id: Event::derive_id(job.id, job.revision, 0),
            job_id: job.id,
            client: job.client.id.clone(),
            revision: job.revision,
            index: 0,
            at: Timestamp(0),
            kind: EventKind::Log,
            state: job.state.clone(),
            previous_state: None,
            next_state: None,
            worker_id: None,
            task_id: None,
            attempt: None,
            duration_ms: None,
            details: Object::new(),
        };
        let events = vec![EventText::of(&event)];
        Told { events, bytes }
    }

    fn place(n: u8) -> Place {
        (0, Number::read(&format!("{n}-7")).expect("a number"))
    }

    fn add(kept: &mut Kept, n: u8, job: &Arc<Job>, bytes: usize) {
        kept.add(place(n), told(job, bytes), Record::of(job));
    }

    /// Takes a row out: the revision of its job, and how long its text is.
    fn take(kept: &mut Kept, n: u8) -> Option<(u64, usize)> {
        let (told, job) = kept.take(place(n), |_| true)?;
        Some((job.revision(), told.bytes))
    }

    #[test]
    fn what_has_no_room_is_not_kept() {
        let mut kept = Kept::default();
        add(&mut kept, 1, &job(1, 1), BYTES_MAX - 1);
        add(&mut kept, 2, &job(2, 1), 2);
        add(&mut kept, 3, &job(3, 1), 1);
        assert_eq!(take(&mut kept, 2), None);
        assert_eq!(take(&mut kept, 1), Some((1, BYTES_MAX - 1)));
        add(&mut kept, 2, &job(2, 1), 5);
        add(&mut kept, 2, &job(4, 1), 2);
        let mut other = Kept::default();
        add(&mut other, 4, &job(5, 1), 4);
        other.add_all(kept);
        assert_eq!((other.rows.len(), other.jobs.len(), other.bytes), (3, 3, 7));
    }

    #[test]
    fn a_job_is_kept_as_its_latest_row_has_it_while_a_row_is() {
        let mut kept = Kept::default();
        // The second has been forgotten by its server, which has gone on from the first.
        for (n, revision) in [(1, 1), (3, 2), (2, 7)] {
            add(&mut kept, n, &job(7, revision), 1);
        }
        assert!(kept.take(place(1), |_| false).is_none(), "another one's");
        assert_eq!(take(&mut kept, 1), Some((2, 1)));
        let mut other = Kept::default();
        add(&mut other, 4, &job(7, 4), 1);
        other.add_all(kept);
        assert_eq!(take(&mut other, 2), Some((4, 1)));
        assert_eq!(take(&mut other, 4), Some((4, 1)));
        assert_eq!(take(&mut other, 3), Some((4, 1)));
        assert_eq!((other.jobs.len(), other.bytes), (0, 0));
    }
}
