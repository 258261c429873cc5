//! What this process has told lately, kept while it brings the feed over: then neither the rows nor
//! their jobs have to be read from the server and parsed. Bounded: what does not fit is read after all.
//!
//! All of it lies in a few long pages. Pieces of its own for each row would lie for a while between
//! those that a request takes and gives back at once, and these would then come from memory that has
//! left the processor's caches long ago.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::feed_entry::Number;
use super::records::corrupt;
use crate::base::JobId;
use crate::domain::Job;
use crate::store::archive::JobSummary;
use crate::store::event_text::{Mark, texts};
use crate::store::job_text::record;
use crate::store::{EventText, JobText, StoreError, Text};

/// Text of all pages, in bytes.
const BYTES_MAX: usize = 12 << 20;
/// Text of one page, in bytes. A row that is longer has a page of its own.
const PAGE: usize = 64 << 10;
/// What is written of a job beside its events, mostly.
const JOB_USUAL: usize = 2 << 10;

/// Where an entry of the feed is: its partition, and its number there.
pub(super) type Place = (u8, Number);

/// What a commit tells, and how its job stands then.
#[derive(Debug)]
pub(super) struct Told {
    /// The place of the first event.
    first: (u64, u32),
    /// The events as one JSON array, and where each of them is.
    events: Bytes,
    marks: Vec<Mark>,
    job: JobId,
    /// The job's summary, and its record once it has ended, behind each other.
    record: Vec<u8>,
    summary_end: usize,
}

impl Told {
    /// Writes out what is not written yet.
    pub fn new(job: &Job, first: (u64, u32), (events, marks): (Bytes, Vec<Mark>)) -> Self {
        const TEXTS: &str = "a job's keys are texts";
        let mut out = Vec::with_capacity(JOB_USUAL);
        serde_json::to_writer(&mut out, &JobSummary::of(job)).expect(TEXTS);
        let summary_end = out.len();
        if job.status.is_terminal() {
            serde_json::to_writer(&mut out, &record(job)).expect(TEXTS);
        }
        Self {
            first,
            events,
            marks,
            job: job.id,
            record: out,
            summary_end,
        }
    }

    fn bytes(&self) -> usize {
        self.events.len() + self.record.len()
    }
}

/// Where a row lies.
#[derive(Debug, Clone, Copy)]
struct Row {
    job: JobId,
    first: (u64, u32),
    page: usize,
    /// Where its events begin, where they end, where the job's summary ends, and where its record does.
    text: [usize; 4],
    /// Which of the page's marks are its own.
    marks: (usize, usize),
}

/// Texts behind each other.
#[derive(Debug, Default)]
struct Page {
    text: Text,
    marks: Vec<Mark>,
}

/// A row of history, and its job as it has stored it.
#[derive(Debug, Clone)]
pub(super) struct KeptRow {
    row: Row,
    page: Arc<Page>,
}

impl KeptRow {
    /// Returns the job.
    pub const fn id(&self) -> JobId {
        self.row.job
    }

    /// Returns the revision that the job had then.
    pub const fn revision(&self) -> u64 {
        self.row.first.0
    }

    /// Returns how long its text is.
    pub const fn bytes(&self) -> usize {
        self.row.text[3] - self.row.text[0]
    }

    /// Returns its events.
    pub fn events(&self) -> impl Iterator<Item = EventText> {
        let [begin, end, ..] = self.row.text;
        let (first, last) = self.row.marks;
        let commit = (self.id(), self.revision());
        texts(
            commit,
            self.page.text.part(begin..end),
            &self.page.marks[first..last],
        )
    }

    /// Returns its job as an archive gets it.
    pub fn job(&self) -> Result<JobText, StoreError> {
        let [_, begin, middle, end] = self.row.text;
        let summary = self.page.text.part(begin..middle);
        let summary = serde_json::from_slice(summary.as_bytes());
        Ok(JobText {
            id: self.id(),
            revision: self.revision(),
            summary: summary.map_err(|error| corrupt("summary", error))?,
            body: (middle < end).then(|| self.page.text.part(middle..end)),
        })
    }
}

/// A page that is full, and how many of its rows are still kept.
#[derive(Debug)]
struct Closed {
    page: Arc<Page>,
    rows: usize,
}

/// Rows by their entries in the feed.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Those that were added since somebody looked for one, in order.
    added: Vec<(Place, Row)>,
    rows: HashMap<Place, Row>,
    closed: Vec<Closed>,
    /// The page that is being filled; it comes behind the closed ones.
    text: Vec<u8>,
    marks: Vec<Mark>,
    open_rows: usize,
    bytes: usize,
}

impl Kept {
    /// Keeps a row, if there is room.
    pub fn add(&mut self, place: Place, told: &Told) {
        if self.text.len() + told.bytes() > PAGE {
            self.close();
        }
        if self.bytes + told.bytes() > BYTES_MAX {
            return;
        }
        if self.text.capacity() == 0 {
            self.text.reserve(PAGE.max(told.bytes()));
        }
        let (begin, first_mark) = (self.text.len(), self.marks.len());
        self.text.extend_from_slice(&told.events);
        let events_end = self.text.len();
        self.text.extend_from_slice(&told.record);
        self.marks.extend_from_slice(&told.marks);
        let summary_end = events_end + told.summary_end;
        let row = Row {
            job: told.job,
            first: told.first,
            page: self.closed.len(),
            text: [begin, events_end, summary_end, self.text.len()],
            marks: (first_mark, self.marks.len()),
        };
        self.bytes += told.bytes();
        self.open_rows += 1;
        self.added.push((place, row));
    }

    /// Takes a row out, if it is the one that is looked for: of a job, and from a place on.
    pub fn take(&mut self, place: Place, wanted: (JobId, (u64, u32))) -> Option<KeptRow> {
        self.sort();
        let row = *self.rows.get(&place)?;
        if (row.job, row.first) != wanted {
            return None;
        }
        self.rows.remove(&place);
        if row.page == self.closed.len() {
            self.close();
        }
        let page = Arc::clone(&self.closed[row.page].page);
        self.let_go(row);
        Some(KeptRow { row, page })
    }

    /// Keeps what another one has, too, as far as there is room.
    pub fn add_all(&mut self, mut other: Self) {
        self.sort();
        self.close();
        other.sort();
        other.close();
        let mut moved = Vec::with_capacity(other.closed.len());
        for one in other.closed {
            let bytes = one.page.text.as_bytes().len();
            let has_room = one.rows > 0 && self.bytes + bytes <= BYTES_MAX;
            moved.push(has_room.then_some(self.closed.len()));
            if has_room {
                self.bytes += bytes;
                self.closed.push(one);
            }
        }
        for (place, row) in other.rows {
            let Some(page) = moved[row.page] else {
                continue;
            };
            if let Some(other) = self.rows.insert(place, Row { page, ..row }) {
                self.let_go(other);
            }
        }
    }

    /// Puts in their places the rows that were added: whoever reads does it, not whoever commits.
    fn sort(&mut self) {
        self.rows.reserve(self.added.len());
        for (place, row) in std::mem::take(&mut self.added) {
            if let Some(other) = self.rows.insert(place, row) {
                self.let_go(other);
            }
        }
    }

    /// Ends the page that is being filled.
    fn close(&mut self) {
        let text = std::mem::take(&mut self.text);
        let marks = std::mem::take(&mut self.marks);
        let rows = std::mem::take(&mut self.open_rows);
        if rows == 0 {
            self.bytes -= text.len();
            return;
        }
        let text = text.into();
        self.closed.push(Closed {
            page: Arc::new(Page { text, marks }),
            rows,
        });
    }

    /// A row is kept no longer, and its page with the last of its rows.
    fn let_go(&mut self, row: Row) {
        let Some(closed) = self.closed.get_mut(row.page) else {
            self.open_rows -= 1;
            return;
        };
        closed.rows -= 1;
        if closed.rows == 0 {
            let page = std::mem::take(&mut closed.page);
            self.bytes -= page.text.as_bytes().len();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::base::Timestamp;
    use crate::domain::{Event, EventKind, JobStatus, Object};
    use crate::store::event_text::write_out;

    fn job(n: u8, revision: u64) -> Job {
        let job = json!({
            "id": JobId::from_parts(Timestamp(0), [n; 10]), "revision": revision,
            "blueprint": "b", "blueprint_revision": "1", "client": {"id": "acme", "plan": "free"},
            "status": "running", "state": "start", "visit": 1, "step": 1, "max_transitions": 9,
            "created_at": 0, "updated_at": 0, "entered_at": 0,
        });
        serde_json::from_value(job).expect("a job")
    }

    fn events(job: &Job) -> [Event; 2] {
        [0, 1].map(|index| Event {
            event_id: Event::derive_id(job.id, job.revision, index),
            job_id: job.id,
            client: job.client.id.clone(),
            revision: job.revision,
            index,
            at: Timestamp(index.into()),
            kind: EventKind::Log,
            state: job.state.clone(),
            previous_state: None,
            next_state: None,
            worker_id: None,
            task_id: None,
            attempt: None,
            duration_ms: None,
            details: Object::new(),
        })
    }

    fn told(job: &Job) -> Told {
        let (text, marks) = write_out(events(job).iter());
        Told::new(job, (job.revision, 0), (text.into(), marks))
    }

    /// A job whose row is about so long.
    fn long(n: u8, bytes: usize) -> Job {
        let mut job = job(n, 1);
        job.labels.insert("long".to_owned(), "x".repeat(bytes));
        job
    }

    fn place(n: u8) -> Place {
        (0, Number::read(&format!("{n}-7")).expect("a number"))
    }

    fn take(kept: &mut Kept, n: u8, job: &Job) -> Option<KeptRow> {
        kept.take(place(n), (job.id, (job.revision, 0)))
    }

    fn is_whole(row: &KeptRow, job: &Job) {
        let found: Vec<EventText> = row.events().collect();
        assert_eq!(found, events(job).each_ref().map(EventText::of));
        assert_eq!(row.job().expect("it is whole"), JobText::of(job));
        assert_eq!((row.id(), row.revision()), (job.id, job.revision));
    }

    #[test]
    fn a_row_comes_back_as_it_was_told() {
        let mut kept = Kept::default();
        let (open, mut ended) = (job(1, 1), job(2, 5));
        ended.status = JobStatus::Finished;
        ended.security = Some(json!({"token": "secret"}));
        kept.add(place(1), &told(&open));
        kept.add(place(2), &told(&ended));
        assert!(take(&mut kept, 1, &ended).is_none(), "another one's");
        assert!(take(&mut kept, 3, &ended).is_none(), "none");
        let row = take(&mut kept, 2, &ended).expect("it is kept");
        is_whole(&row, &ended);
        let text = row.job().expect("it is whole").body.expect("it has ended");
        assert!(!text.as_str().contains("secret"));
        // One of the same number takes the place of what its server has forgotten.
        kept.add(place(1), &told(&ended));
        kept.add(place(4), &told(&open));
        assert!(take(&mut kept, 1, &open).is_none());
        is_whole(&take(&mut kept, 1, &ended).expect("it is kept"), &ended);
        is_whole(&take(&mut kept, 4, &open).expect("it is kept"), &open);
        assert_eq!((kept.rows.len(), kept.bytes, kept.open_rows), (0, 0, 0));
    }

    #[test]
    fn what_has_no_room_is_not_kept() {
        let mut kept = Kept::default();
        let (large, small) = (long(1, BYTES_MAX - 3_000), long(2, 4_000));
        kept.add(place(1), &told(&large));
        kept.add(place(2), &told(&small));
        kept.add(place(3), &told(&job(3, 1)));
        assert!(take(&mut kept, 2, &small).is_none());
        let mut other = Kept::default();
        other.add(place(4), &told(&small));
        kept.add_all(other);
        assert!(take(&mut kept, 4, &small).is_none());
        is_whole(&take(&mut kept, 1, &large).expect("it is kept"), &large);
        let mut other = Kept::default();
        other.add(place(4), &told(&small));
        other.add_all(kept);
        is_whole(
            &take(&mut other, 3, &job(3, 1)).expect("it is kept"),
            &job(3, 1),
        );
        is_whole(&take(&mut other, 4, &small).expect("it is kept"), &small);
        assert_eq!((other.rows.len(), other.bytes), (0, 0));
    }

    #[test]
    fn rows_are_found_on_all_pages() {
        let jobs: Vec<Job> = (0..200).map(|n| long(n, PAGE / 8)).collect();
        let mut kept = Kept::default();
        for (n, job) in (0..).zip(&jobs) {
            kept.add(place(n), &told(job));
        }
        let mut other = Kept::default();
        other.add(place(250), &told(&job(250, 1)));
        other.add_all(kept);
        for (n, job) in (0..).zip(&jobs) {
            is_whole(&take(&mut other, n, job).expect("it is kept"), job);
        }
        assert_eq!(other.rows.len(), 1);
    }
}
