//! Appending to PostgreSQL: one batch, one transaction, one statement for each table.

use std::collections::{BTreeMap, BTreeSet};

use deadpool_postgres::{Client, Transaction};
use futures::future::try_join_all;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio_postgres::{Error, Row};
use uuid::Uuid;

use super::runs;
use super::schema::time;
use crate::base::JobId;
use crate::store::archive::chain::{Hasher, Linked};
use crate::store::archive::plan::{self, JobRow, Known, Plan};
use crate::store::archive::{Day, Hash, Head};
use crate::store::{FeedBatch, StoreError};

/// Held while links are made: all orchestrators that feed one archive append one after the other.
const CHAIN_LOCK: i64 = 0x6176_746f_6869_7302;

/// Stores all of the batch that is new.
pub(super) async fn append(
    client: &mut Client,
    hasher: Hasher,
    batch: &FeedBatch,
) -> Result<Result<(), StoreError>, Error> {
    let transaction = client.transaction().await?;
    let lock = transaction
        .prepare_cached("SELECT pg_advisory_xact_lock($1)")
        .await?;
    transaction.execute(&lock, &[&CHAIN_LOCK]).await?;
    let (ids, days) = plan::touched(batch);
    let (known, heads) = futures::try_join!(known(&transaction, &ids), heads(&transaction, &days))?;
    let repeated = repeated(&transaction, batch, &known).await?;
    let plan = || plan::plan(batch, hasher, (&known, heads), &repeated);
    let plan = match beside_others(plan) {
        Ok(plan) => plan,
        Err(error) => return Ok(Err(error)),
    };
    put_events(&transaction, &plan.events).await?;
    put_days(&transaction, &plan).await?;
    put_jobs(&transaction, &plan.jobs).await?;
    put_bodies(&transaction, &plan.jobs).await?;
    put_terms(&transaction, &plan.jobs).await?;
    transaction.commit().await?;
    Ok(Ok(()))
}

/// Does work that takes a while so that whoever else is to run on this thread does not wait for it.
fn beside_others<T>(work: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        // It has no other thread to which the others could go.
        _ => work(),
    }
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
        let there: BTreeSet<_> = rows.iter().flat_map(runs::places).collect();
        let found = places.into_iter().filter(|place| there.contains(place));
        Ok::<_, Error>(
            found
                .map(|(revision, place)| (job, revision, place))
                .collect(),
        )
    });
    Ok(try_join_all(looks).await?.into_iter().flatten().collect())
}

async fn put_events(transaction: &Transaction<'_>, events: &[Linked<'_>]) -> Result<(), Error> {
    let all: Vec<(&Linked<'_>, &Linked<'_>, &[Linked<'_>])> = runs::of(events)
        .filter_map(|run| Some((run.first()?, run.last()?, run)))
        .collect();
    if all.is_empty() {
        return Ok(());
    }
    let statement = transaction
        .prepare_cached(
            "INSERT INTO history_events (at, job, job_number, revision, place, last_revision,
                 last_place, day, day_number, previous_in_job, previous_in_day, hashes, body)
             SELECT * FROM unnest($1::timestamptz[], $2::uuid[], $3::bigint[], $4::bigint[],
                 $5::bigint[], $6::bigint[], $7::bigint[], $8::integer[], $9::bigint[],
                 $10::bytea[], $11::bytea[], $12::bytea[], $13::text[])",
        )
        .await?;
    let first = || all.iter().map(|(first, ..)| first);
    let last = || all.iter().map(|(_, last, _)| last);
    let at: Vec<_> = first().map(|one| time(one.event.at)).collect();
    let job: Vec<Uuid> = first().map(|one| one.event.job_id.0).collect();
    let job_number: Vec<i64> = first().map(|one| int(one.job.number)).collect();
    let revision: Vec<i64> = first().map(|one| int(one.event.revision)).collect();
    let place: Vec<i64> = first().map(|one| i64::from(one.event.index)).collect();
    let last_revision: Vec<i64> = last().map(|one| int(one.event.revision)).collect();
    let last_place: Vec<i64> = last().map(|one| i64::from(one.event.index)).collect();
    let day: Vec<i32> = first().map(|one| one.day.0).collect();
    let day_number: Vec<i64> = first().map(|one| int(one.on_day.number)).collect();
    let in_job: Vec<&[u8]> = first().map(|one| &one.previous_in_job.0[..]).collect();
    let in_day: Vec<&[u8]> = first().map(|one| &one.previous_in_day.0[..]).collect();
    let hashes: Vec<Vec<u8>> = all.iter().map(|(.., run)| runs::hashes(run)).collect();
    let body: Vec<String> = all.iter().map(|(.., run)| runs::body(run)).collect();
    transaction
        .execute(
            &statement,
            &[
                &at,
                &job,
                &job_number,
                &revision,
                &place,
                &last_revision,
                &last_place,
                &day,
                &day_number,
                &in_job,
                &in_day,
                &hashes,
                &body,
            ],
        )
        .await?;
    Ok(())
}

async fn put_days(transaction: &Transaction<'_>, plan: &Plan<'_>) -> Result<(), Error> {
    let statement = transaction
        .prepare_cached(
            "INSERT INTO history_days (day, number, hash) VALUES ($1, $2, $3)
             ON CONFLICT (day) DO UPDATE SET number = excluded.number, hash = excluded.hash",
        )
        .await?;
    for (day, head) in &plan.days {
        let (number, hash) = (int(head.number), &head.hash.0[..]);
        transaction
            .execute(&statement, &[&day.0, &number, &hash])
            .await?;
    }
    Ok(())
}

/// A row whose record is not newer keeps what is searched, and its chain goes on.
async fn put_jobs(transaction: &Transaction<'_>, jobs: &[JobRow]) -> Result<(), Error> {
    let statement = transaction
        .prepare_cached(
            "INSERT INTO history_jobs AS j (id, client, blueprint, status, created_at, ended_at,
                 last_at, revision, number, hash, last_revision, last_place, summary)
             SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[],
                 $5::timestamptz[], $6::timestamptz[], $7::timestamptz[], $8::bigint[],
                 $9::bigint[], $10::bytea[], $11::bigint[], $12::bigint[], $13::text[])
             ON CONFLICT (id) DO UPDATE SET
                 last_at = greatest(j.last_at, excluded.last_at),
                 number = excluded.number, hash = excluded.hash,
                 last_revision = excluded.last_revision, last_place = excluded.last_place,
                 revision = excluded.revision,
                 blueprint = CASE WHEN excluded.revision > j.revision
                     THEN excluded.blueprint ELSE j.blueprint END,
                 status = CASE WHEN excluded.revision > j.revision
                     THEN excluded.status ELSE j.status END,
                 created_at = CASE WHEN excluded.revision > j.revision
                     THEN excluded.created_at ELSE j.created_at END,
                 ended_at = CASE WHEN excluded.revision > j.revision
                     THEN excluded.ended_at ELSE j.ended_at END,
                 summary = CASE WHEN excluded.revision > j.revision
                     THEN excluded.summary ELSE j.summary END",
        )
        .await?;
    let id: Vec<Uuid> = jobs.iter().map(|row| row.summary.id.0).collect();
    let client: Vec<&str> = jobs.iter().map(|row| row.summary.client.as_str()).collect();
    let blueprint: Vec<&str> = jobs.iter().map(|row| &*row.summary.blueprint).collect();
    let status: Vec<&str> = jobs.iter().map(|row| row.summary.status.as_str()).collect();
    let created: Vec<_> = jobs
        .iter()
        .map(|row| time(row.summary.created_at))
        .collect();
    let ended: Vec<_> = jobs
        .iter()
        .map(|row| row.summary.ended_at.map(time))
        .collect();
    let last: Vec<_> = jobs.iter().map(|row| time(row.last_at)).collect();
    let revision: Vec<i64> = jobs.iter().map(|row| int(row.revision)).collect();
    let number: Vec<i64> = jobs.iter().map(|row| int(row.head.number)).collect();
    let hash: Vec<&[u8]> = jobs.iter().map(|row| &row.head.hash.0[..]).collect();
    let last_revision: Vec<i64> = jobs.iter().map(|row| int(row.last.0)).collect();
    let last_place: Vec<i64> = jobs.iter().map(|row| i64::from(row.last.1)).collect();
    let summary: Vec<String> = jobs.iter().map(JobRow::summary_body).collect();
    transaction
        .execute(
            &statement,
            &[
                &id,
                &client,
                &blueprint,
                &status,
                &created,
                &ended,
                &last,
                &revision,
                &number,
                &hash,
                &last_revision,
                &last_place,
                &summary,
            ],
        )
        .await?;
    Ok(())
}

async fn put_bodies(transaction: &Transaction<'_>, jobs: &[JobRow]) -> Result<(), Error> {
    let newer = || jobs.iter().filter(|row| row.is_newer);
    let (id, body): (Vec<Uuid>, Vec<&str>) = newer()
        .filter_map(|row| Some((row.summary.id.0, row.body.as_deref()?)))
        .unzip();
    if !id.is_empty() {
        let statement = transaction
            .prepare_cached(
                "INSERT INTO history_bodies (job, body) SELECT * FROM unnest($1::uuid[], $2::text[])
                 ON CONFLICT (job) DO UPDATE SET body = excluded.body",
            )
            .await?;
        transaction.execute(&statement, &[&id, &body]).await?;
    }
    let gone: Vec<Uuid> = newer()
        .filter(|row| row.had_ended && row.body.is_none())
        .map(|row| row.summary.id.0)
        .collect();
    if !gone.is_empty() {
        let sql = "DELETE FROM history_bodies WHERE job = ANY($1)";
        transaction.execute(sql, &[&gone]).await?;
    }
    Ok(())
}

async fn put_terms(transaction: &Transaction<'_>, jobs: &[JobRow]) -> Result<(), Error> {
    for row in jobs.iter().filter(|row| !row.stale_terms.is_empty()) {
        let sql = "DELETE FROM history_terms WHERE client = $1 AND job = $2 AND term = ANY($3)";
        let (client, id) = (row.summary.client.as_str(), row.summary.id.0);
        transaction
            .execute(sql, &[&client, &id, &row.stale_terms])
            .await?;
    }
    let mut columns: (Vec<&str>, Vec<&str>, Vec<Uuid>) = Default::default();
    for row in jobs {
        for term in &row.new_terms {
            columns.0.push(row.summary.client.as_str());
            columns.1.push(term);
            columns.2.push(row.summary.id.0);
        }
    }
    if columns.0.is_empty() {
        return Ok(());
    }
    let statement = transaction
        .prepare_cached(
            "INSERT INTO history_terms (client, term, job)
             SELECT * FROM unnest($1::text[], $2::text[], $3::uuid[]) ON CONFLICT DO NOTHING",
        )
        .await?;
    transaction
        .execute(&statement, &[&columns.0, &columns.1, &columns.2])
        .await?;
    Ok(())
}
