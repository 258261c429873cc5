//! The feed of a store in Redis: switched on and off for everybody, taken by one orchestrator at a time,
//! and what it lets go before its time.

use std::sync::Arc;
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
    let told = Effect::Record(Arc::new(event(job, 0, EventKind::Log)));
    let stored = store.commit(commit(job.clone(), vec![told], vec![])).await;
    stored.expect("commits");
}

async fn read(store: &RedisStore) -> FeedBatch {
    store.read_feed(1_000).await.expect("reads")
}

/// Brings everything over; returns the batches.
async fn bring(store: &RedisStore) -> Vec<FeedBatch> {
    let mut batches = Vec::new();
    loop {
        let batch = read(store).await;
        let done = store.acknowledge_feed(&batch.through).await;
        done.expect("acknowledges");
        batches.push(batch);
        if !batches.last().is_some_and(|batch| batch.is_full) {
            return batches;
        }
    }
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
    let waited = store.switch_feed(true).await.expect("switches");
    assert_eq!(waited, None, "nothing is switched off");
    store.switch_feed(true).await.expect("changes nothing");
    tell(&other, &next(&jobs[0])).await;
    assert_eq!(store.feed_length().await.expect("counts"), 301);
    let batches = bring(&store).await;
    assert_eq!(batches[0].events.len(), 300);
    assert_eq!(batches[0].jobs.len(), 300);
    let revisions = batches[1].events.iter().map(|event| event.revision);
    assert_eq!(revisions.collect::<Vec<_>>(), [2], "and only then");
    assert!(read(&store).await.is_empty());
    tell(&other, &next(&next(&jobs[0]))).await;
    let waited = store.switch_feed(false).await.expect("switches");
    assert_eq!(waited, Some(1), "it was on");
    let waited = other.switch_feed(false).await.expect("changes nothing");
    assert_eq!(waited, None);
    assert!(read(&store).await.is_empty());
    assert_eq!(store.feed_length().await.expect("counts"), 0);
    store.switch_feed(true).await.expect("switches");
    assert_eq!(read(&store).await.events.len(), 302, "all of it again");
    store.close().await;
    other.close().await;
}

/// What the process that brings over has told itself it need not read; it hands out the same as one
/// that reads, also where others have told something of the same job in between.
#[tokio::test]
async fn server_redis_feed_is_the_same_from_memory() {
    let redis = Redis::start();
    let (store, other) = (open(&redis).await, open(&redis).await);
    store.switch_feed(true).await.expect("switches");
    assert!(
        read(&store).await.is_empty(),
        "and has the lease from now on"
    );
    let mut jobs: Vec<Job> = (1..=5).map(job).collect();
    for round in 0..4 {
        for (n, job) in jobs.iter_mut().enumerate() {
            let who = if (n + round) % 3 == 0 { &other } else { &store };
            tell(who, job).await;
            *job = next(job);
        }
    }
    let kept = read(&store).await;
    assert_eq!(kept.events.len(), 20);
    assert_eq!(read(&store).await, kept, "nothing is kept any more");
    bring(&store).await;
    assert!(read(&store).await.is_empty());
    // A bound that cuts what is kept leaves the rest for the next time.
    for job in &jobs {
        tell(&store, job).await;
    }
    let mut events = Vec::new();
    for _ in 0..3 {
        let batch = store.read_feed(2).await.expect("reads");
        assert_eq!(batch.jobs.len(), batch.events.len());
        events.extend(batch.events);
        let done = store.acknowledge_feed(&batch.through).await;
        done.expect("acknowledges");
    }
    let ids: Vec<_> = events.iter().map(|event| event.job_id).collect();
    assert_eq!(ids, (1..=5).map(job_id).collect::<Vec<_>>());
    store.close().await;
    other.close().await;
}

/// Returns the name of something in a job's partition.
fn key(job: &Job, name: &str) -> String {
    format!("avtomatika:{{p{:02}}}:{name}", job.id.partition() % 16)
}

/// A server that has forgotten its last second is told other things in its place: what is acknowledged
/// afterwards takes none of them along, and what was kept of the forgotten is not handed out for them.
#[tokio::test]
async fn server_redis_feed_loses_nothing_with_the_servers_last_second() {
    let redis = Redis::start();
    let (store, other) = (open(&redis).await, open(&redis).await);
    store.switch_feed(true).await.expect("switches");
    assert!(read(&store).await.is_empty(), "the lease is taken");
    let one = job(1);
    tell(&store, &one).await;
    let second = next(&one);
    tell(&store, &second).await;
    let batch = read(&store).await;
    assert_eq!(batch.events.len(), 2);
    let stream = key(&one, "fe");
    let last = redis.command(&["xrevrange", &stream, "+", "-", "count", "1"]);
    let last = last.lines().next().expect("an entry").to_owned();
    redis.command(&["xdel", &stream, &last]);
    tell(&store, &next(&second)).await;
    let done = store.acknowledge_feed(&batch.through).await;
    done.expect("acknowledges what it can");
    let again = bring(&store).await;
    let revisions = again[0].events.iter().map(|event| event.revision);
    assert_eq!(revisions.collect::<Vec<_>>(), [1, 3], "all that is there");

    let forgotten = job(2);
    tell(&store, &forgotten).await;
    redis.command(&["xtrim", &key(&forgotten, "fe"), "maxlen", "0"]);
    for name in ["j", "h"] {
        let name = format!("{name}:{}", forgotten.id);
        redis.command(&["del", &key(&forgotten, &name)]);
    }
    let retold = Effect::Record(Arc::new(event(&forgotten, 0, EventKind::TaskIgnored)));
    let stored = other.commit(commit(forgotten, vec![retold], vec![])).await;
    stored.expect("commits");
    let batch = read(&store).await;
    let kinds: Vec<_> = batch
        .events
        .iter()
        .map(|event| event.event().expect("reads").kind)
        .collect();
    assert_eq!(kinds, [EventKind::TaskIgnored]);
    store.close().await;
    other.close().await;
}

/// Where a feed's stream is gone, all that was told is handed out again, what was told without it as well.
#[tokio::test]
async fn server_redis_feed_that_is_lost_is_filled_again() {
    let redis = Redis::start();
    let store = open(&redis).await;
    store.switch_feed(true).await.expect("switches");
    let one = job(1);
    tell(&store, &one).await;
    assert_eq!(bring(&store).await[0].events.len(), 1);
    redis.command(&["del", &key(&one, "fe")]);
    tell(&store, &next(&one)).await;
    let length = redis.command(&["xlen", &key(&one, "fe")]);
    assert_eq!(length.trim(), "1", "the commit itself has made it again");
    assert_eq!(bring(&store).await[0].events.len(), 2);
    tell(&store, &next(&next(&one))).await;
    let last = bring(&store).await;
    let revisions = last[0].events.iter().map(|event| event.revision);
    assert_eq!(revisions.collect::<Vec<_>>(), [3]);
    store.close().await;
}

/// A job that the archive may not have stays while its feed is lost.
#[tokio::test]
async fn server_redis_feed_that_is_lost_keeps_its_jobs() {
    let redis = Redis::start();
    let store = open(&redis).await;
    store.switch_feed(true).await.expect("switches");
    let one = job(1);
    tell(&store, &one).await;
    tell(&store, &ended(&one, JobStatus::Finished, at(5))).await;
    bring(&store).await;
    redis.command(&["del", &key(&one, "fe")]);
    let purge = || store.purge(at(1_000), 9);
    assert_eq!(purge().await.expect("purges"), []);
    bring(&store).await;
    assert_eq!(purge().await.expect("purges"), [one.id]);
    store.close().await;
}

/// A row that cannot be read holds up nobody, and the record of its job goes with the next.
#[tokio::test]
async fn server_redis_feed_brings_a_job_whose_first_row_is_damaged() {
    let redis = Redis::start();
    let store = open(&redis).await;
    store.switch_feed(true).await.expect("switches");
    let one = job(1);
    tell(&store, &one).await;
    tell(&store, &next(&one)).await;
    let rows = key(&one, &format!("h:{}", one.id));
    redis.command(&["zpopmin", &rows]);
    redis.command(&["zadd", &rows, "0", "b1a{"]);
    let batch = read(&store).await;
    assert_eq!(batch.events.len(), 1);
    assert_eq!(batch.jobs.len(), 1);
    assert_eq!(batch.jobs[0].revision, 2);
    store.close().await;
}

/// What an older version had in its feed is brought over again, all that its partition has.
#[tokio::test]
async fn server_redis_feed_of_an_older_version_is_taken_over() {
    let redis = Redis::start();
    let store = open(&redis).await;
    store.switch_feed(true).await.expect("switches");
    let job = job(3);
    for told in [job.clone(), next(&job), next(&next(&job))] {
        tell(&store, &told).await;
    }
    let over = ended(&next(&next(&job)), JobStatus::Finished, at(5));
    tell(&store, &over).await;
    bring(&store).await;
    let old = key(&job, "feed");
    redis.command(&["zadd", &old, "7", &format!("{} b4a", job.id)]);
    let purged = store.purge(at(9), 9).await.expect("purges");
    assert_eq!(
        purged,
        [],
        "an older one beside this one may have told of it"
    );
    store.switch_feed(true).await.expect("switches");
    let again = bring(&store).await;
    assert_eq!(again[0].events.len(), 4);
    store.switch_feed(true).await.expect("changes nothing");
    assert!(read(&store).await.is_empty(), "once");
    assert_eq!(store.purge(at(9), 9).await.expect("purges"), [job.id]);
    store.close().await;
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
