//! Appending to an archive file: one batch, one transaction.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, params};

use crate::base::JobId;
use crate::store::archive::chain::{Days, Hasher, Linked};
use crate::store::archive::plan::{self, JobRow, Known, Plan};
use crate::store::archive::{Day, Hash, Head};
use crate::store::sqlite::rows::{self, first, int};
use crate::store::{FeedBatch, StoreError};

/// Stores all of the batch that is new.
pub(super) fn append(db: &Connection, hasher: Hasher, batch: &FeedBatch) -> Result<(), StoreError> {
    let transaction = db.unchecked_transaction()?;
    let (ids, days) = plan::touched(batch);
    let known = known(db, &ids)?;
    let repeated = repeated(db, batch, &known)?;
    let heads = heads(db, &days)?;
    let before = before(db, &plan::beginning(&days, &heads))?;
    let days = Days { heads, before };
    let plan = plan::plan(batch, hasher, (&known, days), &repeated)?;
    write(db, &plan)?;
    transaction.commit()?;
    Ok(())
}

fn write(db: &Connection, plan: &Plan<'_>) -> Result<(), StoreError> {
    for event in &plan.events {
        put_event(db, event)?;
    }
    for (day, head) in &plan.days {
        db.prepare_cached("INSERT OR REPLACE INTO days (day, number, hash) VALUES (?1, ?2, ?3)")?
            .execute(params![day.0, int(head.number), head.hash.0])?;
    }
    for job in &plan.jobs {
        put_job(db, job)?;
    }
    Ok(())
}

/// Reads a chain's end from two columns.
pub(super) fn head(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Head> {
    let number: i64 = row.get(column)?;
    Ok(Head {
        number: u64::try_from(number).unwrap_or(0),
        hash: Hash(row.get(column + 1)?),
    })
}

fn known(db: &Connection, ids: &BTreeSet<JobId>) -> Result<BTreeMap<JobId, Known>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT revision, number, hash, last_revision, last_place,
             CASE WHEN ended_at IS NOT NULL THEN summary END
         FROM jobs WHERE id = ?1",
    )?;
    let mut all = BTreeMap::new();
    for id in ids {
        let mut found = statement.query([id.0.as_bytes()])?;
        if let Some(row) = found.next()? {
            let (revision, last): (i64, i64) = (row.get(0)?, row.get(3)?);
            let known = Known {
                revision: u64::try_from(revision).unwrap_or(0),
                head: head(row, 1)?,
                last: (u64::try_from(last).unwrap_or(0), row.get(4)?),
                // One that cannot be read leaves words behind by which the job is found needlessly.
                ended: match row.get_ref(5)? {
                    ValueRef::Null => None,
                    _ => rows::decode_or_leave(row, 5, "summary")?,
                },
            };
            all.insert(*id, known);
        }
    }
    Ok(all)
}

fn repeated(
    db: &Connection,
    batch: &FeedBatch,
    known: &BTreeMap<JobId, Known>,
) -> Result<BTreeSet<(JobId, u64, u32)>, StoreError> {
    const SQL: &str =
        "SELECT 1 FROM events WHERE job = ?1 AND revision = ?2 AND place = ?3 LIMIT 1";
    let mut all = BTreeSet::new();
    for event in plan::doubtful(batch, known) {
        let place = params![event.job_id.0.as_bytes(), int(event.revision), event.index];
        if first::<i64>(db, SQL, place)?.is_some() {
            all.insert((event.job_id, event.revision, event.index));
        }
    }
    Ok(all)
}

fn heads(db: &Connection, days: &BTreeSet<Day>) -> Result<BTreeMap<Day, Head>, StoreError> {
    let mut statement = db.prepare_cached("SELECT number, hash FROM days WHERE day = ?1")?;
    let mut all = BTreeMap::new();
    for day in days {
        let mut found = statement.query([day.0])?;
        if let Some(row) = found.next()? {
            all.insert(*day, head(row, 0)?);
        }
    }
    Ok(all)
}

/// Reads the latest earlier day of each of these, nearly always of none: a day begins once.
fn before(db: &Connection, days: &BTreeSet<Day>) -> Result<BTreeMap<Day, (Day, Head)>, StoreError> {
    let mut all = BTreeMap::new();
    for day in days {
        let mut statement = db.prepare_cached(
            "SELECT day, number, hash FROM days WHERE day < ?1 ORDER BY day DESC LIMIT 1",
        )?;
        let mut found = statement.query([day.0])?;
        if let Some(row) = found.next()? {
            all.insert(*day, (Day(row.get(0)?), head(row, 1)?));
        }
    }
    Ok(all)
}

fn put_event(db: &Connection, linked: &Linked<'_>) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO events (job, job_number, revision, place, day, day_number,
             previous_in_job, previous_in_day, hash, body, before_day, before_number)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?
    .execute(params![
        linked.event.job_id.0.as_bytes(),
        int(linked.job.number),
        int(linked.event.revision),
        linked.event.index,
        linked.day.0,
        int(linked.on_day.number),
        linked.previous_in_job.0,
        linked.previous_in_day.0,
        linked.job.hash.0,
        linked.event.as_str(),
        linked.day_before.map(|before| before.day.0),
        linked.day_before.map(|before| int(before.number)),
    ])?;
    Ok(())
}

fn put_job(db: &Connection, row: &JobRow<'_>) -> Result<(), StoreError> {
    let id = row.summary.id.0.as_bytes();
    if !row.is_newer {
        db.prepare_cached(
            "UPDATE jobs SET number = ?2, hash = ?3, last_revision = ?4, last_place = ?5,
             last_at = max(last_at, ?6) WHERE id = ?1",
        )?
        .execute(params![
            id,
            int(row.head.number),
            row.head.hash.0,
            int(row.last.0),
            row.last.1,
            row.last_at.0,
        ])?;
        return Ok(());
    }
    let job = &row.summary;
    db.prepare_cached(
        "INSERT INTO jobs (id, client, blueprint, status, created_at, ended_at, last_at, revision,
             number, hash, last_revision, last_place, summary)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
         ON CONFLICT (id) DO UPDATE SET
             blueprint = excluded.blueprint, status = excluded.status,
             created_at = excluded.created_at, ended_at = excluded.ended_at,
             last_at = max(last_at, excluded.last_at), revision = excluded.revision,
             number = excluded.number, hash = excluded.hash,
             last_revision = excluded.last_revision, last_place = excluded.last_place,
             summary = excluded.summary",
    )?
    .execute(params![
        id,
        job.client.as_str(),
        job.blueprint,
        job.status.as_str(),
        job.created_at.0,
        job.ended_at.map(|at| at.0),
        row.last_at.0,
        int(row.revision),
        int(row.head.number),
        row.head.hash.0,
        int(row.last.0),
        row.last.1,
        row.summary_body(),
    ])?;
    match &row.body {
        Some(body) => {
            db.prepare_cached("INSERT OR REPLACE INTO bodies (job, body) VALUES (?1, ?2)")?
                .execute(params![id, body.as_str()])?;
        }
        None => {
            db.prepare_cached("DELETE FROM bodies WHERE job = ?1")?
                .execute([id])?;
        }
    }
    let client = job.client.as_str();
    for term in &row.stale_terms {
        db.prepare_cached("DELETE FROM terms WHERE client = ?1 AND term = ?2 AND job = ?3")?
            .execute(params![client, term, id])?;
    }
    for term in &row.new_terms {
        db.prepare_cached("INSERT OR IGNORE INTO terms (client, term, job) VALUES (?1, ?2, ?3)")?
            .execute(params![client, term, id])?;
    }
    Ok(())
}
