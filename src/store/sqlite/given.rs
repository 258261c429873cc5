//! What a job was given and keeps for life: a row of its own, written once. So a commit writes the
//! same however much that is; a load reads it only when the job is no longer in memory.

use rusqlite::{Connection, params};

use super::rows;
use crate::base::JobId;
use crate::domain::Job;
use crate::store::StoreError;
use crate::store::given::Given;

/// Stores what a new job was given.
pub(super) fn insert(db: &Connection, job: JobId, body: &str) -> Result<(), StoreError> {
    db.prepare_cached("INSERT INTO given (job, body) VALUES (?1, ?2)")?
        .execute(params![job.0.as_bytes(), body])?;
    Ok(())
}

/// Deletes what a job was given.
pub(super) fn delete(db: &Connection, job: JobId) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM given WHERE job = ?1")?
        .execute([job.0.as_bytes()])?;
    Ok(())
}

/// Completes a job that was read without it; nothing when the job has been purged meanwhile.
pub(super) fn complete(db: &Connection, mut job: Job) -> Result<Option<Job>, StoreError> {
    Ok(read(db, job.id)?.map(|given| {
        given.give_to(&mut job);
        job
    }))
}

fn read(db: &Connection, id: JobId) -> Result<Option<Given>, StoreError> {
    let key = id.0.as_bytes();
    let mut statement = db.prepare_cached("SELECT body FROM given WHERE job = ?1")?;
    let mut found = statement.query([key])?;
    if let Some(row) = found.next()? {
        return rows::decode(row, 0, &format!("part of job {id}")).map(Some);
    }
    // The job and this row go together, but were looked for one after the other.
    let job: Option<i64> = rows::first(db, "SELECT 1 FROM jobs WHERE id = ?1", [key])?;
    match job {
        None => Ok(None),
        Some(_) => Err(StoreError::Corrupt(format!(
            "what job {id} was given is not there"
        ))),
    }
}
