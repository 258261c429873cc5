//! Events as rows. A row is a run of links that follow each other in their job and on their day, so
//! that a job which comes whole costs one row; each link but the first has the one before it in
//! both chains.

use serde::Deserialize;
use serde_json::Value;
use tokio_postgres::Row;

use super::append::{count, day_before, hash};
use super::corrupt;
use crate::base::JobId;
use crate::domain::Event;
use crate::store::StoreError;
use crate::store::archive::chain::Linked;
use crate::store::archive::{Day, Hash, Record};

/// A job's rows from the one on that holds the link after a number; each holds one at least.
pub(super) const LINKS_OF_JOB: &str = "SELECT body, job_number, day, day_number, previous_in_job,
         previous_in_day, hashes, before_day, before_number FROM history_events
     WHERE job = $1 AND job_number >= coalesce(
         (SELECT max(job_number) FROM history_events WHERE job = $1 AND job_number <= $2), 0)
     ORDER BY job_number LIMIT $3";

/// A day's rows with its links after a number, or after a gap behind that, so many.
pub(super) const LINKS_OF_DAY: &str = "SELECT body, job_number, day, day_number, previous_in_job,
         previous_in_day, hashes, before_day, before_number FROM history_events
     WHERE day = $1 AND day_number <= $3::bigint + greatest($2::bigint, (SELECT min(day_number)
         FROM history_events WHERE day = $1 AND day_number > $2)) AND day_number >= coalesce(
         (SELECT max(day_number) FROM history_events WHERE day = $1 AND day_number <= $2), 0)
     ORDER BY day_number";

/// Cuts linked events into runs. Their places ascend within each.
pub(super) fn of<'a, 'e>(events: &'a [Linked<'e>]) -> impl Iterator<Item = &'a [Linked<'e>]> {
    let place = |one: &Linked<'_>| (one.event.revision, one.event.index);
    events.chunk_by(move |one, next| {
        one.event.job_id == next.event.job_id && one.day == next.day && place(one) < place(next)
    })
}

/// Returns the run's hashes, one after the other.
pub(super) fn hashes(run: &[Linked<'_>]) -> Vec<u8> {
    run.iter().flat_map(|one| one.job.hash.0).collect()
}

/// Reads the links of a row of [`LINKS_OF_JOB`] or [`LINKS_OF_DAY`]. Of a row that somebody has changed
/// there may be more events than hashes, or fewer: what is missing is told as null or zeros, which no
/// check takes for whole.
pub(super) fn records(row: &Row) -> Result<Vec<Record>, StoreError> {
    let events: Vec<Value> =
        serde_json::from_str(row.get(0)).map_err(|error| corrupt("run of events", &error))?;
    let hashes: &[u8] = row.get(6);
    let mut hashes = hashes
        .chunks(32)
        .map(|one| Hash::from_slice(one).unwrap_or_default());
    let mut events = events.into_iter();
    let (mut job_number, mut day_number) = (count(row, 1), count(row, 3));
    let (mut previous_in_job, mut previous_in_day) = (hash(row, 4), hash(row, 5));
    let mut day_before = day_before(row, 7);
    let mut records = Vec::with_capacity(events.len());
    loop {
        let (event, hash) = (events.next(), hashes.next());
        if event.is_none() && hash.is_none() {
            return Ok(records);
        }
        let hash = hash.unwrap_or_default();
        records.push(Record {
            event: event.unwrap_or_default(),
            job_number,
            day: Day(row.get(2)),
            day_number,
            previous_in_job,
            previous_in_day,
            day_before: day_before.take(),
            hash,
        });
        (previous_in_job, previous_in_day) = (hash, hash);
        (job_number, day_number) = (job_number.saturating_add(1), day_number.saturating_add(1));
    }
}

/// Reads the events of a row.
pub(super) fn events(row: &Row) -> Result<Vec<Event>, StoreError> {
    serde_json::from_str(row.get(0)).map_err(|error| corrupt("run of events", &error))
}

/// Reads the places of a row's events, each with its job. A row that cannot be read has none.
pub(super) fn places(row: &Row) -> Vec<(JobId, (u64, u32))> {
    #[derive(Deserialize)]
    struct Place {
        job_id: JobId,
        revision: u64,
        index: u32,
    }
    let places: Vec<Place> = serde_json::from_str(row.get(0)).unwrap_or_default();
    let places = places.iter();
    places
        .map(|place| (place.job_id, (place.revision, place.index)))
        .collect()
}
