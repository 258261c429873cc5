//! Tasks as rows. The body is the task; the columns follow from it and are written with it.

use std::sync::Arc;

use rusqlite::{Connection, Params, params};

use super::resident::Transaction;
use super::rows::{self, int};
use crate::base::{JobId, TaskId, Timestamp, WorkerId};
use crate::domain::{Lease, Task, TaskStatus};
use crate::store::{StoreError, rules};

/// Returns the status as the column has it.
pub(super) const fn status_text(status: TaskStatus) -> &'static str {
    match status {
        TaskStatus::Held => "held",
        TaskStatus::Queued => "queued",
        TaskStatus::Leased => "leased",
        TaskStatus::Ended => "ended",
    }
}

/// Returns who holds the task, as the column has it.
fn holder(task: &Task) -> Option<&str> {
    match (task.status, &task.lease) {
        (TaskStatus::Leased, Some(lease)) => Some(lease.worker.as_str()),
        _ => None,
    }
}

/// Stores a new task, or all of one again.
pub(super) fn insert(db: &Transaction<'_>, task: &Task, body: &str) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO tasks
         (id, job, visit, branch, ordinal, status, due_at, available_at, worker, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(params![
        task.id.as_str(),
        task.job_id.0.as_bytes(),
        int(task.visit),
        task.branch,
        task.ordinal,
        status_text(task.status),
        task.due_at().map(|at| at.0),
        task.available_at.0,
        holder(task),
        body,
    ])?;
    db.wrote_task(Arc::new(task.clone()), body.len());
    Ok(())
}

/// Stores what can change of a task that is there.
pub(super) fn update(db: &Transaction<'_>, task: Arc<Task>) -> Result<(), StoreError> {
    let body = rows::encode(&task)?;
    db.prepare_cached(
        "UPDATE tasks SET status = ?2, due_at = ?3, available_at = ?4, worker = ?5, body = ?6
         WHERE id = ?1",
    )?
    .execute(params![
        task.id.as_str(),
        status_text(task.status),
        task.due_at().map(|at| at.0),
        task.available_at.0,
        holder(&task),
        body,
    ])?;
    db.wrote_task(task, body.len());
    Ok(())
}

/// Returns the task, from memory if it can be.
pub(super) fn load(db: &Transaction<'_>, id: &TaskId) -> Result<Option<Arc<Task>>, StoreError> {
    if let Some(task) = db.known_task(id) {
        return Ok(Some(task));
    }
    Ok(read(db, id)?.map(Arc::new))
}

/// Returns the task from the file.
pub(super) fn read(db: &Connection, id: &TaskId) -> Result<Option<Task>, StoreError> {
    Ok(find(db, "SELECT body FROM tasks WHERE id = ?1", [id.as_str()])?.pop())
}

/// Returns the tasks whose bodies a query finds, in its order.
pub(super) fn find(
    db: &Connection,
    sql: &str,
    params: impl Params,
) -> Result<Vec<Task>, StoreError> {
    let mut statement = db.prepare_cached(sql)?;
    let mut found = statement.query(params)?;
    let mut tasks = Vec::new();
    while let Some(row) = found.next()? {
        tasks.push(rows::decode(row, 0, "task")?);
    }
    Ok(tasks)
}

/// Changes a task; returns it when the change says that it has changed it.
pub(super) fn change(
    db: &Transaction<'_>,
    id: &TaskId,
    change: impl FnOnce(&mut Task) -> bool,
) -> Result<Option<Arc<Task>>, StoreError> {
    let Some(mut task) = load(db, id)?.map(Arc::unwrap_or_clone) else {
        return Ok(None);
    };
    if !change(&mut task) {
        return Ok(None);
    }
    let task = Arc::new(task);
    update(db, Arc::clone(&task))?;
    Ok(Some(task))
}

/// Gives a queued task to a worker.
pub(super) fn lease(
    db: &Transaction<'_>,
    id: &TaskId,
    lease: &Lease,
) -> Result<Option<Arc<Task>>, StoreError> {
    change(db, id, |task| rules::lease_task(task, lease.clone()))
}

/// Puts off the end of a worker's leases; returns those that it does hold.
pub(super) fn extend(
    db: &Transaction<'_>,
    worker: &WorkerId,
    tasks: &[TaskId],
    until: Timestamp,
) -> Result<Vec<TaskId>, StoreError> {
    let mut held = Vec::with_capacity(tasks.len());
    for id in tasks {
        if change(db, id, |task| rules::extend_lease(task, worker, until))?.is_some() {
            held.push(id.clone());
        }
    }
    Ok(held)
}

/// Returns the held tasks of some branches of a visit, in branch order.
pub(super) fn held_branches(
    db: &Connection,
    job: JobId,
    visit: u64,
    branches: &std::ops::Range<u32>,
) -> Result<Vec<Task>, StoreError> {
    find(
        db,
        "SELECT body FROM tasks
         WHERE job = ?1 AND visit = ?2 AND branch >= ?3 AND branch < ?4 AND status = 'held'
         ORDER BY branch, ordinal, id",
        params![job.0.as_bytes(), int(visit), branches.start, branches.end],
    )
}

/// Returns the tasks of a visit that have not ended, in branch order.
pub(super) fn open_of_visit(
    db: &Connection,
    job: JobId,
    visit: u64,
) -> Result<Vec<Task>, StoreError> {
    find(
        db,
        "SELECT body FROM tasks WHERE job = ?1 AND visit = ?2 AND status <> 'ended'
         ORDER BY branch, ordinal, id",
        params![job.0.as_bytes(), int(visit)],
    )
}

/// Returns the tasks of a job that have not ended, those that are held last.
pub(super) fn open_of_job(
    db: &Connection,
    job: JobId,
    limit: u32,
) -> Result<Vec<Task>, StoreError> {
    find(
        db,
        "SELECT body FROM tasks WHERE job = ?1 AND status <> 'ended'
         ORDER BY status = 'held', visit, branch, ordinal, id LIMIT ?2",
        params![job.0.as_bytes(), limit],
    )
}

/// Returns the latest attempts of a visit's branches.
pub(super) fn branches(db: &Connection, job: JobId, visit: u64) -> Result<Vec<Task>, StoreError> {
    let attempts = find(
        db,
        "SELECT body FROM tasks WHERE job = ?1 AND visit = ?2 AND branch IS NOT NULL
         ORDER BY branch, ordinal",
        params![job.0.as_bytes(), int(visit)],
    )?;
    Ok(rules::latest_branches(attempts))
}
