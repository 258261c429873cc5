//! The archive: history that outlives the job store, in which ended jobs are searched and whose
//! events are linked by hashes. Fed from a [`HistoryFeed`](super::HistoryFeed); losing it for a
//! while never holds up a job.
//!
//! Here are the port and what its adapters do alike, as pure functions.

pub mod chain;
pub mod plan;
pub mod postgres;
pub mod uri;
pub mod verify;
pub mod withheld;
pub mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{FeedBatch, JobQuery, StoreError, rules};
use crate::base::{ClientId, JobId, Timestamp};
use crate::domain::{Event, Job, JobError, JobStatus};

pub use chain::{Day, DayBefore, Hash, Head, Record};

/// What a search finds of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobSummary {
    /// The id.
    pub id: JobId,
    /// The owner.
    pub client: ClientId,
    /// The blueprint's name.
    pub blueprint: String,
    /// Where it stands, or stood when its last event came in.
    pub status: JobStatus,
    /// The state that it is in.
    pub state: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Until when it is to be kept, once it has ended; none also where an older release has stored it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_until: Option<Timestamp>,
    /// The client's own attributes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Why it did not end well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
    /// The job that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<JobId>,
}

impl JobSummary {
    /// Takes what is searched and shown from a job.
    #[must_use]
    pub fn of(job: &Job) -> Self {
        Self {
            id: job.id,
            client: job.client.id.clone(),
            blueprint: job.blueprint.clone(),
            status: job.status,
            state: job.state.clone(),
            created_at: job.created_at,
            updated_at: job.updated_at,
            ended_at: job.ended_at,
            keep_until: job.keep_until,
            labels: job.labels.clone(),
            error: job.error.clone(),
            parent: job.parent.as_ref().map(|parent| parent.job_id),
        }
    }

    /// Takes what an event tells of a job whose record cannot be read.
    #[must_use]
    pub fn from_event(event: &Event) -> Self {
        Self {
            id: event.job_id,
            client: event.client.clone(),
            blueprint: String::new(),
            status: JobStatus::Pending,
            state: event.state.clone(),
            created_at: event.job_id.made_at(),
            updated_at: event.at,
            ended_at: None,
            keep_until: None,
            labels: BTreeMap::new(),
            error: None,
            parent: None,
        }
    }
}

/// Which jobs to find; newest first, after a job of the page before.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobSearch {
    /// The filters, the cursor and the limit; `skip` has no meaning here.
    pub jobs: JobQuery,
    /// Words that all have to be in the error's code or message, as [`words::of`] has them.
    pub words: Vec<String>,
}

impl JobSearch {
    /// Returns the statuses to find, each once; any when there is none.
    #[must_use]
    pub fn statuses(&self) -> BTreeSet<JobStatus> {
        self.jobs.statuses.iter().copied().collect()
    }
}

/// A page of what a search finds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobPage {
    /// The jobs, newest first; one whose summary is damaged is missing.
    pub jobs: Vec<JobSummary>,
    /// The last one that was read, damaged or not, when older ones may fit.
    pub next: Option<JobId>,
}

/// Which links to read, each in its own order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// A job's, in the order in which they came in.
    Job(JobId),
    /// A day's, likewise.
    Day(Day),
}

/// History that outlives the job store.
#[async_trait]
pub trait Archive: Send + Sync + 'static {
    /// Appends events, linking them to those before them, and brings their jobs up to date. What is
    /// known is left as it is, so that a batch may come twice.
    ///
    /// All of it is stored, or nothing. `Refused` when it may be the content
    /// that will never be taken: that is to be tried without.
    async fn append(&self, batch: Arc<FeedBatch>) -> Result<(), StoreError>;

    /// Returns the job as it ended; none while it has not ended, or when nothing is known of it.
    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError>;

    /// Returns those of these jobs that it has and that have ended, in no order, and until when each is to
    /// be kept ([`Job::keep_until`]): none where only the record itself may tell. What is let go of with
    /// the archive's own retention is not among them.
    async fn kept_until(
        &self,
        jobs: &[JobId],
    ) -> Result<Vec<(JobId, Option<Timestamp>)>, StoreError>;

    /// Returns the job's events in order after (revision, index), at most `limit`.
    async fn by_job(
        &self,
        job: JobId,
        after: Option<(u64, u32)>,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError>;

    /// Returns the jobs that fit, newest first. Jobs that come meanwhile shift nothing: the page
    /// after a job is what is older than it.
    async fn search(&self, search: JobSearch) -> Result<JobPage, StoreError>;

    /// Returns linked events after the `after`th, from 1, at most `limit`.
    async fn links(&self, of: Links, after: u64, limit: u32) -> Result<Vec<Record>, StoreError>;

    /// Returns the last link of each day, oldest day first.
    async fn days(&self) -> Result<Vec<(Day, Head)>, StoreError>;

    /// Returns a job's last link.
    async fn head(&self, job: JobId) -> Result<Option<Head>, StoreError>;

    /// Returns the first day that is kept whole: those before went with their time.
    async fn kept_from(&self) -> Result<Option<Day>, StoreError>;

    /// Prepares room for what is to come and lets go of what is older than the retention; none
    /// keeps all. Called now and then.
    async fn upkeep(&self, now: Timestamp, retention: Option<Duration>) -> Result<(), StoreError>;

    /// Tells whether it can be reached just now.
    async fn health(&self) -> Result<(), StoreError>;

    /// Lets go of what it holds.
    async fn close(&self);
}

/// Reads from a stored summary until when the job is to be kept; none where it does not tell.
pub(super) fn kept_until(summary: &str) -> Option<Timestamp> {
    let summary: Option<JobSummary> = serde_json::from_str(summary).ok();
    summary.and_then(|summary| summary.keep_until)
}

/// Returns those of these jobs that the archive has as they ended and whose own time is still to come.
/// One that cannot be read counts as such.
pub async fn kept(
    archive: &dyn Archive,
    jobs: &[JobId],
    now: Timestamp,
) -> Result<BTreeSet<JobId>, StoreError> {
    let mut kept = BTreeSet::new();
    for (id, until) in archive.kept_until(jobs).await? {
        let is_kept = match until {
            Some(until) => until > now,
            None => match archive.job(id).await {
                Ok(job) => job.is_some_and(|job| !rules::is_forgettable(&job, now)),
                Err(StoreError::Corrupt(_)) => true,
                Err(error) => return Err(error),
            },
        };
        if is_kept {
            kept.insert(id);
        }
    }
    Ok(kept)
}

/// How far a job's time of creation may be from the time in its id, in ms: the clock is read twice.
const ID_SLACK_MS: i64 = 3_600_000;

/// Returns the first id that could have been made at a time.
#[must_use]
pub fn id_from(at: Timestamp) -> JobId {
    let ms = u64::try_from(at.0.min((1 << 48) - 1)).unwrap_or(0);
    let mut bytes = [0_u8; 16];
    bytes[..6].copy_from_slice(&ms.to_be_bytes()[2..]);
    JobId(uuid::Uuid::from_bytes(bytes))
}

/// Returns the ids among which a query's jobs are: from the first to before the second.
#[must_use]
pub fn id_range(query: &JobQuery) -> (JobId, JobId) {
    let moved = |at: Timestamp, by: i64| id_from(Timestamp(at.0.saturating_add(by)));
    let first = id_from(Timestamp(0));
    let from = query
        .created_from
        .map_or(first, |at| moved(at, -ID_SLACK_MS));
    let last = JobId(uuid::Uuid::max());
    let to = query.created_to.map_or(last, |at| moved(at, ID_SLACK_MS));
    (from, query.after.map_or(to, |after| after.min(to)))
}
