//! Tables and partitions: made by whoever comes first, under a lock that all know.

use std::collections::BTreeSet;

use deadpool_postgres::{Client, GenericClient, Transaction};
use jiff::civil::{Date, date};
use tokio_postgres::Error;

use super::over::{Looking, Looks};
use crate::base::Timestamp;
use crate::store::archive::{Day, id_from};

/// What brings a database from one version to the next. A migration that has been released is never
/// changed.
const MIGRATIONS: &[&str] = &[
    include_str!("schema_1.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
];

/// Held while tables change. The number stands for nothing but itself.
const SCHEMA_LOCK: i64 = 0x6176_746f_6869_7301;

/// The longest wait for the lock of a table that is to go.
const DROP_LOCK_TIMEOUT: &str = "1s";

/// Tables whose partitions are ranges of time.
const BY_TIME: [&str; 3] = ["history_events", "history_segments", "history_records"];
/// Tables whose partitions are ranges of ids.
const BY_ID: [&str; 3] = ["history_jobs", "history_bodies", "history_terms"];

/// A month of the calendar, UTC: one partition of each table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Month {
    year: i16,
    month: i8,
}

impl Month {
    /// Returns the month of a time.
    pub(super) fn of(at: Timestamp) -> Self {
        let time = jiff::Timestamp::from_millisecond(at.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let day = jiff::tz::TimeZone::UTC.to_datetime(time).date();
        Self {
            year: day.year(),
            month: day.month(),
        }
    }

    /// Returns the next one.
    pub(super) fn next(self) -> Self {
        if self.month == 12 {
            Self {
                year: self.year.saturating_add(1),
                month: 1,
            }
        } else {
            Self {
                year: self.year,
                month: self.month + 1,
            }
        }
    }

    fn first(self) -> Date {
        date(self.year, self.month, 1)
    }

    /// Returns when it begins.
    pub(super) fn begin(self) -> Timestamp {
        let zoned = self.first().to_zoned(jiff::tz::TimeZone::UTC);
        Timestamp(zoned.map_or(0, |at| at.timestamp().as_millisecond()))
    }

    /// Reads the end of a partition's name.
    pub(super) fn of_table(name: &str) -> Option<Self> {
        let (rest, month) = name.rsplit_once('_')?;
        let (_, year) = rest.rsplit_once('_')?;
        let (year, month) = (year.parse().ok()?, month.parse().ok()?);
        (1..=12).contains(&month).then_some(Self { year, month })
    }

    /// Returns a table's partition.
    pub(super) fn table(self, parent: &str) -> String {
        format!("{parent}_{:04}_{:02}", self.year, self.month)
    }
}

/// Makes and migrates the tables. Two processes that start at once wait for each other. A migration may go
/// through all that is kept, so the server does not end it; it is undone when the connection ends.
///
/// Returns the version when it is newer than what is known here, with which nothing is done.
pub(super) async fn migrate(client: &mut Client) -> Result<Option<usize>, Error> {
    let transaction = client.transaction().await?;
    transaction
        .execute("SELECT pg_advisory_xact_lock($1)", &[&SCHEMA_LOCK])
        .await?;
    transaction
        .batch_execute(
            // From version 14 on the server notices that nobody waits for a migration any more.
            "SET LOCAL statement_timeout = 0;
             DO $$ BEGIN PERFORM set_config('client_connection_check_interval', '10s', true);
                   EXCEPTION WHEN OTHERS THEN NULL; END $$;
             CREATE TABLE IF NOT EXISTS history_migrations (
                 version integer PRIMARY KEY,
                 applied_at timestamptz NOT NULL DEFAULT now()
             )",
        )
        .await?;
    let row = transaction
        .query_one(
            "SELECT coalesce(max(version), 0) FROM history_migrations",
            &[],
        )
        .await?;
    let version: i32 = row.get(0);
    if let Some(newer) = newer_than_known(version) {
        return Ok(Some(newer));
    }
    let done = usize::try_from(version).unwrap_or(0);
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(done) {
        transaction.batch_execute(migration).await?;
        let version = i32::try_from(index + 1).expect("there are few migrations");
        transaction
            .execute(
                "INSERT INTO history_migrations (version) VALUES ($1)",
                &[&version],
            )
            .await?;
    }
    transaction.commit().await?;
    Ok(None)
}

/// Returns a database's version when it is newer than what is known here.
pub(super) fn newer_than_known(version: i32) -> Option<usize> {
    let version = usize::try_from(version).unwrap_or(0);
    (version > MIGRATIONS.len()).then_some(version)
}

/// Makes the partitions of these months, those of events and those of jobs.
pub(super) async fn make_partitions(
    client: &mut Client,
    events: &BTreeSet<Month>,
    jobs: &BTreeSet<Month>,
) -> Result<(), Error> {
    let transaction = client.transaction().await?;
    transaction
        .execute("SELECT pg_advisory_xact_lock($1)", &[&SCHEMA_LOCK])
        .await?;
    let text = |month: Month| month.begin().to_rfc3339();
    for parent in BY_TIME {
        attach(&transaction, parent, events, text).await?;
    }
    let id = |month: Month| id_from(month.begin()).to_string();
    for parent in BY_ID {
        attach(&transaction, parent, jobs, id).await?;
    }
    transaction.commit().await
}

/// Makes those partitions that are not there. Made by itself and attached, a table has nobody wait who reads
/// or writes the others, and waits for none of them; `PARTITION OF` would take all of them from everybody.
async fn attach(
    transaction: &Transaction<'_>,
    parent: &str,
    wanted: &BTreeSet<Month>,
    bound: impl Fn(Month) -> String,
) -> Result<(), Error> {
    let there: BTreeSet<Month> = months(transaction, parent).await?.into_iter().collect();
    for month in wanted.difference(&there) {
        let (table, from, to) = (month.table(parent), bound(*month), bound(month.next()));
        let sql = format!(
            "CREATE TABLE {table} (LIKE {parent} INCLUDING ALL);
             ALTER TABLE {parent} ATTACH PARTITION {table} FOR VALUES FROM ('{from}') TO ('{to}')"
        );
        transaction.batch_execute(&sql).await?;
    }
    Ok(())
}

/// Notes that what is older than the day may go, before it does: who checks the chains has to know.
pub(super) async fn note_kept_from(client: &Client, day: Day) -> Result<(), Error> {
    let value = i64::from(day.0);
    client
        .execute(
            "INSERT INTO history_facts AS f (name, value) VALUES ('kept_from', $1)
             ON CONFLICT (name) DO UPDATE SET value = greatest(f.value, excluded.value)",
            &[&value],
        )
        .await?;
    let sql = "DELETE FROM history_days WHERE day < $1";
    client.execute(sql, &[&day.0]).await.map(drop)
}

/// Lets go of the months that are over: of events all that begin and end before the time, of jobs
/// those of which every job has ended and told its last before it, as soon as that is known.
pub(super) async fn drop_partitions(
    client: &mut Client,
    looks: &Looks,
    before: Timestamp,
) -> Result<u64, Error> {
    let mut dropped = 0;
    let looking = looks.begin(before);
    for month in months(client, "history_events").await? {
        if month.next().begin() <= before {
            let gone = ["history_events", "history_segments"];
            drop_table(client, &gone.map(|parent| month.table(parent))).await?;
            dropped += 1;
        }
    }
    for month in months(client, "history_jobs").await? {
        if month.next().begin() <= before
            && looking.is_over(client, month).await?
            && drop_jobs(client, &looking, month).await?
        {
            looking.gone(month);
            dropped += 1;
        }
    }
    // They are of jobs that may have begun a moment before their month.
    let jobs = months(client, "history_jobs").await?;
    for month in months(client, "history_records").await? {
        if month.next().begin() <= before && !jobs.contains(&month) {
            drop_table(client, &[month.table("history_records")]).await?;
            dropped += 1;
        }
    }
    Ok(dropped)
}

async fn months(client: &impl GenericClient, parent: &str) -> Result<Vec<Month>, Error> {
    let rows = client
        .query(
            "SELECT c.relname::text FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
             WHERE i.inhparent = to_regclass($1::text) ORDER BY 1",
            &[&parent],
        )
        .await?;
    let names = rows.iter().map(|row| row.get::<_, String>(0));
    Ok(names.filter_map(|name| Month::of_table(&name)).collect())
}

async fn drop_table(client: &mut Client, names: &[String]) -> Result<(), Error> {
    let transaction = client.transaction().await?;
    drop_in(&transaction, names).await?;
    transaction.commit().await
}

/// Drops a month of jobs, unless something has been told of one that was taken to be over.
async fn drop_jobs(
    client: &mut Client,
    looking: &Looking<'_>,
    month: Month,
) -> Result<bool, Error> {
    let transaction = client.transaction().await?;
    let may_go = looking.may_go(&transaction, month).await?;
    if may_go {
        drop_in(&transaction, &BY_ID.map(|parent| month.table(parent))).await?;
    }
    transaction.commit().await?;
    Ok(may_go)
}

/// One transaction for all tables: a lock that somebody else holds for long ends the try, not them. Until
/// then all who come later wait behind it, so it does not wait for long itself.
async fn drop_in(transaction: &Transaction<'_>, names: &[String]) -> Result<(), Error> {
    transaction
        .execute("SELECT pg_advisory_xact_lock($1)", &[&SCHEMA_LOCK])
        .await?;
    let sql = format!("SET LOCAL lock_timeout = '{DROP_LOCK_TIMEOUT}'");
    transaction.batch_execute(&sql).await?;
    for name in names {
        let sql = format!("DROP TABLE IF EXISTS {name}");
        transaction.batch_execute(&sql).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_follow_each_other() {
        let december = Month::of(Timestamp(1_798_761_599_999));
        assert_eq!(december.table("t"), "t_2026_12");
        assert_eq!(december.begin().to_rfc3339(), "2026-12-01T00:00:00.000Z");
        assert_eq!(december.next(), Month::of(Timestamp(1_798_761_600_000)));
        assert_eq!(december.next().table("t"), "t_2027_01");
        assert_eq!(Month::of_table("t_2026_12"), Some(december));
        assert_eq!(Month::of_table("history_events_default"), None);
        assert_eq!(Month::of_table("t_2026_13"), None);
    }
}
