//! What a job was given and keeps for life: a row of its own, written once. So a commit writes, and
//! a load reads, the same however much that is.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rows;
use crate::base::JobId;
use crate::domain::{Job, Object};
use crate::store::StoreError;

/// Text of the rows that are remembered, in bytes; read, it takes a few times as much.
const REMEMBERED_BYTES_MAX: usize = 16 << 20;
/// What a remembered row takes besides its text, roughly.
const ENTRY_BYTES: usize = 512;

/// The part of a job that never changes and may be large.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Given {
    initial_data: Arc<Value>,
    policy: Option<Object>,
    /// Also rows of their own, to be searched by.
    pub labels: BTreeMap<String, String>,
    tracing_context: BTreeMap<String, String>,
}

impl Given {
    /// Takes it out of the job.
    pub fn take_from(job: &mut Job) -> Self {
        Self {
            initial_data: std::mem::take(&mut job.initial_data),
            policy: job.policy.take(),
            labels: std::mem::take(&mut job.labels),
            tracing_context: std::mem::take(&mut job.tracing_context),
        }
    }

    /// Puts it into the job that it was taken from.
    pub fn give_to(&self, job: &mut Job) {
        job.initial_data = Arc::clone(&self.initial_data);
        job.policy.clone_from(&self.policy);
        job.labels.clone_from(&self.labels);
        job.tracing_context.clone_from(&self.tracing_context);
    }
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

/// What the jobs at work were given, so that it is read once and not with every step.
#[derive(Debug, Default)]
pub(super) struct Memory {
    shelf: Mutex<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    rows: HashMap<JobId, (Arc<Given>, usize)>,
    /// Oldest first; may name rows that are gone.
    order: VecDeque<JobId>,
    bytes: usize,
}

impl Memory {
    /// Completes a job that was read without it; nothing when the job has been purged meanwhile.
    pub fn complete(&self, db: &Connection, mut job: Job) -> Result<Option<Job>, StoreError> {
        if let Some(given) = self.recall(job.id) {
            given.give_to(&mut job);
            return Ok(Some(job));
        }
        let Some((given, bytes)) = read(db, job.id)? else {
            return Ok(None);
        };
        let given = Arc::new(given);
        given.give_to(&mut job);
        self.remember(job.id, given, bytes);
        Ok(Some(job))
    }

    /// Remembers a row, in the place of older ones. It is one that is stored: a row never changes.
    pub fn remember(&self, id: JobId, given: Arc<Given>, body_bytes: usize) {
        let bytes = body_bytes.saturating_add(ENTRY_BYTES);
        if bytes > REMEMBERED_BYTES_MAX / 4 {
            return;
        }
        self.shelf().put(id, given, bytes);
    }

    /// Forgets a row.
    pub fn forget(&self, id: JobId) {
        self.shelf().remove(id);
    }

    fn recall(&self, id: JobId) -> Option<Arc<Given>> {
        self.shelf()
            .rows
            .get(&id)
            .map(|(given, _)| Arc::clone(given))
    }

    fn shelf(&self) -> std::sync::MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn put(&mut self, id: JobId, given: Arc<Given>, bytes: usize) {
        self.remove(id);
        self.rows.insert(id, (given, bytes));
        self.order.push_back(id);
        self.bytes += bytes;
        while self.bytes > REMEMBERED_BYTES_MAX {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            self.remove(oldest);
        }
        // Names of rows that were forgotten must not pile up.
        if self.order.len() > 2 * self.rows.len() + 16 {
            self.order.retain(|id| self.rows.contains_key(id));
        }
    }

    fn remove(&mut self, id: JobId) {
        if let Some((_, bytes)) = self.rows.remove(&id) {
            self.bytes -= bytes;
        }
    }
}

/// Completes a job without remembering it, for whoever looks through many; nothing when the job has
/// been purged meanwhile.
pub(super) fn complete(db: &Connection, mut job: Job) -> Result<Option<Job>, StoreError> {
    Ok(read(db, job.id)?.map(|(given, _)| {
        given.give_to(&mut job);
        job
    }))
}

/// Reads the row; returns it with the size of its text.
fn read(db: &Connection, id: JobId) -> Result<Option<(Given, usize)>, StoreError> {
    let key = id.0.as_bytes();
    let mut statement = db.prepare_cached("SELECT body FROM given WHERE job = ?1")?;
    let mut found = statement.query([key])?;
    if let Some(row) = found.next()? {
        let given = rows::decode(row, 0, &format!("part of job {id}"))?;
        return Ok(Some((given, row.get_ref(0)?.as_str().map_or(0, str::len))));
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
