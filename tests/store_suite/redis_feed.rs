//! The feed of a store in Redis: switched on and off for everybody, taken by one orchestrator at a time,
//! and what it lets go before its time.

use std::time::Duration;

use avtomatika::domain::{EventKind, Job, JobStatus};
use avtomatika::engine::Effect;
use avtomatika::store::{FeedBatch, HistoryFeed as _, JobStore as _, RedisSettings, RedisStore};

use crate::fixtures::*;
use crate::servers::redis::Redis;

async fn open(redis: &Redis) -> RedisStore {
    let settings = RedisSettings {
        retention: Some(Duration::from_millis(10)),
        ..RedisSettings::new(redis.url().as_str().into())
    };
    RedisStore::open(&settings).await.expect("opens")
}

/// Stores the job with one event.
async fn tell(store: &RedisStore, job: &Job) {
    let told = Effect::Record(Box::new(event(job, 0, EventKind::Log)));
    let stored = store.commit(commit(job.clone(), vec![told], vec![])).await;
    stored.expect("commits");
}

async fn read(store: &RedisStore) -> FeedBatch {
    store.read_feed(1_000).await.expect("reads")
}

async fn bring(store: &RedisStore) {
    let batch = read(store).await;
    let done = store.acknowledge_feed(&batch.through).await;
    done.expect("acknowledges");
}

/// What was told before it was switched on is handed out as well, before what has been told since;
/// once it is off nothing waits, so that nothing is kept for it.
#[tokio::test]
async fn server_redis_feed_that_is_switched_on_brings_what_was_there() {
    let redis = Redis::start();
    let (store, other) = (open(&redis).await, open(&redis).await);
    let jobs: Vec<Job> = (1..=300).map(job).collect();
    for job in &jobs {
        tell(&store, job).await;
    }
    assert!(read(&store).await.is_empty(), "it is off");
    store.switch_feed(true).await.expect("switches");
    store.switch_feed(true).await.expect("changes nothing");
    tell(&other, &next(&jobs[0])).await;
    let batch = read(&store).await;
    assert_eq!(batch.events.len(), 301);
    assert_eq!(batch.jobs.len(), 300);
    assert_eq!(batch.events.last().map(|event| event.revision), Some(2));
    store.switch_feed(false).await.expect("switches");
    assert!(read(&store).await.is_empty());
    assert_eq!(store.feed_length().await.expect("counts"), 0);
    store.switch_feed(true).await.expect("switches");
    assert_eq!(read(&store).await.events.len(), 301, "all of it again");
    store.close().await;
    other.close().await;
}

/// One at a time has it; when that one leaves, or is not heard of any more, another takes it up.
#[tokio::test]
async fn server_redis_feed_is_taken_over() {
    let redis = Redis::start();
    let stores = [open(&redis).await, open(&redis).await, open(&redis).await];
    stores[0].switch_feed(true).await.expect("switches");
    tell(&stores[0], &job(1)).await;
    let batch = read(&stores[0]).await;
    assert_eq!(batch.events.len(), 1);
    assert!(read(&stores[1]).await.is_empty(), "the first is at it");
    stores[0].close().await;
    assert_eq!(read(&stores[1]).await, batch, "the first has left");
    // The second dies: it leaves nothing but its lease.
    let taken = async { while read(&stores[2]).await.is_empty() {} };
    tokio::time::timeout(Duration::from_mins(1), taken)
        .await
        .expect("the lease ends");
    for store in &stores[1..] {
        store.close().await;
    }
}

/// With a retention of its own a job goes when the archive has it; without a feed it stays.
#[tokio::test]
async fn server_redis_lets_jobs_go_early_once_they_are_in_the_archive() {
    let redis = Redis::start();
    let store = open(&redis).await;
    let over = |job: &Job| Job {
        ended_at: Some(at(5)),
        ..ended(job, JobStatus::Finished, at(500))
    };
    let purge = async |ms| store.purge(at(ms), 9).await.expect("purges");
    tell(&store, &job(1)).await;
    tell(&store, &over(&job(1))).await;
    assert_eq!(purge(400).await, [], "nobody else has it");
    store.switch_feed(true).await.expect("switches");
    for n in 2..=3 {
        tell(&store, &job(n)).await;
    }
    tell(&store, &over(&job(2))).await;
    assert_eq!(purge(400).await, [], "the archive does not have it");
    bring(&store).await;
    assert_eq!(purge(14).await, [], "its time is not over");
    assert_eq!(purge(15).await, [job_id(1), job_id(2)]);
    // One that is set going again stays.
    tell(&store, &over(&job(3))).await;
    let again = Job {
        revision: 3,
        ..job(3)
    };
    tell(&store, &again).await;
    bring(&store).await;
    assert_eq!(purge(400).await, []);
    // What was let go early has left nothing behind.
    let left = redis.command(&["keys", &format!("*{}*", job_id(1))]);
    assert_eq!(left, "");
    store.close().await;
}
