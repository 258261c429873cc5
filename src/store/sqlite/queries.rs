//! What is asked of jobs: what is due, listings, counts, keys, data stores.

use std::collections::BTreeMap;

use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};

use super::{given, rows};
use crate::base::{ClientId, JobId, Timestamp};
use crate::domain::{Job, JobStatus, Task};
use crate::engine::DataStores;
use crate::store::{Due, JobQuery, KnownKey, StoreError};

/// Returns the job, but for what it was given.
pub(super) fn load_bare(db: &Connection, id: JobId) -> Result<Option<Job>, StoreError> {
    let mut statement = db.prepare_cached("SELECT body FROM jobs WHERE id = ?1")?;
    let mut found = statement.query([id.0.as_bytes()])?;
    match found.next()? {
        Some(row) => rows::decode(row, 0, &format!("job {id}")).map(Some),
        None => Ok(None),
    }
}

/// Returns the job.
pub(super) fn load(db: &Connection, id: JobId) -> Result<Option<Job>, StoreError> {
    match load_bare(db, id)? {
        Some(job) => given::complete(db, job),
        None => Ok(None),
    }
}

/// Returns what is due, and when the next is.
pub(super) fn due(db: &Connection, now: Timestamp, limit: u32) -> Result<Due, StoreError> {
    let (jobs, next_job) = due_jobs(db, now, limit)?;
    let (tasks, next_task) = due_tasks(db, now, limit)?;
    Ok(Due {
        jobs,
        tasks,
        next: next_job.into_iter().chain(next_task).min(),
    })
}

/// One row more than asked for tells when the next is due.
fn due_jobs(
    db: &Connection,
    now: Timestamp,
    limit: u32,
) -> Result<(Vec<JobId>, Option<Timestamp>), StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT wake_at, id FROM jobs WHERE wake_at IS NOT NULL ORDER BY wake_at, id LIMIT ?1 + 1",
    )?;
    let mut found = statement.query([limit])?;
    let mut jobs = Vec::new();
    while let Some(row) = found.next()? {
        let at = Timestamp(row.get(0)?);
        if at > now || jobs.len() >= limit as usize {
            return Ok((jobs, Some(at)));
        }
        jobs.push(rows::job_id(row, 1)?);
    }
    Ok((jobs, None))
}

fn due_tasks(
    db: &Connection,
    now: Timestamp,
    limit: u32,
) -> Result<(Vec<Task>, Option<Timestamp>), StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT due_at, body FROM tasks WHERE due_at IS NOT NULL ORDER BY due_at, id",
    )?;
    let mut found = statement.query([])?;
    let mut tasks = Vec::new();
    // By what can be read: the rest hides nothing behind it.
    while let Some(row) = found.next()? {
        let at = Timestamp(row.get(0)?);
        if at > now || tasks.len() >= limit as usize {
            return Ok((tasks, Some(at)));
        }
        tasks.extend(rows::decode_or_leave::<Task>(row, 1, "task")?);
    }
    Ok((tasks, None))
}

/// Lists jobs, newest first: their ids begin with the time of their creation.
pub(super) fn list(db: &Connection, query: &JobQuery) -> Result<Vec<Job>, StoreError> {
    let (sql, values) = list_sql(query);
    let mut statement = db.prepare_cached(&sql)?;
    let mut found = statement.query(params_from_iter(values))?;
    let mut jobs = Vec::new();
    while let Some(row) = found.next()? {
        jobs.extend(given::complete(db, rows::decode(row, 0, "job")?)?);
    }
    Ok(jobs)
}

fn list_sql(query: &JobQuery) -> (String, Vec<Value>) {
    let mut labels = query.labels.iter();
    let mut sql = "SELECT jobs.body FROM jobs WHERE 1".to_owned();
    let mut id = "jobs.id";
    let mut values: Vec<Value> = Vec::new();
    if let Some((name, value)) = labels.next() {
        // A label's own index has the jobs in order; without the join every job would be looked at.
        "SELECT jobs.body FROM labels CROSS JOIN jobs ON jobs.id = labels.job
         WHERE labels.name = ? AND labels.value = ?"
            .clone_into(&mut sql);
        id = "labels.job";
        values.extend([Value::Text(name.clone()), Value::Text(value.clone())]);
    }
    let mut filter = |clause: &str, value: Value| {
        sql.push_str(clause);
        values.push(value);
    };
    for (name, value) in labels {
        filter(
            " AND EXISTS (SELECT 1 FROM labels AS more WHERE more.job = jobs.id AND more.name = ?",
            Value::Text(name.clone()),
        );
        filter(" AND more.value = ?)", Value::Text(value.clone()));
    }
    if let Some(client) = &query.client {
        filter(" AND client = ?", Value::Text(client.to_string()));
    }
    if let Some(blueprint) = &query.blueprint {
        filter(" AND blueprint = ?", Value::Text(blueprint.clone()));
    }
    if let Some(from) = query.created_from {
        filter(" AND created_at >= ?", Value::Integer(from.0));
    }
    if let Some(to) = query.created_to {
        filter(" AND created_at < ?", Value::Integer(to.0));
    }
    if let Some(after) = query.after {
        filter(
            &format!(" AND {id} < ?"),
            Value::Blob(after.0.as_bytes().to_vec()),
        );
    }
    for (index, status) in query.statuses.iter().enumerate() {
        let clause = if index == 0 {
            " AND status IN (?"
        } else {
            ", ?"
        };
        filter(clause, Value::Text(status.as_str().to_owned()));
    }
    let end = if query.statuses.is_empty() { "" } else { ")" };
    filter(
        &format!("{end} ORDER BY {id} DESC LIMIT ?"),
        Value::Integer(query.limit.into()),
    );
    filter(" OFFSET ?", Value::Integer(query.skip.into()));
    (sql, values)
}

/// Counts jobs by status, from an index alone.
pub(super) fn counts(
    db: &Connection,
    client: Option<&ClientId>,
) -> Result<BTreeMap<JobStatus, u64>, StoreError> {
    let sql = match client {
        Some(_) => {
            "SELECT status, count(*) FROM jobs INDEXED BY jobs_status WHERE client = ?1
             GROUP BY status"
        }
        None => "SELECT status, count(*) FROM jobs GROUP BY status",
    };
    let mut statement = db.prepare_cached(sql)?;
    let mut found = statement.query(params_from_iter(client.map(ClientId::as_str)))?;
    let mut counts = BTreeMap::new();
    while let Some(row) = found.next()? {
        let text: String = row.get(0)?;
        let status = JobStatus::parse(&text)
            .ok_or_else(|| StoreError::Corrupt(format!("a job has the status `{text}`")))?;
        counts.insert(status, u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0));
    }
    Ok(counts)
}

/// Returns what a client's key stands for, unless it is past its time.
pub(super) fn find_key(
    db: &Connection,
    client: &str,
    key: &str,
    now: Timestamp,
) -> Result<Option<KnownKey>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT job, fingerprint FROM idempotency_keys
         WHERE client = ?1 AND name = ?2 AND until > ?3",
    )?;
    let mut found = statement.query(params![client, key, now.0])?;
    match found.next()? {
        Some(row) => Ok(Some(KnownKey {
            job_id: rows::job_id(row, 0)?,
            fingerprint: row.get(1)?,
        })),
        None => Ok(None),
    }
}

/// Returns a blueprint's data stores, keys in order.
pub(super) fn data_stores(db: &Connection, blueprint: &str) -> Result<DataStores, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT store, name, value FROM data_stores WHERE blueprint = ?1 ORDER BY store, name",
    )?;
    let mut found = statement.query([blueprint])?;
    let mut stores = DataStores::new();
    while let Some(row) = found.next()? {
        let values = stores.entry(row.get(0)?).or_default();
        values.insert(row.get(1)?, rows::decode(row, 2, "value")?);
    }
    Ok(stores)
}

/// Returns queued tasks in id order, after an id.
pub(super) fn queued(
    db: &Connection,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<Task>, StoreError> {
    let mut statement = db
        .prepare_cached("SELECT body FROM tasks WHERE status = 'queued' AND id > ?1 ORDER BY id")?;
    let mut found = statement.query(params![after.unwrap_or_default()])?;
    let mut tasks = Vec::new();
    // By what can be read: the rest hides nothing behind it.
    while tasks.len() < limit as usize
        && let Some(row) = found.next()?
    {
        tasks.extend(rows::decode_or_leave::<Task>(row, 0, "task")?);
    }
    Ok(tasks)
}
