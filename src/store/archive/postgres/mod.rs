//! An archive in PostgreSQL: partitions by the month, appends in batches, whole months let go.
//!
//! Nothing here waits for the server to be there: it is reached with the first call that needs it,
//! and a call that fails is the caller's to repeat.

mod append;
mod connect;
mod fitness;
mod links;
mod over;
mod put;
mod runs;
mod schema;
mod search;
mod segments;
mod values;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::OnceCell;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use self::append::{count, hash, int};
use self::connect::{Connections, Work};
use self::over::Looks;
use self::schema::Month;
use super::chain::Hasher;
use super::uri::Protection;
use super::{Archive, Day, Head, JobPage, JobSearch, Links, Record, kept_until};
use crate::base::{JobId, Timestamp};
use crate::domain::{Event, Job};
use crate::store::{FeedBatch, StoreError};

/// Connections that answer. What is written has one of its own.
const READING: usize = 5;
/// The longest that an answer takes.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest that an append or a change of tables takes.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest that a migration takes, which may go through all that is kept.
const MIGRATION_TIMEOUT: Duration = Duration::from_hours(24);
/// Months that are made ahead, so that none begins without its partitions.
const MONTHS_AHEAD: usize = 2;

/// The partitions that are known to be there.
#[derive(Debug, Default)]
struct Partitions {
    events: BTreeSet<Month>,
    jobs: BTreeSet<Month>,
}

/// An archive on a server.
#[derive(Debug)]
pub struct PostgresArchive {
    /// One, driven by the thread that writes: the export's.
    writing: Connections,
    reading: Connections,
    hasher: Hasher,
    migrated: OnceCell<()>,
    /// Somebody is at it: nobody else waits for that.
    is_migrating: AtomicBool,
    partitions: Mutex<Partitions>,
    looks: Arc<Looks>,
}

/// A migration under way, also one that is broken off.
struct Migrating<'a>(&'a AtomicBool);

impl<'a> Migrating<'a> {
    fn begin(flag: &'a AtomicBool) -> Self {
        flag.store(true, Ordering::Release);
        Self(flag)
    }
}

impl Drop for Migrating<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl PostgresArchive {
    /// Prepares the archive; no connection is made yet.
    ///
    /// Errors: `Corrupt` when the address, or a file that it names, cannot be read.
    pub fn new(uri: &str, protection: &Protection, hasher: Hasher) -> Result<Self, StoreError> {
        Ok(Self {
            writing: Connections::new(uri, protection, 1)?,
            reading: Connections::new(uri, protection, READING)?,
            hasher,
            migrated: OnceCell::new(),
            is_migrating: AtomicBool::new(false),
            partitions: Mutex::default(),
            looks: Arc::default(),
        })
    }

    /// Likewise, to be read only: its tables are as they are, and nothing makes them.
    ///
    /// Errors: as [`new`](Self::new).
    pub fn to_read(uri: &str, protection: &Protection, hasher: Hasher) -> Result<Self, StoreError> {
        Ok(Self {
            migrated: OnceCell::new_with(Some(())),
            ..Self::new(uri, protection, hasher)?
        })
    }

    /// Looks whether an orchestrator of this release could write there, and changes nothing. Returns what is
    /// in the way, if anything is.
    pub async fn obstacle(&self) -> Result<Option<String>, StoreError> {
        self.reading
            .call(READ_TIMEOUT, |client| Box::pin(fitness::look(client)))
            .await
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        if self.is_migrating.load(Ordering::Acquire) {
            let reason = "the history's tables are being changed for this release";
            return Err(StoreError::Unavailable(reason.to_owned()));
        }
        let migrated = self.migrated.get_or_try_init(|| async {
            let _migrating = Migrating::begin(&self.is_migrating);
            let newer = self
                .writing
                .call(MIGRATION_TIMEOUT, |client| {
                    Box::pin(schema::migrate(client))
                })
                .await?;
            match newer {
                None => Ok(()),
                Some(version) => Err(StoreError::Corrupt(format!(
                    "the history has schema version {version}, written by a newer release"
                ))),
            }
        });
        migrated.await.copied()
    }

    async fn read<T>(
        &self,
        work: impl for<'a> FnOnce(&'a mut deadpool_postgres::Client) -> Work<'a, T>,
    ) -> Result<T, StoreError> {
        self.migrate().await?;
        self.reading.call(READ_TIMEOUT, work).await
    }

    async fn rows(
        &self,
        sql: &'static str,
        params: Vec<Box<dyn ToSql + Sync + Send>>,
    ) -> Result<Vec<Row>, StoreError> {
        self.read(|client| {
            Box::pin(async move {
                let statement = client.prepare_cached(sql).await?;
                let params: Vec<&(dyn ToSql + Sync)> = params
                    .iter()
                    .map(|value| &**value as &(dyn ToSql + Sync))
                    .collect();
                client.query(&statement, &params).await
            })
        })
        .await
    }

    /// Makes the partitions that are not known to be there.
    async fn make_room(
        &self,
        events: BTreeSet<Month>,
        jobs: BTreeSet<Month>,
    ) -> Result<(), StoreError> {
        let missing = |wanted: &BTreeSet<Month>, known: &BTreeSet<Month>| {
            wanted.difference(known).copied().collect::<BTreeSet<_>>()
        };
        let (new_events, new_jobs) = {
            let known = self.known();
            (missing(&events, &known.events), missing(&jobs, &known.jobs))
        };
        if new_events.is_empty() && new_jobs.is_empty() {
            return Ok(());
        }
        self.migrate().await?;
        self.writing
            .call(WRITE_TIMEOUT, |client| {
                Box::pin(
                    async move { schema::make_partitions(client, &new_events, &new_jobs).await },
                )
            })
            .await?;
        let mut known = self.known();
        known.events.extend(events);
        known.jobs.extend(jobs);
        Ok(())
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Partitions> {
        self.partitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn append_now(&self, batch: Arc<FeedBatch>) -> Result<(), StoreError> {
        // Many are of one day, and what month that is in is asked once.
        let months = |days: BTreeSet<Day>| days.iter().map(|day| Month::of(day.begin())).collect();
        let events = batch.events.iter();
        let jobs = events.clone().map(|event| Day::of(event.job_id.made_at()));
        let jobs = months(jobs.collect());
        let events = months(events.map(|event| Day::of(event.at)).collect());
        self.make_room(events, jobs).await?;
        let hasher = self.hasher.clone();
        self.writing
            .write(WRITE_TIMEOUT, |client| {
                Box::pin(async move { append::append(client, hasher, &batch).await })
            })
            .await?
    }
}

fn corrupt(what: &str, error: &serde_json::Error) -> StoreError {
    StoreError::Corrupt(format!("a stored {what}: {error}"))
}

fn head(row: &Row, column: usize) -> Head {
    Head {
        number: count(row, column),
        hash: hash(row, column + 1),
    }
}

#[async_trait]
impl Archive for PostgresArchive {
    async fn append(&self, batch: Arc<FeedBatch>) -> Result<(), StoreError> {
        if batch.events.is_empty() {
            return Ok(());
        }
        let appended = self.append_now(batch).await;
        if appended.is_err() {
            // Another process may have let go of a month: look again with the next try.
            *self.known() = Partitions::default();
        }
        appended
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        let rows = self.rows(segments::RECORD, vec![Box::new(id.0)]).await?;
        segments::job(&rows, id)
    }

    async fn kept_until(
        &self,
        jobs: &[JobId],
    ) -> Result<Vec<(JobId, Option<Timestamp>)>, StoreError> {
        const SQL: &str = "SELECT id, summary FROM history_jobs
            WHERE id = ANY($1) AND ended_at IS NOT NULL";
        let ids: Vec<Uuid> = jobs.iter().map(|job| job.0).collect();
        let rows = self.rows(SQL, vec![Box::new(ids)]).await?;
        let until = |row: &Row| (JobId(row.get(0)), kept_until(row.get(1)));
        Ok(rows.iter().map(until).collect())
    }

    async fn by_job(
        &self,
        job: JobId,
        after: Option<(u64, u32)>,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        const SQL: &str = "SELECT body, revision, place FROM history_events
            WHERE job = $1 AND (last_revision, last_place) > ($2, $3)
            ORDER BY revision, place LIMIT $4";
        let (revision, place) = after.map_or((-1, 0), |(revision, place)| {
            (int(revision), i64::from(place))
        });
        let mut rows_max = i64::from(limit).saturating_add(1);
        let mut first = Vec::new();
        for row in &self.rows(segments::OF_JOB, vec![Box::new(job.0)]).await? {
            first.extend(segments::events(row, job)?);
        }
        loop {
            let params: Vec<Box<dyn ToSql + Sync + Send>> = vec![
                Box::new(job.0),
                Box::new(revision),
                Box::new(place),
                Box::new(rows_max),
            ];
            let rows = self.rows(SQL, params).await?;
            let mut events = first.clone();
            for row in &rows {
                events.extend(runs::events(row)?);
            }
            let place = |event: &Event| (event.revision, event.index);
            events.retain(|event| after.is_none_or(|after| place(event) > after));
            events.sort_by_key(place);
            // Runs may lie in each other's gaps. What comes behind the beginning of the last row that
            // was read may come behind something in a row that was not.
            let is_all = i64::try_from(rows.len()).unwrap_or(i64::MAX) < rows_max;
            if let (false, Some(last)) = (is_all, rows.last()) {
                let (revision, place) = (count(last, 1), count(last, 2));
                events
                    .retain(|event| (event.revision, u64::from(event.index)) <= (revision, place));
            }
            if is_all || events.len() >= limit as usize {
                events.truncate(limit as usize);
                return Ok(events);
            }
            rows_max = rows_max.saturating_mul(2);
        }
    }

    async fn search(&self, search: JobSearch) -> Result<JobPage, StoreError> {
        self.read(|client| Box::pin(async move { search::search(client, &search).await }))
            .await
    }

    async fn links(&self, of: Links, after: u64, limit: u32) -> Result<Vec<Record>, StoreError> {
        let mut records = match of {
            Links::Job(id) => self.links_of_job(id, after, limit).await?,
            Links::Day(day) => self.links_of_day(day, after, limit).await?,
        };
        records.truncate(limit as usize);
        Ok(records)
    }

    async fn days(&self) -> Result<Vec<(Day, Head)>, StoreError> {
        const SQL: &str = "SELECT day, number, hash FROM history_days ORDER BY day";
        let rows = self.rows(SQL, Vec::new()).await?;
        Ok(rows
            .iter()
            .map(|row| (Day(row.get(0)), head(row, 1)))
            .collect())
    }

    async fn head(&self, job: JobId) -> Result<Option<Head>, StoreError> {
        const SQL: &str = "SELECT number, hash FROM history_jobs WHERE id = $1";
        let rows = self.rows(SQL, vec![Box::new(job.0)]).await?;
        Ok(rows.first().map(|row| head(row, 0)))
    }

    async fn kept_from(&self) -> Result<Option<Day>, StoreError> {
        const SQL: &str = "SELECT value::integer FROM history_facts WHERE name = 'kept_from'";
        let rows = self.rows(SQL, Vec::new()).await?;
        Ok(rows.first().map(|row| Day(row.get(0))))
    }

    async fn upkeep(&self, now: Timestamp, retention: Option<Duration>) -> Result<(), StoreError> {
        self.migrate().await?;
        let first = Month::of(now);
        let ahead: BTreeSet<Month> = std::iter::successors(Some(first), |month| Some(month.next()))
            .take(MONTHS_AHEAD + 1)
            .collect();
        self.make_room(ahead.clone(), ahead).await?;
        let Some(retention) = retention else {
            return Ok(());
        };
        let ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        // Whole months: what is told of a month is told of all of it.
        let before = Month::of(Timestamp(now.0.saturating_sub(ms))).begin();
        let looks = Arc::clone(&self.looks);
        let dropped = self
            .writing
            .call(WRITE_TIMEOUT, |client| {
                Box::pin(async move {
                    schema::note_kept_from(client, Day::of(before)).await?;
                    schema::drop_partitions(client, &looks, before).await
                })
            })
            .await?;
        if dropped > 0 {
            *self.known() = Partitions::default();
            tracing::info!(months = dropped, %before, "history older than its retention has gone");
        }
        Ok(())
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.rows("SELECT 1", Vec::new()).await.map(drop)
    }

    async fn close(&self) {
        self.writing.close();
        self.reading.close();
    }
}
