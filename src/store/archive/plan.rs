//! What of a batch is new to an archive, and how its jobs stand then.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::chain::{Day, Days, Hasher, Head, Linked, Linker};
use super::{JobSummary, words};
use crate::base::{JobId, Timestamp};
use crate::store::{EventText, FeedBatch, JobText, StoreError, Text};

/// How far an archive knows a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// The revision of its record.
    pub revision: u64,
    /// The last link of its chain.
    pub head: Head,
    /// The furthest place among its events; what lies behind it is new.
    pub last: (u64, u32),
    /// What was searched of it when it had ended; none of one that had not.
    pub ended: Option<JobSummary>,
}

/// A job as it is to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRow<'a> {
    /// What is searched and shown.
    pub summary: Cow<'a, JobSummary>,
    /// The revision of its record.
    pub revision: u64,
    /// Whether the archive has a row of it.
    pub is_known: bool,
    /// Whether what the archive has of it is older: else only its chain goes on.
    pub is_newer: bool,
    /// The last link of its chain.
    pub head: Head,
    /// The furthest place among its events.
    pub last: (u64, u32),
    /// The time of the latest of the new events.
    pub last_at: Timestamp,
    /// The record itself as JSON, once the job has ended.
    pub body: Option<&'a Text>,
    /// Whether it had ended when it was last stored.
    pub had_ended: bool,
    /// What it is found by beside its columns, as far as that is not stored yet.
    pub new_terms: Vec<String>,
    /// What it was found by and is no more: the words of an error from which it was set going again.
    pub stale_terms: Vec<String>,
}

impl JobRow<'_> {
    /// Returns the summary as JSON.
    #[must_use]
    pub fn summary_body(&self) -> String {
        serde_json::to_string(&self.summary).expect("a summary's keys are texts")
    }
}

/// What is to be written for a batch.
#[derive(Debug)]
pub struct Plan<'a> {
    /// New events, linked: those of one job behind each other, in their order.
    pub events: Vec<Linked<'a>>,
    /// Their jobs, and those of known events whose record has become newer.
    pub jobs: Vec<JobRow<'a>>,
    /// Where the chains of their days stand.
    pub days: BTreeMap<Day, Head>,
}

/// Returns the jobs and the days that a batch touches: what has to be read before it is planned.
#[must_use]
pub fn touched(batch: &FeedBatch) -> (BTreeSet<JobId>, BTreeSet<Day>) {
    let jobs = batch.events.iter().map(|event| event.job_id).collect();
    let days = batch.events.iter().map(|event| Day::of(event.at)).collect();
    (jobs, days)
}

/// Returns those of the days that the archive has not: what they go on from has to be read, too.
#[must_use]
pub fn beginning(days: &BTreeSet<Day>, heads: &BTreeMap<Day, Head>) -> BTreeSet<Day> {
    let days = days.iter().filter(|day| !heads.contains_key(day));
    days.copied().collect()
}

/// Returns the jobs of which a batch has the very first event.
#[must_use]
pub fn begun(batch: &FeedBatch) -> BTreeSet<JobId> {
    let is_first = |event: &&EventText| (event.revision, event.index) == (1, 0);
    let events = batch.events.iter().filter(is_first);
    events.map(|event| event.job_id).collect()
}

/// Returns the events that the archive may know already: all others lie behind what it has of their
/// jobs.
#[must_use]
pub fn doubtful<'a>(batch: &'a FeedBatch, known: &BTreeMap<JobId, Known>) -> Vec<&'a EventText> {
    let is_behind = |event: &&EventText| {
        known
            .get(&event.job_id)
            .is_none_or(|known| (event.revision, event.index) > known.last)
    };
    let events = batch.events.iter();
    events.filter(|event| !is_behind(event)).collect()
}

/// Plans a batch. `repeated` are those of the doubtful events that are there.
pub fn plan<'a>(
    batch: &'a FeedBatch,
    hasher: Hasher,
    (known, days): (&BTreeMap<JobId, Known>, Days),
    repeated: &BTreeSet<(JobId, u64, u32)>,
) -> Result<Plan<'a>, StoreError> {
    let heads = known.iter().map(|(id, known)| (*id, known.head)).collect();
    let mut linker = Linker::new(hasher, heads, days);
    let told = new_by_job(batch, known, repeated);
    let records: BTreeMap<JobId, &JobText> =
        batch.jobs.iter().map(|job| (job.id, &**job)).collect();
    let mut events = Vec::with_capacity(batch.events.len());
    let mut jobs = Vec::with_capacity(told.len());
    for (id, told) in told {
        events.extend(told.new.iter().map(|event| linker.link(event)));
        let head = linker.jobs().get(&id).copied().unwrap_or_default();
        let record = records.get(&id).copied();
        jobs.push(row(record, known.get(&id), &told, head)?);
    }
    Ok(Plan {
        events,
        jobs,
        days: linker.days().clone(),
    })
}

/// Returns what is new, by job.
fn new_by_job<'a>(
    batch: &'a FeedBatch,
    known: &BTreeMap<JobId, Known>,
    repeated: &BTreeSet<(JobId, u64, u32)>,
) -> BTreeMap<JobId, Told<'a>> {
    let mut all: BTreeMap<JobId, Told<'a>> = BTreeMap::new();
    for event in &batch.events {
        let place = (event.revision, event.index);
        let last = known.get(&event.job_id).map(|known| known.last);
        let told = all.entry(event.job_id).or_insert_with(|| Told {
            new: Vec::new(),
            latest: event,
            last: last.unwrap_or_default(),
        });
        // They come in order: only one that is not behind all others may be there already.
        if place <= told.last
            && (repeated.contains(&(event.job_id, place.0, place.1)) || told.has(place))
        {
            continue;
        }
        told.last = told.last.max(place);
        if event.at > told.latest.at {
            told.latest = event;
        }
        told.new.push(event);
    }
    all
}

/// What a batch tells of one job.
struct Told<'a> {
    /// Events that are new.
    new: Vec<&'a EventText>,
    /// The latest of them, or one that is known.
    latest: &'a EventText,
    /// The furthest place among its events.
    last: (u64, u32),
}

impl Told<'_> {
    /// Tells whether the event of a place is among the new ones.
    fn has(&self, place: (u64, u32)) -> bool {
        let mut places = self.new.iter().map(|event| (event.revision, event.index));
        places.any(|known| known == place)
    }
}

fn row<'a>(
    job: Option<&'a JobText>,
    known: Option<&Known>,
    told: &Told<'_>,
    head: Head,
) -> Result<JobRow<'a>, StoreError> {
    let before = known.map_or(0, |known| known.revision);
    let revision = job.map_or(0, |job| job.revision).max(before);
    let summary = match job {
        Some(job) => Cow::Borrowed(&job.summary),
        None => Cow::Owned(JobSummary::from_event(&told.latest.event()?)),
    };
    let present = words::terms(&summary);
    let is_newer = known.is_none() || revision > before;
    let ended_before = known.and_then(|known| known.ended.as_ref());
    let stored = match (known, ended_before) {
        // Nothing changes.
        _ if !is_newer => present.clone(),
        (None, _) => Vec::new(),
        (_, Some(summary)) => words::terms(summary),
        // Its labels were stored with its first event, and it had no error then.
        (Some(_), None) => words::of_labels(&summary),
    };
    let without = |all: &[String], gone: &[String]| -> Vec<String> {
        let kept = all.iter().filter(|term| !gone.contains(term));
        kept.cloned().collect()
    };
    let (new_terms, stale_terms) = (without(&present, &stored), without(&stored, &present));
    Ok(JobRow {
        summary,
        revision,
        is_known: known.is_some(),
        is_newer,
        head,
        last: told.last,
        last_at: told.latest.at,
        body: job.and_then(|job| job.body.as_ref()),
        had_ended: ended_before.is_some(),
        new_terms,
        stale_terms,
    })
}
