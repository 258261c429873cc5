//! The feed: the rows of history behind the last number that the archive has. A commit writes nothing
//! for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::Connection;

use super::resident::Resident;
use super::rows::{self, first};
use super::tail::Tail;
use super::{SqliteStore, history, queries};
use crate::base::JobId;
use crate::domain::Job;
use crate::store::{EventText, FeedBatch, HistoryFeed, JobText, StoreError};

/// Text at which a batch ends, in bytes; one entry is always in it.
const BATCH_BYTES: usize = 8 << 20;

/// Switches the feed on or off. What was written while it was off goes into it when it is switched
/// on: an archive that knows it already leaves it as it is.
pub(super) fn switch(db: &Connection, on: bool) -> Result<(), StoreError> {
    db.execute(
        "UPDATE feed_state SET through = CASE WHEN ?1 AND NOT is_on THEN 0 ELSE through END, is_on = ?1",
        [on],
    )?;
    Ok(())
}

/// Returns the end of the feed as it is before anything is written; nothing while it is off.
pub(super) fn tail(db: &Connection, last: i64) -> Result<Option<Tail>, StoreError> {
    let through: Option<i64> = first(db, "SELECT through FROM feed_state WHERE is_on", [])?;
    Ok(through.map(|through| Tail::new(last, through)))
}

/// A batch while it is put together.
#[derive(Default)]
struct Batch {
    gathered: FeedBatch,
    ids: BTreeSet<JobId>,
    entries: usize,
    bytes: usize,
}

impl Batch {
    /// Tells whether there is room for another row. One is always in it.
    fn has_room(&mut self) -> bool {
        self.gathered.is_full = self.bytes >= BATCH_BYTES;
        !self.gathered.is_full
    }

    /// Adds the events of a row, and their job.
    fn add(
        &mut self,
        (db, resident): (&Connection, &Resident),
        (seq, id, bytes): (i64, JobId, usize),
        events: impl FnOnce(&mut Vec<EventText>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.gathered.through = seq.to_string();
        self.entries += 1;
        self.bytes += bytes;
        // One that is damaged holds up nobody else's.
        if let Err(error) = events(&mut self.gathered.events) {
            tracing::error!(job.id = %id, %error, "history that cannot be read is not exported");
            return Ok(());
        }
        if self.ids.insert(id)
            && let Some((job, length)) = job(db, resident, id)?
        {
            self.bytes += length;
            self.gathered.jobs.push(Arc::new(JobText::of(&job)));
        }
        Ok(())
    }
}

fn read(db: &Connection, resident: &Resident, limit: usize) -> Result<FeedBatch, StoreError> {
    let mut batch = Batch::default();
    if let Some(kept) = resident.tail(|tail| tail.read(limit)).flatten() {
        for entry in kept {
            if !batch.has_room() {
                break;
            }
            let row = (entry.seq, entry.job, entry.bytes);
            batch.add((db, resident), row, |events| {
                events.extend_from_slice(&entry.events);
                Ok(())
            })?;
        }
    } else {
        let mut statement = db.prepare_cached(
            "SELECT body, seq, job FROM history
             WHERE seq > (SELECT through FROM feed_state WHERE is_on) ORDER BY seq LIMIT ?1",
        )?;
        let mut found = statement.query([rows::int(limit as u64)])?;
        while batch.has_room()
            && let Some(row) = found.next()?
        {
            let bytes = row.get_ref(0)?.as_str().map_or(0, str::len);
            let place = (row.get(1)?, rows::job_id(row, 2)?, bytes);
            batch.add((db, resident), place, |events| {
                events.extend(history::events(row)?.iter().map(EventText::of));
                Ok(())
            })?;
        }
    }
    batch.gathered.is_full |= batch.entries == limit;
    Ok(batch.gathered)
}

/// Returns the job, unless it cannot be read, and about how long its text is.
fn job(
    db: &Connection,
    resident: &Resident,
    id: JobId,
) -> Result<Option<(Arc<Job>, usize)>, StoreError> {
    if let Some(kept) = resident.job_and_length(id) {
        return Ok(Some(kept));
    }
    let length: Option<i64> = first(
        db,
        "SELECT octet_length(jobs.body) + coalesce(octet_length(given.body), 0)
         FROM jobs LEFT JOIN given ON given.job = jobs.id WHERE jobs.id = ?1",
        [id.0.as_bytes()],
    )?;
    let length = length.map_or(0, |length| usize::try_from(length).unwrap_or(0));
    match queries::load(db, id) {
        Ok(job) => Ok(job.map(|job| (Arc::new(job), length))),
        Err(StoreError::Corrupt(reason)) => {
            tracing::error!(job.id = %id, %reason, "a damaged job is exported without its record");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[async_trait]
impl HistoryFeed for SqliteStore {
    async fn read_feed(&self, limit: u32) -> Result<FeedBatch, StoreError> {
        let resident = Arc::clone(&self.resident);
        let limit = limit as usize;
        self.read(move |db| read(db, &resident, limit)).await
    }

    async fn acknowledge_feed(&self, through: &str) -> Result<(), StoreError> {
        let seq: i64 = through.parse().map_err(|_| {
            StoreError::Corrupt(format!("`{through}` is no place in this store's feed"))
        })?;
        self.write(move |db| {
            db.prepare_cached("UPDATE feed_state SET through = max(through, ?1)")?
                .execute([seq])?;
            Ok(())
        })
        .await?;
        self.resident.tail(|tail| tail.acknowledge(seq));
        Ok(())
    }

    async fn feed_length(&self) -> Result<u64, StoreError> {
        // One look at the end of the table; numbers that were given for nothing count along.
        let length = "SELECT coalesce((SELECT max(seq) FROM history), 0) - through
                      FROM feed_state WHERE is_on";
        let count: Option<i64> = self.read(|db| first(db, length, [])).await?;
        Ok(count.map_or(0, |count| u64::try_from(count).unwrap_or(0)))
    }
}
