//! What a job was given and keeps for life: a row of its own, written once. So a commit writes the
//! same however much that is; a load reads it only when the job is no longer in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rows;
use crate::base::JobId;
use crate::domain::{Job, Object};
use crate::store::StoreError;

/// The part of a job that never changes and may be large.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Given {
    initial_data: Arc<Value>,
    policy: Option<Object>,
    /// Also rows of their own, to be searched by.
    labels: BTreeMap<String, String>,
    tracing_context: BTreeMap<String, String>,
}

impl Given {
    /// Returns what the job was given.
    pub fn of(job: &Job) -> Self {
        Self {
            initial_data: Arc::clone(&job.initial_data),
            policy: job.policy.clone(),
            labels: job.labels.clone(),
            tracing_context: job.tracing_context.clone(),
        }
    }

    fn give_to(self, job: &mut Job) {
        job.initial_data = self.initial_data;
        job.policy = self.policy;
        job.labels = self.labels;
        job.tracing_context = self.tracing_context;
    }
}

/// Returns the rest of the job, which is what a step writes.
pub(super) fn without(job: &Job) -> Job {
    let mut rest = job.clone();
    Given::default().give_to(&mut rest);
    rest
}

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
