//! Whether all jobs of a month are over, so that it may go. A month may have more of them than the server
//! reads within the time of one statement, and no index tells, which every job would have to pay for: so
//! they are looked at a piece at a time in the order of their ids, and each upkeep goes on where the one
//! before it has ended.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool_postgres::Client;
use tokio::time::Instant;
use tokio_postgres::Error;
use uuid::Uuid;

use super::schema::Month;
use super::values::time;
use crate::base::Timestamp;
use crate::store::archive::id_from;

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
    /// All jobs of a month before this id were over when they were looked at. One that is set going again
    /// afterwards does not keep its month, as little as one that is between the last look and the drop:
    /// what is told of it next brings it back.
    from: BTreeMap<Month, Uuid>,
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
            state.from.clear();
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
    pub(super) async fn is_over(&self, client: &Client, month: Month) -> Result<bool, Error> {
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
        let mut from = self.from(month);
        while Instant::now() < self.until {
            if let Some(row) = client
                .query_opt(&left, &[&from, &time(self.before)])
                .await?
            {
                self.note(month, row.get(0));
                return Ok(false);
            }
            let Some(row) = client.query_opt(&next, &[&from]).await? else {
                return Ok(true);
            };
            from = row.get(0);
            self.note(month, from);
        }
        Ok(false)
    }

    /// Forgets a month that has gone.
    pub(super) fn gone(&self, month: Month) {
        self.looks.lock().from.remove(&month);
    }

    fn from(&self, month: Month) -> Uuid {
        let known = self.looks.lock().from.get(&month).copied();
        known.unwrap_or_else(|| id_from(month.begin()).0)
    }

    fn note(&self, month: Month, from: Uuid) {
        self.looks.lock().from.insert(month, from);
    }
}
