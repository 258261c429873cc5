//! History as rows. A row holds the events of one commit, in their order, so that a step costs one
//! row however much it tells; an event that was appended by itself has a row of its own.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

use super::SqliteStore;
use super::resident::Transaction;
use super::rows::{self, int};
use crate::base::{ClientId, JobId, TaskId, Timestamp, WorkerId};
use crate::domain::{Event, EventKind, Object};
use crate::engine::Effect;
use crate::store::event_text::{texts, write_out};
use crate::store::{EventText, HistoryStore, StoreError};

/// The events of one commit, written out.
pub(super) struct Run {
    revision: u64,
    /// The first event's; the others follow.
    place: u32,
    body: String,
    /// The events, when there is an archive that will want them.
    events: Option<Arc<[EventText]>>,
}

/// The numbers of rows, which the feed goes by: rising, and none is given twice, though a row has
/// gone or its transaction was undone. The writer alone draws them, so they rise as rows are written.
#[derive(Debug, Clone)]
pub(super) struct Numbers {
    last: Arc<AtomicI64>,
    /// Whether what is written goes into an archive, too.
    fed: bool,
}

impl Numbers {
    /// Goes on behind what the file has, and behind what the archive has of rows that are gone.
    pub fn of(db: &Connection, fed: bool) -> Result<Self, StoreError> {
        let last =
            "SELECT max(coalesce((SELECT max(seq) FROM history), 0), through) FROM feed_state";
        let last: Option<i64> = rows::first(db, last, [])?;
        Ok(Self {
            last: Arc::new(AtomicI64::new(last.unwrap_or(0))),
            fed,
        })
    }

    /// Returns the last one that was given.
    pub fn last(&self) -> i64 {
        self.last.load(Ordering::Relaxed)
    }

    fn next(&self) -> i64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl Run {
    /// Writes out the events among the effects; nothing when there are none.
    pub fn of(effects: &[Effect], numbers: &Numbers) -> Result<Option<Self>, StoreError> {
        let events = || {
            effects.iter().filter_map(|effect| match effect {
                Effect::Record(event) => Some(event.as_ref()),
                _ => None,
            })
        };
        let Some(first) = events().next() else {
            return Ok(None);
        };
        let lines = events()
            .inspect(|event| assert_fits(event, first))
            .map(Line::of)
            .collect();
        let body = RunBody {
            job_id: first.job_id,
            client: Cow::Borrowed(&first.client),
            revision: first.revision,
            at: first.at,
            events: lines,
        };
        Ok(Some(Self {
            revision: first.revision,
            place: first.index,
            body: rows::encode(&body)?,
            events: numbers.fed.then(|| {
                let (whole, marks) = write_out(events());
                let commit = (first.job_id, first.revision);
                texts(commit, whole.into(), &marks).collect()
            }),
        }))
    }

    /// Writes the row; one that is there is left as it is.
    pub fn insert(
        &self,
        db: &Transaction<'_>,
        job: JobId,
        numbers: &Numbers,
    ) -> Result<(), StoreError> {
        let place = (self.revision, self.place);
        insert(
            db,
            (job, place),
            (&self.body, self.events.as_ref()),
            numbers,
        )
    }
}

fn insert(
    db: &Transaction<'_>,
    (job, (revision, place)): (JobId, (u64, u32)),
    (body, events): (&str, Option<&Arc<[EventText]>>),
    numbers: &Numbers,
) -> Result<(), StoreError> {
    let (seq, id) = (numbers.next(), job.0.as_bytes());
    let written = db
        .prepare_cached(
            "INSERT INTO history (seq, job, revision, place, body) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (job, revision, place) DO NOTHING",
        )?
        .execute(params![seq, id, int(revision), place, body])?;
    if let Some(events) = events.filter(|_| written > 0) {
        let bytes = events.iter().map(|event| event.as_bytes().len()).sum();
        db.told(seq, job, (Arc::clone(events), bytes));
    }
    Ok(())
}

/// Checks that a row can tell the event. A violation is a bug of whoever commits.
fn assert_fits(event: &Event, first: &Event) {
    let run = |of: &Event| (of.job_id, of.client.clone(), of.revision, of.at);
    debug_assert_eq!(run(event), run(first), "one commit, one time and place");
    debug_assert_eq!(
        event.event_id,
        Event::derive_id(event.job_id, event.revision, event.index),
        "an event's id derives from its place"
    );
}

/// A row's body: what the events of one commit have in common, and they themselves.
#[derive(Serialize, Deserialize)]
struct RunBody<'a> {
    job_id: JobId,
    client: Cow<'a, ClientId>,
    revision: u64,
    at: Timestamp,
    events: Vec<Line<'a>>,
}

/// An event without what its run tells, and without its id, which derives from its place.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    index: u32,
    event_type: Cow<'a, EventKind>,
    state: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous_state: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_state: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    worker_id: Option<Cow<'a, WorkerId>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task_id: Option<Cow<'a, TaskId>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "is_empty")]
    details: Cow<'a, Object>,
}

#[expect(clippy::ptr_arg, reason = "serde hands over the field as it is")]
fn is_empty(details: &Cow<'_, Object>) -> bool {
    details.is_empty()
}

impl<'a> Line<'a> {
    fn of(event: &'a Event) -> Self {
        Self {
            index: event.index,
            event_type: Cow::Borrowed(&event.kind),
            state: Cow::Borrowed(&event.state),
            previous_state: event.previous_state.as_deref().map(Cow::Borrowed),
            next_state: event.next_state.as_deref().map(Cow::Borrowed),
            worker_id: event.worker_id.as_ref().map(Cow::Borrowed),
            task_id: event.task_id.as_ref().map(Cow::Borrowed),
            attempt: event.attempt,
            duration_ms: event.duration_ms,
            details: Cow::Borrowed(&event.details),
        }
    }
}

impl RunBody<'_> {
    fn into_events(self) -> Vec<Event> {
        let Self {
            job_id,
            client,
            revision,
            at,
            events,
        } = self;
        let event = |line: Line<'_>| Event {
            event_id: Event::derive_id(job_id, revision, line.index),
            job_id,
            client: client.as_ref().clone(),
            revision,
            index: line.index,
            at,
            kind: line.event_type.into_owned(),
            state: line.state.into_owned(),
            previous_state: line.previous_state.map(Cow::into_owned),
            next_state: line.next_state.map(Cow::into_owned),
            worker_id: line.worker_id.map(Cow::into_owned),
            task_id: line.task_id.map(Cow::into_owned),
            attempt: line.attempt,
            duration_ms: line.duration_ms,
            details: line.details.into_owned(),
        };
        events.into_iter().map(event).collect()
    }
}

/// Returns the events of a row: a commit's run; a list, as files before version 5 have it; or one
/// event, which was appended by itself and begins with its id.
pub(super) fn events(row: &Row<'_>) -> Result<Vec<Event>, StoreError> {
    let text = row.get_ref(0)?.as_str().unwrap_or_default();
    if text.starts_with('[') {
        return rows::decode(row, 0, "list of events");
    }
    if text.starts_with(r#"{"event_id""#) {
        return rows::decode(row, 0, "event").map(|event| vec![event]);
    }
    rows::decode(row, 0, "run of events").map(RunBody::into_events)
}

/// Appends an event, unless its place is taken.
fn append(
    db: &Transaction<'_>,
    event: &Event,
    (body, numbers): (&str, &Numbers),
) -> Result<(), StoreError> {
    let (job, revision, place) = (event.job_id, event.revision, event.index);
    let mut statement = db.prepare_cached(
        "SELECT body FROM history WHERE job = ?1 AND revision = ?2 AND place <= ?3
         ORDER BY place DESC LIMIT 1",
    )?;
    let mut found = statement.query(params![job.0.as_bytes(), int(revision), place])?;
    if let Some(row) = found.next()?
        && events(row)?.iter().any(|known| known.index == place)
    {
        return Ok(());
    }
    let alone = numbers.fed.then(|| [EventText::of(event)].into());
    insert(
        db,
        (job, (revision, place)),
        (body, alone.as_ref()),
        numbers,
    )
}

/// Returns the job's events after a place, in order, at most `limit`.
fn by_job(
    db: &Connection,
    job: JobId,
    after: Option<(u64, u32)>,
    limit: u32,
) -> Result<Vec<Event>, StoreError> {
    // The row that the place is in may hold more behind it.
    let mut statement = db.prepare_cached(
        "SELECT body FROM history WHERE job = ?1 AND (revision, place) >= (?2, coalesce(
             (SELECT max(place) FROM history WHERE job = ?1 AND revision = ?2 AND place <= ?3), 0))
         ORDER BY revision, place",
    )?;
    let (revision, place) = after.unwrap_or_default();
    let mut found = statement.query(params![job.0.as_bytes(), int(revision), place])?;
    let limit = limit as usize;
    let mut read = Vec::new();
    while read.len() < limit
        && let Some(row) = found.next()?
    {
        let behind = events(row)?
            .into_iter()
            .filter(|event| after.is_none_or(|after| (event.revision, event.index) > after));
        read.extend(behind.take(limit - read.len()));
    }
    Ok(read)
}

#[async_trait]
impl HistoryStore for SqliteStore {
    async fn append(&self, events: Vec<Event>) -> Result<(), StoreError> {
        let rows = events
            .into_iter()
            .map(|event| Ok((rows::encode(&event)?, event)))
            .collect::<Result<Vec<_>, StoreError>>()?;
        let numbers = self.numbers.clone();
        self.write(move |db| {
            rows.iter()
                .try_for_each(|(body, event)| append(db, event, (body, &numbers)))
        })
        .await
    }

    async fn by_job(
        &self,
        job: JobId,
        after: Option<(u64, u32)>,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        self.read(move |db| by_job(db, job, after, limit)).await
    }
}
