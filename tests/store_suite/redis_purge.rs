//! What a look at ended jobs costs where many of them have to stay; what an older release has left.

use avtomatika::base::JobId;
use avtomatika::domain::{Job, JobStatus};
use avtomatika::engine::{Effect, Signal};
use avtomatika::store::rules::REPUTATION_KEPT_MS;
use avtomatika::store::{JobStore as _, RedisSettings, RedisStore, WorkerStore as _};
use futures::future::join_all;

use crate::fixtures::*;
use crate::redis_only::open;
use crate::servers::redis::Redis;

/// More than one look goes through.
const STUCK: u16 = 2_600;

/// The `n`th job of one partition, ended; its time is over at `n`.
fn over(n: u16) -> Job {
    let mut random = [7; 10];
    random[..2].copy_from_slice(&n.to_be_bytes());
    Job {
        id: JobId::from_parts(at(i64::from(n)), random),
        status: JobStatus::Cancelled,
        keep_until: Some(at(i64::from(n))),
        ended_at: Some(NOW),
        wake_at: None,
        ..job(n)
    }
}

/// Returns how often the server has read several fields of a record, which it does for each job that it
/// looks at.
fn looks(redis: &Redis) -> u64 {
    let said = redis.command(&["info", "commandstats"]);
    let rest = said.split("cmdstat_hmget:calls=").nth(1).unwrap_or("0");
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
    digits.and_then(|text| text.parse().ok()).expect("a count")
}

/// Jobs that cannot go, since something of them is still to be delivered, are not all looked at again and
/// again; one behind them goes all the same.
#[tokio::test]
async fn server_redis_looks_at_some_of_what_has_to_stay() {
    let redis = Redis::start();
    let settings = RedisSettings::new(redis.url().as_str().into());
    let store = RedisStore::open(&settings).await.expect("opens");
    let numbers: Vec<u16> = (0..STUCK).collect();
    for some in numbers.chunks(200) {
        let stored = some.iter().map(|n| {
            let left = Effect::Signal(Signal::CancelChild {
                child: job_id(1),
                reason: String::new(),
            });
            store.commit(commit(over(*n), vec![left], vec![]))
        });
        for stored in join_all(stored).await {
            stored.expect("commits");
        }
    }
    let free = over(STUCK);
    let stored = store.commit(commit(free.clone(), vec![], vec![])).await;
    stored.expect("commits");
    let now = at(i64::from(STUCK));
    let before = looks(&redis);
    assert_eq!(store.purge(now, 200).await.expect("purges"), []);
    let seen = looks(&redis) - before;
    assert!(seen < u64::from(STUCK), "{seen} looks");
    let then = store.purge(now, 200).await.expect("purges");
    assert_eq!(then, [free.id], "the next look goes on");
    store.close().await;
}

/// It did not note when the workers went.
#[tokio::test]
async fn server_redis_reputations_that_an_older_release_has_kept_go_in_their_time() {
    let redis = Redis::start();
    let store = open(&redis).await;
    let key = "avtomatika:{w}:rep";
    redis.command(&["hset", key, "worker-long-ago", "0.5"]);
    let stays = worker("w1", 2 * REPUTATION_KEPT_MS);
    store.put_worker(stays).await.expect("stores");
    for (ms, expected) in [
        (0, "w1 worker-long-ago"),
        (REPUTATION_KEPT_MS, "w1 worker-long-ago"),
        (REPUTATION_KEPT_MS + 1, "w1"),
    ] {
        assert_eq!(store.forget_workers(at(ms)).await.expect("forgets"), []);
        let kept = redis.command(&["hkeys", key]);
        let mut kept: Vec<&str> = kept.split_whitespace().collect();
        kept.sort_unstable();
        assert_eq!(kept.join(" "), expected, "{ms}");
    }
    store.close().await;
}
