//! Whether all jobs of a month are over, so that it may go. A month may have more of them than the server
//! reads within the time of one statement, and no index tells, which every job would have to pay for: so
//! they are looked at a piece at a time in the order of their ids, and each upkeep goes on where the one
//! before it has ended.
//!
//! A look may pass a job that is set going again before all others are over. Whoever appends what is told of
//! such a job, here or in another process, counts that, and a look that finds another count than it began with
//! begins again. A month goes only with the count that it was looked at with: the chain of a job whose month
//! were gone would begin anew beside what was told of it before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool_postgres::{Client, Transaction};
use tokio::time::Instant;
use tokio_postgres::Error;
use uuid::Uuid;

use super::append::CHAIN_LOCK;
use super::schema::Month;
use super::values::time;
use crate::base::Timestamp;
use crate::store::archive::plan::JobRow;
use crate::store::archive::{Day, id_from};

/// Jobs that one statement looks at: a second even where each has to be read from a slow disk.
const PIECE: i64 = 50_000;
/// How long one upkeep looks at jobs; history waits meanwhile, and others nowhere: reading takes no lock
/// that matters to them.
const LOOK: Duration = Duration::from_secs(8);

/// How far the months have been looked at.
#[derive(Debug, Default)]
pub(super) struct Looks(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// What is over had its end before this time.
    before: Timestamp,
    marks: BTreeMap<Month, Mark>,
}

/// How far a month has been looked at.
#[derive(Debug, Clone, Copy)]
struct Mark {
    /// All jobs before this id are over, as long as nothing else is counted.
    from: Uuid,
    /// What was counted when the look began.
    told: i64,
}

/// Names the fact that counts what is told of a month's jobs that a look may have passed. It is there once
/// the month has been looked at.
fn told(month: Month) -> String {
    month.table("told_behind")
}

/// Counts, for the months that are looked at, what is told of jobs that a look may have passed: of those that
/// had ended, and of new ones. The others hold it up themselves, and may tell much while they do.
pub(super) async fn count_told(
    transaction: &Transaction<'_>,
    jobs: &[JobRow<'_>],
) -> Result<(), Error> {
    const SQL: &str = "UPDATE history_facts SET value = value + 1 WHERE name = ANY($1)";
    // Many are of one day, and what month that is in is asked once.
    let passed = jobs.iter().filter(|row| row.had_ended || !row.is_known);
    let days: BTreeSet<Day> = passed
        .map(|row| Day::of(row.summary.id.made_at()))
        .collect();
    let months: BTreeSet<Month> = days.iter().map(|day| Month::of(day.begin())).collect();
    if months.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = months.into_iter().map(told).collect();
    let statement = transaction.prepare_cached(SQL).await?;
    transaction.execute(&statement, &[&names]).await.map(drop)
}

/// The time that an upkeep has for looking.
pub(super) struct Looking<'a> {
    looks: &'a Looks,
    before: Timestamp,
    until: Instant,
}

impl Looks {
    /// Begins an upkeep, for which jobs are over that have ended and told their last before the time.
    pub(super) fn begin(&self, before: Timestamp) -> Looking<'_> {
        let mut state = self.lock();
        if before < state.before {
            state.marks.clear();
        }
        state.before = before;
        Looking {
            looks: self,
            before,
            until: Instant::now() + LOOK,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Looking<'_> {
    /// Tells whether all jobs of the month are known to be over. One that is not is the first that the next
    /// upkeep looks at.
    pub(super) async fn is_over(&self, client: &mut Client, month: Month) -> Result<bool, Error> {
        let told = begin(client, month).await?;
        let table = month.table("history_jobs");
        // Taken by itself a piece is read by its ids, however few rows the planner takes to be left.
        let left = format!(
            "SELECT id FROM (SELECT id, ended_at, last_at FROM {table} WHERE id >= $1
                 ORDER BY id LIMIT {PIECE}) AS piece
             WHERE ended_at IS NULL OR ended_at >= $2 OR last_at >= $2 LIMIT 1"
        );
        let left = client.prepare(&left).await?;
        let next =
            format!("SELECT id FROM {table} WHERE id >= $1 ORDER BY id OFFSET {PIECE} LIMIT 1");
        let next = client.prepare(&next).await?;
        let mut from = self.from(month, told);
        while Instant::now() < self.until {
            if let Some(row) = client
                .query_opt(&left, &[&from, &time(self.before)])
                .await?
            {
                self.note(month, told, row.get(0));
                return Ok(false);
            }
            let Some(row) = client.query_opt(&next, &[&from]).await? else {
                self.note(month, told, from);
                return Ok(true);
            };
            from = row.get(0);
            self.note(month, told, from);
        }
        Ok(false)
    }

    /// Makes sure that nothing was told behind the look by which the month is over, and nothing is until the
    /// transaction ends, in which it goes.
    pub(super) async fn may_go(
        &self,
        transaction: &Transaction<'_>,
        month: Month,
    ) -> Result<bool, Error> {
        const SQL: &str = "DELETE FROM history_facts WHERE name = $1 AND value = $2";
        let Some(mark) = self.looks.lock().marks.get(&month).copied() else {
            return Ok(false);
        };
        hold_chains(transaction).await?;
        let deleted = transaction
            .execute(SQL, &[&told(month), &mark.told])
            .await?;
        Ok(deleted == 1)
    }

    /// Forgets a month that has gone.
    pub(super) fn gone(&self, month: Month) {
        self.looks.lock().marks.remove(&month);
    }

    fn from(&self, month: Month, told: i64) -> Uuid {
        let known = self.looks.lock().marks.get(&month).copied();
        known
            .filter(|mark| mark.told == told)
            .map_or_else(|| id_from(month.begin()).0, |mark| mark.from)
    }

    fn note(&self, month: Month, told: i64, from: Uuid) {
        self.looks.lock().marks.insert(month, Mark { from, told });
    }
}

/// Has the appends count from now on; returns what they have counted. A month that has gone and comes again
/// counts from the time on, so that no mark of an earlier look fits.
async fn begin(client: &mut Client, month: Month) -> Result<i64, Error> {
    const SQL: &str = "INSERT INTO history_facts AS f (name, value)
        VALUES ($1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
        ON CONFLICT (name) DO UPDATE SET value = f.value RETURNING f.value";
    let transaction = client.transaction().await?;
    // One that is under way does not know yet that it has to.
    hold_chains(&transaction).await?;
    let row = transaction.query_one(SQL, &[&told(month)]).await?;
    transaction.commit().await?;
    Ok(row.get(0))
}

/// Waits until nobody appends, and has all who want to wait until the transaction ends.
async fn hold_chains(transaction: &Transaction<'_>) -> Result<(), Error> {
    let sql = "SELECT pg_advisory_xact_lock($1)";
    transaction.execute(sql, &[&CHAIN_LOCK]).await.map(drop)
}
