//! Records for the suite, made from small numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use avtomatika::base::{JobId, Timestamp};
use avtomatika::domain::{Event, EventKind, Job, JobError, JobStatus, Object};
use avtomatika::store::{Archive, EventText, FeedBatch, JobText};
use serde_json::json;

/// When the tests take place: 2026-11-23.
pub const NOW: Timestamp = Timestamp(1_795_422_000_000);
/// Milliseconds of a day.
pub const DAY: i64 = 86_400_000;

/// Returns the time so many ms after [`NOW`].
pub fn at(ms: i64) -> Timestamp {
    Timestamp(NOW.0 + ms)
}

/// Returns the id of the `n`th job, made so many ms after [`NOW`]; those of one time sort by `n`.
pub fn id(n: u16, ms: i64) -> JobId {
    let mut random = [7; 10];
    random[2..4].copy_from_slice(&n.to_be_bytes());
    JobId::from_parts(at(ms), random)
}

/// Returns a job that waits, at its first revision.
pub fn job(n: u16, ms: i64) -> Job {
    serde_json::from_value(json!({
        "id": id(n, ms),
        "revision": 1,
        "blueprint": "render",
        "blueprint_revision": "r1",
        "client": {"id": "acme", "plan": "free", "params": {}},
        "status": "waiting_for_worker",
        "state": "start",
        "visit": 1,
        "initial_data": {"ratio": 0.1, "text": "naïve → 日本"},
        "security": {"token": "of the client"},
        "step": 1,
        "max_transitions": 100,
        "created_at": at(ms),
        "updated_at": at(ms),
        "entered_at": at(ms),
    }))
    .expect("a job")
}

/// Returns the job as it has ended, with its next revision.
pub fn ended(job: &Job, status: JobStatus, ms: i64) -> Job {
    Job {
        revision: job.revision + 1,
        status,
        ended_at: Some(at(ms)),
        updated_at: at(ms),
        ..job.clone()
    }
}

/// Returns the job as it failed.
pub fn failed(job: &Job, code: &str, message: &str, ms: i64) -> Job {
    Job {
        error: Some(JobError {
            code: code.to_owned(),
            message: message.to_owned(),
            state: None,
        }),
        ..ended(job, JobStatus::Failed, ms)
    }
}

/// Returns the job with labels.
pub fn labelled(job: Job, labels: &[(&str, &str)]) -> Job {
    let labels: BTreeMap<String, String> = labels
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Job { labels, ..job }
}

/// Returns an event of the job's present revision, so many ms after [`NOW`].
pub fn event(job: &Job, index: u32, ms: i64) -> Event {
    let mut details = Object::new();
    details.insert("ratio".to_owned(), json!(0.1));
    Event {
        event_id: Event::derive_id(job.id, job.revision, index),
        job_id: job.id,
        client: job.client.id.clone(),
        revision: job.revision,
        index,
        at: at(ms),
        kind: EventKind::Log,
        state: job.state.clone(),
        previous_state: None,
        next_state: None,
        worker_id: None,
        task_id: None,
        attempt: None,
        duration_ms: Some(3),
        details,
    }
}

/// Returns a batch.
pub fn batch(
    events: impl IntoIterator<Item = Event>,
    jobs: impl IntoIterator<Item = Job>,
) -> Arc<FeedBatch> {
    Arc::new(FeedBatch {
        events: events
            .into_iter()
            .map(|event| EventText::of(&event))
            .collect(),
        jobs: jobs
            .into_iter()
            .map(|job| Arc::new(JobText::of(&job)))
            .collect(),
        through: "1".to_owned(),
        is_full: false,
    })
}

/// Brings one event of each job over, at the time that the job last changed.
pub async fn bring(archive: &Arc<dyn Archive>, jobs: &[Job]) {
    let events = jobs
        .iter()
        .map(|job| event(job, 0, job.updated_at.0 - NOW.0));
    let appended = archive.append(batch(events, jobs.to_vec())).await;
    appended.expect("appends");
}

/// Brings one event of the job over.
pub async fn bring_one(archive: &Arc<dyn Archive>, job: &Job) {
    bring(archive, std::slice::from_ref(job)).await;
}
