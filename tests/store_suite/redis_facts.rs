//! What is known of a Redis: how it keeps jobs, and whether it may be given any.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use avtomatika::base::{Clock as _, SystemClock};
use avtomatika::store::{Durability, JobStore as _, RedisSettings, RedisStore};

use crate::redis_only::{open, refusal, settings};
use crate::servers::redis::Redis;

#[tokio::test]
async fn server_redis_that_may_drop_jobs_is_refused() {
    let redis = Redis::with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let error = refusal(&settings(&redis)).await;
    assert!(error.contains("maxmemory-policy is allkeys-lru"), "{error}");
    let development = RedisSettings {
        allow_eviction: true,
        ..settings(&redis)
    };
    let store = RedisStore::open(&development).await.expect("opens");
    assert!(store.description().contains("allkeys-lru"));
    store.close().await;
}

#[tokio::test]
async fn server_redis_says_how_it_keeps_jobs() {
    let redis = Redis::start();
    for (appendonly, appendfsync, expected) in [
        ("yes", "always", Durability::Fsync),
        ("yes", "everysec", Durability::Everysec),
        ("yes", "no", Durability::Os),
        ("no", "always", Durability::None),
    ] {
        redis.command(&["config", "set", "appendonly", appendonly]);
        redis.command(&["config", "set", "appendfsync", appendfsync]);
        let store = open(&redis).await;
        assert_eq!(store.durability(), expected, "{}", store.description());
        store.close().await;
    }
}

/// Waits until that is known of the server.
async fn knows(store: &RedisStore, what: impl Fn(&RedisStore) -> bool) {
    let known = async {
        while !what(store) {
            // Answered or not: others have their turn meanwhile.
            let _ = store.health().await;
        }
    };
    let known = tokio::time::timeout(Duration::from_mins(1), known).await;
    known.unwrap_or_else(|_| panic!("{}", store.description()));
}

/// After a failover it is another one, and it may be set anew.
#[tokio::test]
async fn server_redis_is_looked_at_again_when_it_is_found_again() {
    let redis = Redis::start();
    let store = open(&redis).await;
    assert_eq!(store.durability(), Durability::Everysec);
    assert_eq!(store.refusal(), None);
    let set = |name, value| {
        redis.command(&["config", "set", name, value]);
        redis.command(&["client", "kill", "type", "normal"]);
    };
    set("appendfsync", "always");
    knows(&store, |store| store.durability() == Durability::Fsync).await;
    set("maxmemory-policy", "allkeys-lru");
    knows(&store, |store| store.refusal().is_some()).await;
    let refusal = store.refusal().unwrap_or_default();
    assert!(refusal.contains("is allkeys-lru"), "{refusal}");
    set("maxmemory-policy", "noeviction");
    knows(&store, |store| store.refusal().is_none()).await;
    store.close().await;
}

/// What is due and what a lease is worth goes by the clocks of the orchestrators.
#[tokio::test]
async fn server_redis_whose_clock_is_another_is_told_until_they_agree() {
    static AHEAD_MS: AtomicU64 = AtomicU64::new(30_000);
    let redis = Redis::start();
    let hurried = RedisSettings {
        clock: || SystemClock.now().after_ms(AHEAD_MS.load(Ordering::Acquire)),
        ..settings(&redis)
    };
    let store = RedisStore::open(&hurried).await.expect("opens");
    let described = store.description();
    assert!(
        described.contains(" s behind this machine's"),
        "{described}"
    );
    AHEAD_MS.store(0, Ordering::Release);
    redis.command(&["client", "kill", "type", "normal"]);
    knows(&store, |store| !store.description().contains("clock")).await;
    AHEAD_MS.store(3_000, Ordering::Release);
    redis.command(&["client", "kill", "type", "normal"]);
    knows(&store, |store| store.description().contains("clock")).await;
    store.close().await;
}
