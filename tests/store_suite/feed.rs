//! The feed: each commit's events are handed out until they are acknowledged, none is lost and none
//! of them hinders another.

use std::sync::Arc;

use avtomatika::base::JobId;
use avtomatika::domain::{Event, EventKind, Job, JobStatus};
use avtomatika::engine::Effect;
use avtomatika::store::{EventText, FeedBatch, JobText, SqliteSettings, SqliteStore};

use crate::FeedStore;
use crate::fixtures::*;

/// Stores the job with so many events; returns them.
async fn tell(store: &FeedStore, job: &Job, count: u32) -> Vec<EventText> {
    let events: Vec<Event> = (0..count)
        .map(|index| event(job, index, EventKind::Log))
        .collect();
    let texts = events.iter().map(EventText::of).collect();
    let effects = events
        .into_iter()
        .map(|event| Effect::Record(Arc::new(event)))
        .collect();
    let stored = store.commit(commit(job.clone(), effects, vec![])).await;
    stored.expect("commits");
    texts
}

async fn read(store: &FeedStore, limit: u32) -> FeedBatch {
    store.read_feed(limit).await.expect("reads")
}

async fn acknowledge(store: &FeedStore, batch: &FeedBatch) {
    let done = store.acknowledge_feed(&batch.through).await;
    done.expect("acknowledges");
}

fn ids(batch: &FeedBatch) -> Vec<JobId> {
    batch.jobs.iter().map(|job| job.id).collect()
}

pub async fn hands_out_what_commits_record_until_it_is_acknowledged(store: FeedStore) {
    assert!(read(&store, 9).await.is_empty());
    assert_eq!(store.feed_length().await.expect("counts"), 0);
    let (first, other) = (job(1), job(2));
    let mut told = tell(&store, &first, 2).await;
    told.extend(tell(&store, &other, 1).await);
    // A commit that tells nothing has nothing to hand out.
    let silent = store.commit(commit(job(3), vec![], vec![])).await;
    silent.expect("commits");
    told.extend(tell(&store, &next(&first), 1).await);
    let batch = read(&store, 9).await;
    assert_eq!(batch.events, told);
    assert_eq!(ids(&batch), [first.id, other.id]);
    assert_eq!(read(&store, 9).await, batch, "nothing is acknowledged yet");
    assert!(store.feed_length().await.expect("counts") >= 3);
    acknowledge(&store, &batch).await;
    assert_eq!(read(&store, 9).await, FeedBatch::default());
    assert!(!batch.is_full);
    assert_eq!(store.feed_length().await.expect("counts"), 0);
    let later = tell(&store, &next(&next(&first)), 1).await;
    assert_eq!(read(&store, 9).await.events, later);
}

pub async fn hands_out_what_is_appended_once(store: FeedStore) {
    let one = job(1);
    let told = tell(&store, &one, 1).await;
    let alone = event(&one, 1 << 31, EventKind::TaskIgnored);
    for _ in 0..2 {
        let again = vec![alone.clone(), told[0].event().expect("reads")];
        store.append(again).await.expect("appends");
    }
    let batch = read(&store, 9).await;
    assert_eq!(batch.events, [told[0].clone(), EventText::of(&alone)]);
    acknowledge(&store, &batch).await;
    store.append(vec![alone]).await.expect("appends");
    assert!(read(&store, 9).await.is_empty(), "it was known");
}

pub async fn hands_out_in_bounded_portions(store: FeedStore) {
    let mut told = Vec::new();
    for n in 1..=5 {
        told.extend(tell(&store, &job(n), 2).await);
    }
    let mut got = Vec::new();
    for expected in [2, 2, 1] {
        let batch = read(&store, 2).await;
        assert_eq!(batch.jobs.len(), expected);
        assert!(batch.is_full || expected == 1, "more is to be had");
        got.extend(batch.events.clone());
        acknowledge(&store, &batch).await;
    }
    assert_eq!(got, told);
    assert!(read(&store, 2).await.is_empty());
}

pub async fn tells_each_job_as_it_is_now(store: FeedStore) {
    let mut one = job(1);
    one.labels.insert("team".to_owned(), "a".to_owned());
    tell(&store, &one, 1).await;
    let over = ended(&one, JobStatus::Failed, at(9));
    tell(&store, &over, 1).await;
    let batch = read(&store, 1).await;
    assert_eq!(batch.events.len(), 1);
    let whole = JobText::of(&over);
    assert_eq!(*batch.jobs[0], whole, "with what it was given");
}

/// An acknowledgement whose answer was lost is repeated after more has come.
pub async fn acknowledges_late_without_loss(store: FeedStore) {
    tell(&store, &job(1), 1).await;
    let batch = read(&store, 9).await;
    acknowledge(&store, &batch).await;
    let later = tell(&store, &job(2), 1).await;
    acknowledge(&store, &batch).await;
    assert_eq!(read(&store, 9).await.events, later);
}

pub async fn keeps_jobs_that_wait_from_being_purged(store: FeedStore) {
    let one = job(1);
    tell(&store, &one, 1).await;
    tell(&store, &ended(&one, JobStatus::Finished, at(5)), 1).await;
    let first = read(&store, 1).await;
    acknowledge(&store, &first).await;
    assert_eq!(store.purge(at(10), 9).await.expect("purges"), []);
    let second = read(&store, 9).await;
    assert_eq!(second.events.len(), 1);
    acknowledge(&store, &second).await;
    assert_eq!(store.purge(at(10), 9).await.expect("purges"), [one.id]);
    assert!(read(&store, 9).await.is_empty());
}

/// What has gone with its job does not make what comes later look as if it had been handed out.
#[tokio::test]
async fn a_number_is_not_given_again_when_all_jobs_have_gone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("jobs.db");
    let open = || -> FeedStore {
        let settings = SqliteSettings {
            feed: true,
            ..SqliteSettings::default()
        };
        std::sync::Arc::new(SqliteStore::open(&path, &settings).expect("opens"))
    };
    for n in 1..=3 {
        let store = open();
        let one = job(n);
        tell(&store, &one, 1).await;
        tell(&store, &ended(&one, JobStatus::Finished, at(5)), 1).await;
        store.close().await;
        // What this one hands out it has read from the file.
        let store = open();
        let batch = read(&store, 9).await;
        assert_eq!(batch.events.len(), 2, "after {n} rounds");
        acknowledge(&store, &batch).await;
        assert_eq!(store.purge(at(10), 9).await.expect("purges"), [one.id]);
        store.close().await;
    }
}

/// What was told before the feed was switched on is handed out as well, and once it is off nothing
/// waits, so that nothing is kept for it.
#[tokio::test]
async fn a_feed_that_is_switched_on_brings_what_was_there() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("jobs.db");
    let open = |feed| -> FeedStore {
        let settings = SqliteSettings {
            feed,
            ..SqliteSettings::default()
        };
        std::sync::Arc::new(SqliteStore::open(&path, &settings).expect("opens"))
    };
    let store = open(false);
    let mut told = tell(&store, &job(1), 2).await;
    assert!(read(&store, 9).await.is_empty(), "it is off");
    store.close().await;
    let store = open(true);
    told.extend(tell(&store, &job(2), 1).await);
    assert_eq!(read(&store, 9).await.events, told);
    let first = read(&store, 1).await;
    acknowledge(&store, &first).await;
    store.close().await;
    let store = open(true);
    assert_eq!(read(&store, 9).await.events, told[2..], "only what waits");
    store.close().await;
    let store = open(false);
    assert!(read(&store, 9).await.is_empty());
    store.close().await;
    let store = open(true);
    assert_eq!(read(&store, 9).await.events, told, "all of it again");
    store.close().await;
}
