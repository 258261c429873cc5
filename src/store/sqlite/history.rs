//! History as rows. A row holds the events of one commit, in their order, so that a step costs one
//! row however much it tells; an event that was appended by itself has a row of its own.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::rows::{self, int};
use super::{SqliteStore, feed};
use crate::base::JobId;
use crate::domain::Event;
use crate::engine::Effect;
use crate::store::{HistoryStore, StoreError};

/// The events of one commit, written out.
pub(super) struct Run {
    revision: u64,
    /// The first event's; the others follow.
    place: u32,
    body: String,
}

/// Whether what is written also goes into the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fed(pub bool);

impl Run {
    /// Writes out the events among the effects; nothing when there are none.
    pub fn of(effects: &[Effect]) -> Result<Option<Self>, StoreError> {
        let events: Vec<&Event> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Record(event) => Some(event.as_ref()),
                _ => None,
            })
            .collect();
        let Some(first) = events.first() else {
            return Ok(None);
        };
        Ok(Some(Self {
            revision: first.revision,
            place: first.index,
            body: rows::encode(&events)?,
        }))
    }

    /// Writes the row; one that is there is left as it is.
    pub fn insert(&self, db: &Connection, job: JobId, fed: Fed) -> Result<(), StoreError> {
        insert(db, job, (self.revision, self.place), (&self.body, fed))
    }
}

fn insert(
    db: &Connection,
    job: JobId,
    (revision, place): (u64, u32),
    (body, fed): (&str, Fed),
) -> Result<(), StoreError> {
    let written = db
        .prepare_cached(
            "INSERT OR IGNORE INTO history (job, revision, place, body) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![job.0.as_bytes(), int(revision), place, body])?;
    if fed.0 && written > 0 {
        feed::insert(db, job, (revision, place))?;
    }
    Ok(())
}

/// Returns the events of a row: a list, or one event as files of earlier versions have it too.
pub(super) fn events(row: &Row<'_>) -> Result<Vec<Event>, StoreError> {
    let is_list = row
        .get_ref(0)?
        .as_str()
        .is_ok_and(|text| text.starts_with('['));
    if is_list {
        rows::decode(row, 0, "run of events")
    } else {
        rows::decode(row, 0, "event").map(|event| vec![event])
    }
}

/// Appends an event, unless its place is taken.
fn append(db: &Connection, event: &Event, (body, fed): (&str, Fed)) -> Result<(), StoreError> {
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
    insert(db, job, (revision, place), (body, fed))
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
        let fed = self.fed;
        self.write(move |db| {
            rows.iter()
                .try_for_each(|(body, event)| append(db, event, (body, fed)))
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
