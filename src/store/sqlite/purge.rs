//! Forgetting in small steps, so that a job with a long history does not keep the writer from
//! everybody else.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::resident::Transaction;
use super::{SqliteStore, given, queries, rows};
use crate::base::{JobId, TaskId, Timestamp};
use crate::store::{BlueprintRevision, StoreError, rules};

/// Rows that one transaction deletes at most, for each table.
const ROWS_PER_STEP: u32 = 500;

/// How far a step has come.
enum Step {
    /// There is more of the job.
    More,
    /// The job has gone.
    Gone,
    /// The job is not to be forgotten: someone has set it going again.
    Kept,
}

impl SqliteStore {
    /// Forgets jobs whose time is over, and keys.
    pub(super) async fn purge_jobs(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<JobId>, StoreError> {
        let over = self.read(move |db| forgettable(db, now, limit)).await?;
        let mut gone = Vec::with_capacity(over.len());
        for id in over {
            // Each step deletes or is the last, so this ends.
            loop {
                match self.write(move |db| forget_some(db, id, now)).await? {
                    Step::More => {}
                    Step::Gone => {
                        gone.push(id);
                        break;
                    }
                    Step::Kept => break,
                }
            }
        }
        while self.write(move |db| forget_keys(db, now)).await? {}
        Ok(gone)
    }

    /// Forgets revisions that no job has. Since no job is made of those that are not in use, what a
    /// reader has seen still holds when the writer deletes.
    pub(super) async fn purge_revisions(
        &self,
        in_use: &[BlueprintRevision],
    ) -> Result<Vec<BlueprintRevision>, StoreError> {
        let in_use = in_use.to_vec();
        let gone = self.read(move |db| unpinned(db, &in_use)).await?;
        if gone.is_empty() {
            return Ok(gone);
        }
        let rows = gone.clone();
        self.write(move |db| {
            let sql = "DELETE FROM blueprints WHERE name = ?1 AND revision = ?2";
            let mut statement = db.prepare_cached(sql)?;
            for row in &rows {
                statement.execute([&row.name, &row.revision])?;
            }
            Ok(())
        })
        .await?;
        Ok(gone)
    }
}

fn forgettable(db: &Connection, now: Timestamp, limit: u32) -> Result<Vec<JobId>, StoreError> {
    // The plus keeps SQLite from walking through all ended jobs by the index on their status.
    let mut statement = db.prepare_cached(
        "SELECT id FROM jobs
         WHERE keep_until <= ?1 AND +status IN ('finished', 'failed', 'quarantined', 'cancelled')
         AND NOT EXISTS (SELECT 1 FROM outbox WHERE job = jobs.id AND status = 'pending')
         AND NOT EXISTS (SELECT 1 FROM feed_state, history
             WHERE is_on AND history.job = jobs.id AND history.seq > through)
         ORDER BY keep_until, id LIMIT ?2",
    )?;
    let ids = statement.query_map(params![now.0, limit], |row| rows::job_id(row, 0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// Returns the revisions that are not in use and that no job has.
fn unpinned(
    db: &Connection,
    in_use: &[BlueprintRevision],
) -> Result<Vec<BlueprintRevision>, StoreError> {
    let mut statement =
        db.prepare_cached("SELECT name, revision FROM blueprints ORDER BY name, revision")?;
    let known = statement.query_map([], |row| {
        Ok(BlueprintRevision {
            name: row.get(0)?,
            revision: row.get(1)?,
        })
    })?;
    let mut unpinned = Vec::new();
    for one in known {
        let one = one?;
        // From an index alone, oldest jobs first: an old revision's are soon found.
        let sql = "SELECT 1 FROM jobs WHERE blueprint = ?1 AND blueprint_revision = ?2
                   ORDER BY id LIMIT 1";
        if !in_use.contains(&one)
            && rows::first::<i64>(db, sql, [&one.name, &one.revision])?.is_none()
        {
            unpinned.push(one);
        }
    }
    Ok(unpinned)
}

/// Deletes a part of what belongs to the job; the job itself goes last, so that what a crash
/// interrupts is found again.
fn forget_some(db: &Transaction<'_>, id: JobId, now: Timestamp) -> Result<Step, StoreError> {
    let key = id.0.as_bytes();
    let Some(job) = queries::load_bare(db, id)? else {
        return Ok(Step::Kept);
    };
    if !rules::is_forgettable(&job, now) {
        return Ok(Step::Kept);
    }
    // It has told something since it was found to be over.
    let waits = "SELECT 1 FROM feed_state, history
                 WHERE is_on AND history.job = ?1 AND history.seq > through LIMIT 1";
    if rows::first::<i64>(db, waits, [key])?.is_some() {
        return Ok(Step::Kept);
    }
    if forget_tasks(db, id)? == ROWS_PER_STEP as usize {
        return Ok(Step::More);
    }
    for sql in [
        "DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox WHERE job = ?1 LIMIT ?2)",
        "DELETE FROM history WHERE job = ?1 AND (revision, place) IN
         (SELECT revision, place FROM history WHERE job = ?1 LIMIT ?2)",
    ] {
        let deleted = db
            .prepare_cached(sql)?
            .execute(params![key, ROWS_PER_STEP])?;
        if deleted == ROWS_PER_STEP as usize {
            return Ok(Step::More);
        }
    }
    let labels = given::complete(db, job)?.map_or_else(BTreeMap::new, |job| job.labels);
    for (name, value) in &labels {
        db.prepare_cached("DELETE FROM labels WHERE name = ?1 AND value = ?2 AND job = ?3")?
            .execute(params![name, value, key])?;
    }
    given::delete(db, id)?;
    db.prepare_cached("DELETE FROM jobs WHERE id = ?1")?
        .execute([key])?;
    db.deleted_job(id);
    Ok(Step::Gone)
}

/// Deletes some of the job's tasks; returns how many.
fn forget_tasks(db: &Transaction<'_>, id: JobId) -> Result<usize, StoreError> {
    let mut statement = db.prepare_cached(
        "DELETE FROM tasks WHERE rowid IN (SELECT rowid FROM tasks WHERE job = ?1 LIMIT ?2)
         RETURNING id",
    )?;
    let mut deleted = statement.query(params![id.0.as_bytes(), ROWS_PER_STEP])?;
    let mut count = 0;
    while let Some(row) = deleted.next()? {
        db.deleted_task(TaskId::from(row.get::<_, String>(0)?));
        count += 1;
    }
    Ok(count)
}

/// Deletes keys past their time; tells whether there may be more.
fn forget_keys(db: &Connection, now: Timestamp) -> Result<bool, StoreError> {
    let deleted = db
        .prepare_cached(
            "DELETE FROM idempotency_keys WHERE (client, name) IN
             (SELECT client, name FROM idempotency_keys WHERE until <= ?1 LIMIT ?2)",
        )?
        .execute(params![now.0, ROWS_PER_STEP])?;
    Ok(deleted == ROWS_PER_STEP as usize)
}
