//! Segments: rows with the first events of many jobs, where one batch brings so many.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::pin;

use deadpool_postgres::Transaction;
use serde_json::Value;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row};
use uuid::Uuid;

use super::append::{count, day_before, hash, int};
use super::put::copy;
use super::values::{Array, Body, time};
use super::{corrupt, runs};
use crate::base::JobId;
use crate::domain::{Event, Job};
use crate::store::archive::chain::Linked;
use crate::store::archive::plan::JobRow;
use crate::store::archive::{Day, Hash, Record};
use crate::store::{StoreError, Text};

/// The longest record that is kept with those of other jobs, in bytes: they are read together.
const RECORD_MAX: usize = 8 << 10;
/// Jobs from which on a segment is made of them.
const JOBS_MIN: usize = 8;
/// Text of the events of a segment, in bytes: it is read whole for one job, and ends at this.
const BYTES: usize = 64 << 10;

/// The segment of a job.
pub(super) const OF_JOB: &str = "SELECT s.body, s.day, s.day_number, s.previous_in_day, s.hashes,
         s.before_day, s.before_number
     FROM history_jobs AS j
     JOIN history_segments AS s ON s.day = j.segment_day AND s.day_number = j.segment
     WHERE j.id = $1";

/// The segments with links of a day after a number, or after a gap behind that, so many.
pub(super) const OF_DAY: &str = "SELECT body, day, day_number, previous_in_day, hashes,
         before_day, before_number
     FROM history_segments
     WHERE day = $1 AND day_number <= $3::bigint + greatest($2::bigint, (SELECT min(day_number)
         FROM history_segments WHERE day = $1 AND day_number > $2)) AND day_number >= coalesce(
         (SELECT max(day_number) FROM history_segments WHERE day = $1 AND day_number <= $2), 0)
     ORDER BY day_number";

/// A job as it ended: its record in a row of its own, or those of its segment. There may be other segments
/// of that number, of a day whose first ones have gone.
pub(super) const RECORD: &str = "SELECT b.body, CASE WHEN b.body IS NULL THEN s.records END
     FROM history_jobs AS j
     LEFT JOIN history_bodies AS b ON b.job = j.id
     LEFT JOIN history_records AS s ON s.day = j.segment_day AND s.day_number = j.segment
     WHERE j.id = $1 AND j.ended_at IS NOT NULL";

/// Links that are written into one row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Piece<'a, 'e> {
    /// Those of one job.
    Run(&'a [Linked<'e>]),
    /// Those of many.
    Segment(&'a [Linked<'e>]),
}

/// Where the first events of a job are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub day: Day,
    pub number: u64,
    /// Whether its record is there, too.
    pub has_record: bool,
}

/// Cuts linked events into what is written into one row each.
pub(super) fn cut<'a, 'e>(events: &'a [Linked<'e>]) -> Vec<Piece<'a, 'e>> {
    let mut pieces = Vec::new();
    // Runs that may become a segment: where they begin, how many they are, and their text.
    let (mut begin, mut jobs, mut bytes) = (0, 0, 0);
    let mut at = 0;
    for run in runs::of(events) {
        let begins = run.first().is_some_and(|one| one.job.number == 1);
        let goes_on = jobs > 0 && bytes < BYTES && events[begin].day == run[0].day;
        if jobs > 0 && !(begins && goes_on) {
            end(&mut pieces, &events[begin..at], jobs);
            jobs = 0;
        }
        if !begins {
            pieces.push(Piece::Run(run));
        } else if jobs == 0 {
            (begin, jobs, bytes) = (at, 1, length(run));
        } else {
            jobs += 1;
            bytes += length(run);
        }
        at += run.len();
    }
    if jobs > 0 {
        end(&mut pieces, &events[begin..], jobs);
    }
    pieces
}

fn end<'a, 'e>(pieces: &mut Vec<Piece<'a, 'e>>, events: &'a [Linked<'e>], jobs: usize) {
    if jobs < JOBS_MIN {
        pieces.extend(runs::of(events).map(Piece::Run));
    } else {
        pieces.push(Piece::Segment(events));
    }
}

fn length(run: &[Linked<'_>]) -> usize {
    run.iter().map(|one| one.event.as_bytes().len()).sum()
}

/// Copies the segments; returns which jobs begin in one. `jobs` are in order of their ids.
pub(super) async fn put(
    transaction: &Transaction<'_>,
    pieces: &[Piece<'_, '_>],
    jobs: &[JobRow<'_>],
) -> Result<HashMap<JobId, Place>, Error> {
    const SEGMENTS: &str =
        "COPY history_segments (at, day, day_number, previous_in_day, before_day, before_number,
             hashes, body)
         FROM STDIN (FORMAT binary)";
    const SEGMENT: &[Type] = &[
        Type::TIMESTAMPTZ,
        Type::INT4,
        Type::INT8,
        Type::BYTEA,
        Type::INT4,
        Type::INT8,
        Type::BYTEA,
        Type::TEXT,
    ];
    const RECORDS: &str = "COPY history_records (at, day, day_number, records)
         FROM STDIN (FORMAT binary)";
    const OF_SEGMENT: &[Type] = &[Type::TIMESTAMPTZ, Type::INT4, Type::INT8, Type::TEXT];
    let mut places = HashMap::new();
    let segments = pieces.iter().filter_map(|piece| match piece {
        Piece::Segment(links) => Some((*links, links.first()?)),
        Piece::Run(_) => None,
    });
    if segments.clone().next().is_none() {
        return Ok(places);
    }
    let mut rows = pin!(copy(transaction, SEGMENTS, SEGMENT).await?);
    let mut ended = Vec::new();
    for (links, first) in segments {
        let (day, number) = (first.day, first.on_day.number);
        let mut records = Vec::new();
        for run in runs::of(links) {
            let id = run[0].event.job_id;
            let record = record(jobs, id, run.len());
            let place = Place {
                day,
                number,
                has_record: record.is_some(),
            };
            records.extend(record);
            places.insert(id, place);
        }
        let at = time(first.event.at);
        rows.as_mut()
            .write(&[
                &at,
                &day.0,
                &int(number),
                &&first.previous_in_day.0[..],
                &first.day_before.map(|before| before.day.0),
                &first.day_before.map(|before| int(before.number)),
                &runs::hashes(links),
                &Body(links),
            ])
            .await?;
        if !records.is_empty() {
            ended.push((at, day, number, records));
        }
    }
    rows.finish().await?;
    let mut rows = pin!(copy(transaction, RECORDS, OF_SEGMENT).await?);
    for (at, day, number, records) in ended {
        rows.as_mut()
            .write(&[&at, &day.0, &int(number), &Array(&records)])
            .await?;
    }
    rows.finish().await?;
    Ok(places)
}

/// Returns the record of a job all of whose events are in the segment.
fn record<'a>(jobs: &[JobRow<'a>], id: JobId, links: usize) -> Option<&'a Text> {
    let index = jobs.binary_search_by_key(&id, |row| row.summary.id).ok()?;
    let is_whole = usize::try_from(jobs[index].head.number).is_ok_and(|all| all == links);
    jobs[index]
        .body
        .filter(|text| is_whole && text.as_bytes().len() <= RECORD_MAX)
}

/// Reads the links of a row of [`OF_JOB`] or [`OF_DAY`]. Of one that somebody has changed there may be
/// more events than hashes, or fewer: what is missing is told as null or zeros, which no check takes for
/// whole.
pub(super) fn records(row: &Row) -> Result<Vec<Record>, StoreError> {
    let events: Vec<Value> =
        serde_json::from_str(row.get(0)).map_err(|error| corrupt("segment", &error))?;
    let (day, first_number) = (Day(row.get(1)), count(row, 2));
    let mut previous_in_day = hash(row, 3);
    let hashes: &[u8] = row.get(4);
    let hashes = hashes.chunks(32).map(Hash::from_slice);
    let hashes: Vec<Hash> = hashes.map(Option::unwrap_or_default).collect();
    let mut day_before = day_before(row, 5);
    let mut records: Vec<Record> = Vec::with_capacity(events.len());
    let mut events = events.into_iter();
    for index in 0..events.len().max(hashes.len()) {
        let event = events.next().unwrap_or_default();
        let hash = hashes.get(index).copied().unwrap_or_default();
        // Each job begins in it.
        let before = records
            .last()
            .filter(|before| before.event.get("job_id") == event.get("job_id"));
        let (job_number, previous_in_job) = before.map_or((1, Hash::default()), |before| {
            (before.job_number.saturating_add(1), before.hash)
        });
        records.push(Record {
            event,
            job_number,
            day,
            day_number: first_number.saturating_add(index as u64),
            previous_in_job,
            previous_in_day,
            day_before: day_before.take(),
            hash,
        });
        previous_in_day = hash;
    }
    Ok(records)
}

/// Tells whether a record is of a job.
pub(super) fn is_of(record: &Record, job: JobId) -> bool {
    let id = record.event.get("job_id").and_then(Value::as_str);
    id.and_then(|id| id.parse().ok()) == Some(job)
}

/// Reads the events of a job from a row of [`OF_JOB`].
pub(super) fn events(row: &Row, job: JobId) -> Result<Vec<Event>, StoreError> {
    let mut events = runs::events(row)?;
    events.retain(|event| event.job_id == job);
    Ok(events)
}

/// Reads a job's record from the rows of [`RECORD`].
pub(super) fn job(rows: &[Row], id: JobId) -> Result<Option<Job>, StoreError> {
    let damaged = |error| corrupt("job", &error);
    let name = id.to_string();
    for row in rows {
        if let Some(body) = row.get::<_, Option<&str>>(0) {
            return serde_json::from_str(body).map(Some).map_err(damaged);
        }
        let Some(records) = row.get::<_, Option<&str>>(1) else {
            continue;
        };
        let records: Vec<Value> = serde_json::from_str(records).map_err(damaged)?;
        let mut records = records.into_iter();
        if let Some(own) = records.find(|record| record["id"].as_str() == Some(&name)) {
            return serde_json::from_value(own).map(Some).map_err(damaged);
        }
    }
    Ok(None)
}

/// Returns the places of events in the segments of these jobs, by job. A row that cannot be read has none.
pub(super) async fn places(
    transaction: &Transaction<'_>,
    jobs: impl Iterator<Item = JobId>,
) -> Result<BTreeMap<JobId, BTreeSet<(u64, u32)>>, Error> {
    let statement = transaction
        .prepare_cached(
            "SELECT body FROM history_segments AS s WHERE EXISTS (SELECT 1 FROM history_jobs AS j
                 WHERE j.id = ANY($1) AND j.segment_day = s.day AND j.segment = s.day_number)",
        )
        .await?;
    let jobs: Vec<Uuid> = jobs.map(|job| job.0).collect();
    let rows = transaction.query(&statement, &[&jobs]).await?;
    let mut places: BTreeMap<JobId, BTreeSet<(u64, u32)>> = BTreeMap::new();
    for row in &rows {
        for (job, place) in runs::places(row) {
            places.entry(job).or_default().insert(place);
        }
    }
    Ok(places)
}
