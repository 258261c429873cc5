//! Writing what a batch brings: copied where it is new, which is nearly always.

use std::collections::HashMap;
use std::pin::pin;

use deadpool_postgres::Transaction;
use tokio_postgres::Error;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::append::int;
use super::runs::hashes;
use super::segments::{Piece, Place};
use super::values::{Body, Written, time};
use crate::base::JobId;
use crate::store::archive::plan::{JobRow, Plan};

/// Copies the events of single jobs, a run of them in a row. All are new: nobody else appends meanwhile.
pub(super) async fn runs(
    transaction: &Transaction<'_>,
    pieces: &[Piece<'_, '_>],
) -> Result<(), Error> {
    const SQL: &str = "COPY history_events (at, job, job_number, revision, place, last_revision,
             last_place, day, day_number, previous_in_job, previous_in_day, before_day,
             before_number, hashes, body)
         FROM STDIN (FORMAT binary)";
    const TYPES: &[Type] = &[
        Type::TIMESTAMPTZ,
        Type::UUID,
        Type::INT8,
        Type::INT8,
        Type::INT8,
        Type::INT8,
        Type::INT8,
        Type::INT4,
        Type::INT8,
        Type::BYTEA,
        Type::BYTEA,
        Type::INT4,
        Type::INT8,
        Type::BYTEA,
        Type::TEXT,
    ];
    let runs = pieces.iter().filter_map(|piece| match piece {
        Piece::Run(run) => Some((*run, run.first()?, run.last()?)),
        Piece::Segment(_) => None,
    });
    if runs.clone().next().is_none() {
        return Ok(());
    }
    let mut copy = pin!(copy(transaction, SQL, TYPES).await?);
    for (run, first, last) in runs {
        copy.as_mut()
            .write(&[
                &time(first.event.at),
                &first.event.job_id.0,
                &int(first.job.number),
                &int(first.event.revision),
                &i64::from(first.event.index),
                &int(last.event.revision),
                &i64::from(last.event.index),
                &first.day.0,
                &int(first.on_day.number),
                &&first.previous_in_job.0[..],
                &&first.previous_in_day.0[..],
                &first.day_before.map(|before| before.day.0),
                &first.day_before.map(|before| int(before.number)),
                &hashes(run),
                &Body(run),
            ])
            .await?;
    }
    copy.finish().await?;
    Ok(())
}

pub(super) async fn days(transaction: &Transaction<'_>, plan: &Plan<'_>) -> Result<(), Error> {
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

/// Copies jobs that the archive does not know, and brings those that it knows up to date.
pub(super) async fn jobs(
    transaction: &Transaction<'_>,
    jobs: &[JobRow<'_>],
    places: &HashMap<JobId, Place>,
) -> Result<(), Error> {
    let (known, new): (Vec<&JobRow<'_>>, Vec<&JobRow<'_>>) =
        jobs.iter().partition(|row| row.is_known);
    if !new.is_empty() {
        copy_jobs(transaction, &new, places).await?;
    }
    if !known.is_empty() {
        update_jobs(transaction, &known).await?;
    }
    Ok(())
}

async fn copy_jobs(
    transaction: &Transaction<'_>,
    jobs: &[&JobRow<'_>],
    places: &HashMap<JobId, Place>,
) -> Result<(), Error> {
    const SQL: &str = "COPY history_jobs (id, client, blueprint, status, created_at, ended_at,
             last_at, revision, number, hash, last_revision, last_place, summary, segment_day,
             segment)
         FROM STDIN (FORMAT binary)";
    const TYPES: &[Type] = &[
        Type::UUID,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TIMESTAMPTZ,
        Type::TIMESTAMPTZ,
        Type::TIMESTAMPTZ,
        Type::INT8,
        Type::INT8,
        Type::BYTEA,
        Type::INT8,
        Type::INT8,
        Type::TEXT,
        Type::INT4,
        Type::INT8,
    ];
    let mut copy = pin!(copy(transaction, SQL, TYPES).await?);
    for row in jobs {
        let summary = &row.summary;
        let place = places.get(&summary.id);
        copy.as_mut()
            .write(&[
                &summary.id.0,
                &summary.client.as_str(),
                &&*summary.blueprint,
                &summary.status.as_str(),
                &time(summary.created_at),
                &summary.ended_at.map(time),
                &time(row.last_at),
                &int(row.revision),
                &int(row.head.number),
                &&row.head.hash.0[..],
                &int(row.last.0),
                &i64::from(row.last.1),
                &row.summary_body(),
                &place.map(|place| place.day.0),
                &place.map(|place| int(place.number)),
            ])
            .await?;
    }
    copy.finish().await?;
    Ok(())
}

/// A row whose record is not newer keeps what is searched, and its chain goes on.
async fn update_jobs(transaction: &Transaction<'_>, jobs: &[&JobRow<'_>]) -> Result<(), Error> {
    let statement = transaction
        .prepare_cached(
            "UPDATE history_jobs AS j SET
                 last_at = greatest(j.last_at, n.last_at),
                 number = n.number, hash = n.hash,
                 last_revision = n.last_revision, last_place = n.last_place,
                 revision = n.revision,
                 blueprint = CASE WHEN n.revision > j.revision THEN n.blueprint ELSE j.blueprint END,
                 status = CASE WHEN n.revision > j.revision THEN n.status ELSE j.status END,
                 created_at = CASE WHEN n.revision > j.revision
                     THEN n.created_at ELSE j.created_at END,
                 ended_at = CASE WHEN n.revision > j.revision THEN n.ended_at ELSE j.ended_at END,
                 summary = CASE WHEN n.revision > j.revision THEN n.summary ELSE j.summary END
             FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[],
                 $6::timestamptz[], $7::bigint[], $8::bigint[], $9::bytea[], $10::bigint[],
                 $11::bigint[], $12::text[])
                 AS n (id, blueprint, status, created_at, ended_at, last_at, revision, number,
                     hash, last_revision, last_place, summary)
             WHERE j.id = n.id",
        )
        .await?;
    let id: Vec<Uuid> = jobs.iter().map(|row| row.summary.id.0).collect();
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
    let summary: Vec<String> = jobs.iter().map(|row| row.summary_body()).collect();
    transaction
        .execute(
            &statement,
            &[
                &id,
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

/// Stores the records of jobs that have ended, and lets go of those of jobs that were set going again.
/// Some are in a segment.
pub(super) async fn bodies(
    transaction: &Transaction<'_>,
    jobs: &[JobRow<'_>],
    places: &HashMap<JobId, Place>,
) -> Result<(), Error> {
    const COPY: &str = "COPY history_bodies (job, body) FROM STDIN (FORMAT binary)";
    let is_there = |row: &JobRow<'_>| {
        let place = places.get(&row.summary.id);
        place.is_some_and(|place| place.has_record)
    };
    let newer = || jobs.iter().filter(|row| row.is_newer && !is_there(row));
    let ended = || newer().filter_map(|row| Some((row, row.body?)));
    if ended().any(|(row, _)| !row.is_known) {
        let mut copy = pin!(copy(transaction, COPY, &[Type::UUID, Type::TEXT]).await?);
        for (row, body) in ended().filter(|(row, _)| !row.is_known) {
            copy.as_mut()
                .write(&[&row.summary.id.0, &Written(body)])
                .await?;
        }
        copy.finish().await?;
    }
    let (id, body): (Vec<Uuid>, Vec<Written<'_>>) = ended()
        .filter(|(row, _)| row.is_known)
        .map(|(row, body)| (row.summary.id.0, Written(body)))
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

pub(super) async fn terms(transaction: &Transaction<'_>, jobs: &[JobRow<'_>]) -> Result<(), Error> {
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

/// Begins to copy rows into a table: a fraction of what an insert costs the server.
pub(super) async fn copy(
    transaction: &Transaction<'_>,
    sql: &'static str,
    types: &[Type],
) -> Result<BinaryCopyInWriter, Error> {
    let statement = transaction.prepare_cached(sql).await?;
    let sink = transaction.copy_in(&statement).await?;
    Ok(BinaryCopyInWriter::new(sink, types))
}
