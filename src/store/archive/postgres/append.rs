//! Appending to PostgreSQL: one batch, one transaction, one statement for each table.

use std::collections::{BTreeMap, BTreeSet};

use deadpool_postgres::{Client, Transaction};
use futures::future::try_join_all;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Error, Row};
use uuid::Uuid;

use super::{over, put, runs, segments};
use crate::base::JobId;
use crate::store::archive::chain::{Days, Hasher};
use crate::store::archive::plan::{self, Known};
use crate::store::archive::{Day, DayBefore, Hash, Head};
use crate::store::{FeedBatch, StoreError};

/// Held while links are made: all orchestrators that feed one archive append one after the other.
pub(super) const CHAIN_LOCK: i64 = 0x6176_746f_6869_7302;

/// Stores all of the batch that is new.
///
/// Jobs that begin in the batch are not looked up: the archive has none of them, unless a batch comes
/// twice, and then their keys are taken. That is the moment to look them all up.
pub(super) async fn append(
    client: &mut Client,
    hasher: Hasher,
    batch: &FeedBatch,
) -> Result<Result<(), StoreError>, Error> {
    let (all, days) = plan::touched(batch);
    let begun = plan::begun(batch);
    let going_on = all.difference(&begun).copied().collect();
    match try_append(client, hasher.clone(), batch, (&going_on, &days)).await {
        Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) && !begun.is_empty() => {
            try_append(client, hasher, batch, (&all, &days)).await
        }
        appended => appended,
    }
}

/// Stores all of the batch that is new, knowing of these jobs how far the archive has them; of all
/// others it has nothing.
async fn try_append(
    client: &mut Client,
    hasher: Hasher,
    batch: &FeedBatch,
    (ids, days): (&BTreeSet<JobId>, &BTreeSet<Day>),
) -> Result<Result<(), StoreError>, Error> {
    let transaction = client.transaction().await?;
    let lock = transaction
        .prepare_cached("SELECT pg_advisory_xact_lock($1)")
        .await?;
    transaction.execute(&lock, &[&CHAIN_LOCK]).await?;
    let (known, heads) = futures::try_join!(known(&transaction, ids), heads(&transaction, days))?;
    let before = before(&transaction, &plan::beginning(days, &heads)).await?;
    let repeated = repeated(&transaction, batch, &known).await?;
    let days = Days { heads, before };
    let plan = match plan::plan(batch, hasher, (&known, days), &repeated) {
        Ok(plan) => plan,
        Err(error) => return Ok(Err(error)),
    };
    let pieces = segments::cut(&plan.events);
    let places = segments::put(&transaction, &pieces, &plan.jobs).await?;
    put::runs(&transaction, &pieces).await?;
    put::days(&transaction, &plan).await?;
    put::jobs(&transaction, &plan.jobs, &places).await?;
    put::bodies(&transaction, &plan.jobs, &places).await?;
    put::terms(&transaction, &plan.jobs).await?;
    over::count_told(&transaction, &plan.jobs).await?;
    transaction.commit().await?;
    Ok(Ok(()))
}

/// Counts stay far below where they would not fit.
pub(super) fn int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(super) fn count(row: &Row, column: usize) -> u64 {
    u64::try_from(row.get::<_, i64>(column)).unwrap_or(0)
}

/// Reads a hash; what is none has the wrong length and fits nothing.
pub(super) fn hash(row: &Row, column: usize) -> Hash {
    Hash::from_slice(row.get(column)).unwrap_or_default()
}

/// Reads what the first event of a row goes on from.
pub(super) fn day_before(row: &Row, column: usize) -> Option<DayBefore> {
    let day: Option<i32> = row.get(column);
    day.map(|day| DayBefore {
        day: Day(day),
        number: row
            .get::<_, Option<i64>>(column + 1)
            .map_or(0, |number| u64::try_from(number).unwrap_or(0)),
    })
}

async fn known(
    transaction: &Transaction<'_>,
    ids: &BTreeSet<JobId>,
) -> Result<BTreeMap<JobId, Known>, Error> {
    let statement = transaction
        .prepare_cached(
            "SELECT id, revision, number, hash, last_revision, last_place,
                 CASE WHEN ended_at IS NOT NULL THEN summary END
             FROM history_jobs WHERE id = ANY($1)",
        )
        .await?;
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = transaction.query(&statement, &[&ids]).await?;
    let known = rows.iter().map(|row| {
        let summary: Option<&str> = row.get(6);
        let known = Known {
            revision: count(row, 1),
            head: Head {
                number: count(row, 2),
                hash: hash(row, 3),
            },
            last: (
                count(row, 4),
                u32::try_from(row.get::<_, i64>(5)).unwrap_or(u32::MAX),
            ),
            // One that cannot be read leaves words behind by which the job is found needlessly.
            ended: summary.and_then(|text| serde_json::from_str(text).ok()),
        };
        (JobId(row.get(0)), known)
    });
    Ok(known.collect())
}

async fn heads(
    transaction: &Transaction<'_>,
    days: &BTreeSet<Day>,
) -> Result<BTreeMap<Day, Head>, Error> {
    let statement = transaction
        .prepare_cached("SELECT day, number, hash FROM history_days WHERE day = ANY($1)")
        .await?;
    let days: Vec<i32> = days.iter().map(|day| day.0).collect();
    let rows = transaction.query(&statement, &[&days]).await?;
    let heads = rows.iter().map(|row| {
        let head = Head {
            number: count(row, 1),
            hash: hash(row, 2),
        };
        (Day(row.get(0)), head)
    });
    Ok(heads.collect())
}

/// Reads the latest earlier day of each of these, nearly always of none: a day begins once.
async fn before(
    transaction: &Transaction<'_>,
    days: &BTreeSet<Day>,
) -> Result<BTreeMap<Day, (Day, Head)>, Error> {
    if days.is_empty() {
        return Ok(BTreeMap::new());
    }
    let statement = transaction
        .prepare_cached(
            "SELECT n.day, d.day, d.number, d.hash FROM unnest($1::integer[]) AS n (day)
             CROSS JOIN LATERAL (SELECT day, number, hash FROM history_days AS e
                 WHERE e.day < n.day ORDER BY e.day DESC LIMIT 1) AS d",
        )
        .await?;
    let days: Vec<i32> = days.iter().map(|day| day.0).collect();
    let rows = transaction.query(&statement, &[&days]).await?;
    let before = rows.iter().map(|row| {
        let head = Head {
            number: count(row, 2),
            hash: hash(row, 3),
        };
        (Day(row.get(0)), (Day(row.get(1)), head))
    });
    Ok(before.collect())
}

/// Looks up the events that may be there: none, unless a batch has come before.
async fn repeated(
    transaction: &Transaction<'_>,
    batch: &FeedBatch,
    known: &BTreeMap<JobId, Known>,
) -> Result<BTreeSet<(JobId, u64, u32)>, Error> {
    let mut doubtful: BTreeMap<JobId, Vec<(u64, u32)>> = BTreeMap::new();
    for event in plan::doubtful(batch, known) {
        if known.contains_key(&event.job_id) {
            let places = doubtful.entry(event.job_id).or_default();
            places.push((event.revision, event.index));
        }
    }
    if doubtful.is_empty() {
        return Ok(BTreeSet::new());
    }
    let statement = transaction
        .prepare_cached(
            "SELECT body FROM history_events WHERE job = $1
                 AND (last_revision, last_place) >= ($2, $3) AND (revision, place) <= ($4, $5)",
        )
        .await?;
    let statement = &statement;
    let in_segments = &segments::places(transaction, doubtful.keys().copied()).await?;
    let looks = doubtful.into_iter().map(|(job, places)| async move {
        let ends = (places.iter().min(), places.iter().max());
        let (Some(from), Some(to)) = ends else {
            return Ok(Vec::new());
        };
        let (from_revision, from_place) = (int(from.0), i64::from(from.1));
        let (to_revision, to_place) = (int(to.0), i64::from(to.1));
        let rows = transaction
            .query(
                statement,
                &[&job.0, &from_revision, &from_place, &to_revision, &to_place],
            )
            .await?;
        let in_rows = rows.iter().flat_map(runs::places);
        let mut there: BTreeSet<_> = in_rows.map(|(_, place)| place).collect();
        there.extend(in_segments.get(&job).into_iter().flatten());
        let found = places.into_iter().filter(|place| there.contains(place));
        Ok::<_, Error>(
            found
                .map(|(revision, place)| (job, revision, place))
                .collect(),
        )
    });
    Ok(try_join_all(looks).await?.into_iter().flatten().collect())
}
