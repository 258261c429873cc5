//! An archive in a SQLite file: for one orchestrator that wants its history kept longer than its
//! jobs, and searchable, without a server.

mod append;
mod search;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::lock::FileLock;
use super::readers::Readers;
use super::rows::{self, first, int};
use super::{SqliteSettings, Synchronous, schema};
use crate::base::{JobId, Timestamp};
use crate::domain::{Event, Job};
use crate::store::archive::chain::Hasher;
use crate::store::archive::{
    Archive, Day, DayBefore, Hash, Head, JobPage, JobSearch, JobSummary, Links, Record, kept_until,
    words,
};
use crate::store::{FeedBatch, StoreError};

const MIGRATIONS: &[&str] = &[include_str!("schema_1.sql"), include_str!("schema_2.sql")];

/// Marks the file as an archive of ours, `AVTH`.
const APPLICATION_ID: i32 = 0x4156_5448;

/// Rows that one step of an upkeep deletes.
const UPKEEP_ROWS: u32 = 500;

/// An archive in a file.
#[derive(Debug)]
pub struct SqliteArchive {
    /// One connection, which writes.
    writer: Readers,
    readers: Readers,
    hasher: Hasher,
    lock: Mutex<Option<FileLock>>,
}

impl SqliteArchive {
    /// Opens the file, making or migrating it as needed. Blocks; called once, at the start.
    ///
    /// Errors: `Unavailable` when it cannot be opened or another process writes it; `Corrupt` when
    /// it is no archive or a newer version's.
    pub fn open(path: &Path, hasher: Hasher) -> Result<Self, StoreError> {
        let lock = FileLock::take(path)?;
        let mut db = schema::connect(path, Synchronous::Full)?;
        let known: i32 = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let tables: Option<i64> = first(&db, "SELECT count(*) FROM sqlite_schema", [])?;
        if known != APPLICATION_ID && tables != Some(0) {
            return Err(StoreError::Corrupt(format!(
                "{} is no history of this program's: give a file that does not exist yet",
                path.display()
            )));
        }
        schema::migrate_with(&mut db, path, (MIGRATIONS, APPLICATION_ID))?;
        let settings = SqliteSettings::default();
        Ok(Self {
            writer: Readers::of(vec![db], settings.call_timeout),
            readers: Readers::open(path, &settings)?,
            hasher,
            lock: Mutex::new(Some(lock)),
        })
    }

    /// Opens the file to be read while an orchestrator may be writing it. Blocks.
    ///
    /// Errors: as [`open`](Self::open); and `Unavailable` when there is no such file.
    pub fn open_to_read(path: &Path, hasher: Hasher) -> Result<Self, StoreError> {
        if !path.is_file() {
            return Err(StoreError::Unavailable(format!(
                "{} does not exist",
                path.display()
            )));
        }
        let settings = SqliteSettings::default();
        let db = schema::connect_reader(path)?;
        let known: i32 = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
        if known != APPLICATION_ID {
            return Err(StoreError::Corrupt(format!(
                "{} is no history of this program's",
                path.display()
            )));
        }
        Ok(Self {
            writer: Readers::of(vec![db], settings.call_timeout),
            readers: Readers::open(path, &settings)?,
            hasher,
            lock: Mutex::new(None),
        })
    }

    /// Deletes some of what is older than the day; tells whether there may be more.
    async fn forget_some(&self, before: Day) -> Result<bool, StoreError> {
        self.writer
            .call(move |db| {
                let transaction = db.unchecked_transaction()?;
                let more = forget(db, before)?;
                transaction.commit()?;
                Ok(more)
            })
            .await
    }
}

fn forget(db: &Connection, before: Day) -> Result<bool, StoreError> {
    db.prepare_cached(
        "INSERT INTO facts (name, value) VALUES ('kept_from', ?1)
         ON CONFLICT DO UPDATE SET value = max(value, excluded.value)",
    )?
    .execute([before.0])?;
    let events = db
        .prepare_cached(
            "DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE day < ?1 LIMIT ?2)",
        )?
        .execute(params![before.0, UPKEEP_ROWS])?;
    db.prepare_cached("DELETE FROM days WHERE day < ?1")?
        .execute([before.0])?;
    let mut over = db.prepare_cached(
        "SELECT id, client, summary FROM jobs
         WHERE ended_at < ?1 AND last_at < ?1 ORDER BY ended_at, id LIMIT ?2",
    )?;
    let mut found = over.query(params![before.begin().0, UPKEEP_ROWS])?;
    let mut jobs = 0;
    while let Some(row) = found.next()? {
        let (id, client): (Vec<u8>, String) = (row.get(0)?, row.get(1)?);
        // The words of one that cannot be read stay behind, and find nothing.
        let summary: Option<JobSummary> = rows::decode_or_leave(row, 2, "summary")?;
        for term in summary.iter().flat_map(words::terms) {
            db.prepare_cached("DELETE FROM terms WHERE client = ?1 AND term = ?2 AND job = ?3")?
                .execute(params![client, term, id])?;
        }
        for sql in [
            "DELETE FROM bodies WHERE job = ?1",
            "DELETE FROM jobs WHERE id = ?1",
        ] {
            db.prepare_cached(sql)?.execute([&id])?;
        }
        jobs += 1;
    }
    Ok(events.max(jobs) == UPKEEP_ROWS as usize)
}

fn record(row: &Row<'_>) -> Result<Record, StoreError> {
    let number = |name: &str| -> rusqlite::Result<u64> {
        let number: Option<i64> = row.get(name)?;
        Ok(number.map_or(0, |number| u64::try_from(number).unwrap_or(0)))
    };
    let columns = row.as_ref();
    // A file that no orchestrator has opened since the version before has no such columns.
    let day_before: Option<i32> = match columns.column_index("before_day") {
        Ok(column) => row.get(column)?,
        Err(_) => None,
    };
    let day_before = match day_before {
        Some(day) => Some(DayBefore {
            day: Day(day),
            number: number("before_number")?,
        }),
        None => None,
    };
    Ok(Record {
        event: rows::decode(row, columns.column_index("body")?, "event")?,
        job_number: number("job_number")?,
        day: Day(row.get("day")?),
        day_number: number("day_number")?,
        previous_in_job: Hash(row.get("previous_in_job")?),
        previous_in_day: Hash(row.get("previous_in_day")?),
        day_before,
        hash: Hash(row.get("hash")?),
    })
}

fn links(db: &Connection, of: Links, after: u64, limit: u32) -> Result<Vec<Record>, StoreError> {
    let (chain, key) = match of {
        Links::Job(id) => (
            "job = ?1 AND job_number > ?2 ORDER BY job_number",
            rusqlite::types::Value::Blob(id.0.as_bytes().to_vec()),
        ),
        Links::Day(day) => (
            "day = ?1 AND day_number > ?2 ORDER BY day_number",
            i64::from(day.0).into(),
        ),
    };
    let mut statement =
        db.prepare_cached(&format!("SELECT * FROM events WHERE {chain} LIMIT ?3"))?;
    let mut found = statement.query(params![key, int(after), limit])?;
    let mut all = Vec::new();
    while let Some(row) = found.next()? {
        all.push(record(row)?);
    }
    Ok(all)
}

fn by_job(
    db: &Connection,
    job: JobId,
    after: Option<(u64, u32)>,
    limit: u32,
) -> Result<Vec<Event>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT body FROM events WHERE job = ?1 AND (revision, place) > (?2, ?3)
         ORDER BY revision, place LIMIT ?4",
    )?;
    let (revision, place) = after.map_or((-1, 0), |(revision, place)| (int(revision), place));
    let mut found = statement.query(params![job.0.as_bytes(), revision, place, limit])?;
    let mut all = Vec::new();
    while let Some(row) = found.next()? {
        all.push(rows::decode(row, 0, "event")?);
    }
    Ok(all)
}

#[async_trait]
impl Archive for SqliteArchive {
    async fn append(&self, batch: Arc<FeedBatch>) -> Result<(), StoreError> {
        let hasher = self.hasher.clone();
        self.writer
            .call(move |db| append::append(db, hasher, &batch))
            .await
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        const SQL: &str = "SELECT body FROM bodies WHERE job = ?1";
        let body: Option<String> = self
            .readers
            .call(move |db| first(db, SQL, [id.0.as_bytes()]))
            .await?;
        body.map(|text| rows::decode_text(&text, &format!("job {id}")))
            .transpose()
    }

    async fn kept_until(
        &self,
        jobs: &[JobId],
    ) -> Result<Vec<(JobId, Option<Timestamp>)>, StoreError> {
        const SQL: &str = "SELECT summary FROM jobs WHERE id = ?1 AND ended_at IS NOT NULL";
        let jobs = jobs.to_vec();
        self.readers
            .call(move |db| {
                let mut all = Vec::new();
                for id in jobs {
                    let summary: Option<String> = first(db, SQL, [id.0.as_bytes()])?;
                    all.extend(summary.map(|text| (id, kept_until(&text))));
                }
                Ok(all)
            })
            .await
    }

    async fn by_job(
        &self,
        job: JobId,
        after: Option<(u64, u32)>,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        self.readers
            .call(move |db| by_job(db, job, after, limit))
            .await
    }

    async fn search(&self, search: JobSearch) -> Result<JobPage, StoreError> {
        self.readers
            .call(move |db| search::search(db, &search))
            .await
    }

    async fn links(&self, of: Links, after: u64, limit: u32) -> Result<Vec<Record>, StoreError> {
        self.readers
            .call(move |db| links(db, of, after, limit))
            .await
    }

    async fn days(&self) -> Result<Vec<(Day, Head)>, StoreError> {
        self.readers
            .call(|db| {
                let mut all =
                    db.prepare_cached("SELECT day, number, hash FROM days ORDER BY day")?;
                let days =
                    all.query_map([], |row| Ok((Day(row.get(0)?), append::head(row, 1)?)))?;
                Ok(days.collect::<Result<_, _>>()?)
            })
            .await
    }

    async fn head(&self, job: JobId) -> Result<Option<Head>, StoreError> {
        self.readers
            .call(move |db| {
                let mut one = db.prepare_cached("SELECT number, hash FROM jobs WHERE id = ?1")?;
                let mut found = one.query([job.0.as_bytes()])?;
                Ok(match found.next()? {
                    Some(row) => Some(append::head(row, 0)?),
                    None => None,
                })
            })
            .await
    }

    async fn kept_from(&self) -> Result<Option<Day>, StoreError> {
        const SQL: &str = "SELECT value FROM facts WHERE name = 'kept_from'";
        let day: Option<i32> = self.readers.call(|db| first(db, SQL, [])).await?;
        Ok(day.map(Day))
    }

    async fn upkeep(&self, now: Timestamp, retention: Option<Duration>) -> Result<(), StoreError> {
        let Some(retention) = retention else {
            return Ok(());
        };
        let ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        let before = Day::of(Timestamp(now.0.saturating_sub(ms)));
        while self.forget_some(before).await? {}
        Ok(())
    }

    async fn health(&self) -> Result<(), StoreError> {
        const SQL: &str = "SELECT 1 FROM days LIMIT 1";
        self.readers.call(|db| first::<i64>(db, SQL, [])).await?;
        Ok(())
    }

    async fn close(&self) {
        self.writer.stop().await;
        self.readers.stop().await;
        drop(
            self.lock
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
    }
}
