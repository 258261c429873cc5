//! The feed as rows: each names a row of history, so that a commit costs one short row more.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::resident::Resident;
use super::rows::{self, first, int};
use super::{SqliteStore, history, queries};
use crate::base::JobId;
use crate::domain::Job;
use crate::store::{FeedBatch, HistoryFeed, StoreError};

/// Text at which a batch ends, in bytes; one entry is always in it.
const BATCH_BYTES: usize = 8 << 20;

/// Notes that a row of history is to go into the archive.
pub(super) fn insert(
    db: &Connection,
    job: JobId,
    (revision, place): (u64, u32),
) -> Result<(), StoreError> {
    db.prepare_cached("INSERT INTO feed (job, revision, place) VALUES (?1, ?2, ?3)")?
        .execute(params![job.0.as_bytes(), int(revision), place])?;
    Ok(())
}

/// Switches the feed on or off. What was written while it was off goes into it when it is switched
/// on: an archive that knows it already leaves it as it is.
pub(super) fn switch(db: &mut Connection, on: bool) -> Result<(), StoreError> {
    let was_on: Option<bool> = first(db, "SELECT is_on FROM feed_state", [])?;
    if was_on == Some(on) {
        return Ok(());
    }
    let transaction = db.transaction()?;
    transaction.execute("DELETE FROM feed", [])?;
    if on {
        transaction.execute(
            "INSERT INTO feed (job, revision, place)
             SELECT job, revision, place FROM history ORDER BY job, revision, place",
            [],
        )?;
    }
    transaction.execute("UPDATE feed_state SET is_on = ?1", [on])?;
    transaction.commit()?;
    Ok(())
}

fn read(db: &Connection, resident: &Resident, limit: u32) -> Result<FeedBatch, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT h.body, f.seq, f.job FROM feed AS f
         LEFT JOIN history AS h
         ON h.job = f.job AND h.revision = f.revision AND h.place = f.place
         ORDER BY f.seq LIMIT ?1",
    )?;
    let mut found = statement.query([limit])?;
    let (mut batch, mut ids, mut bytes) = (FeedBatch::default(), BTreeSet::new(), 0);
    let mut entries = 0;
    while let Some(row) = found.next()? {
        entries += 1;
        if bytes >= BATCH_BYTES {
            batch.is_full = true;
            break;
        }
        let seq: i64 = row.get(1)?;
        batch.through = seq.to_string();
        let id = rows::job_id(row, 2)?;
        bytes += row.get_ref(0)?.as_str().map_or(0, str::len);
        // One that is damaged holds up nobody else's.
        match history::events(row) {
            Ok(events) => batch.events.extend(events),
            Err(error) => {
                tracing::error!(job.id = %id, %error, "history that cannot be read is not exported");
                continue;
            }
        }
        if ids.insert(id)
            && let Some((job, length)) = job(db, resident, id)?
        {
            bytes += length;
            batch.jobs.push(job);
        }
    }
    batch.is_full |= entries == limit;
    Ok(batch)
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
        self.read(move |db| read(db, &resident, limit)).await
    }

    async fn acknowledge_feed(&self, through: &str) -> Result<(), StoreError> {
        let seq: i64 = through.parse().map_err(|_| {
            StoreError::Corrupt(format!("`{through}` is no place in this store's feed"))
        })?;
        self.write(move |db| {
            db.prepare_cached("DELETE FROM feed WHERE seq <= ?1")?
                .execute([seq])?;
            Ok(())
        })
        .await
    }

    async fn feed_length(&self) -> Result<u64, StoreError> {
        // Entries leave in the order in which they came, so that the two ends tell; each is one look.
        let length = "SELECT (SELECT max(seq) FROM feed) - (SELECT min(seq) FROM feed) + 1";
        let count: Option<Option<i64>> = self.read(|db| first(db, length, [])).await?;
        Ok(count
            .flatten()
            .map_or(0, |count| u64::try_from(count).unwrap_or(0)))
    }
}
