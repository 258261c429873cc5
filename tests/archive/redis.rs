//! The way into the archive from a store in Redis that several orchestrators share.

use std::sync::Arc;

use avtomatika::runtime::Settings;
use avtomatika::store::{Archive, RedisSettings, RedisStore};

use crate::export::{World, in_file};
use crate::on_server;
use crate::servers::postgres::Postgres;
use crate::servers::redis::Redis;

/// Starts an orchestrator beside those that are on the server.
async fn start(redis: &Redis, archive: Arc<dyn Archive>) -> World {
    let settings = RedisSettings::new(redis.url().as_str().into());
    let store = RedisStore::open(&settings).await.expect("opens");
    store.switch_feed(true).await.expect("switches it on");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = Settings {
        look_every_ms: 500,
        ..Settings::default()
    };
    World::on(Arc::new(store), archive, folder, settings).await
}

/// PostgreSQL goes away while two orchestrators are at work, and Redis does, too; one of the two leaves.
#[tokio::test(flavor = "multi_thread")]
async fn server_redis_brings_everything_to_postgres_through_outages() {
    let (mut redis, mut postgres) = (Redis::with(&["--appendfsync", "always"]), Postgres::start());
    let first = start(&redis, on_server(&postgres)).await;
    let second = start(&redis, on_server(&postgres)).await;
    let mut jobs = first.run(10).await;
    jobs.extend(second.run(10).await);
    first.is_through().await;
    postgres.kill();
    jobs.extend(first.run(30).await);
    jobs.extend(second.run(30).await);
    first.says("degraded since").await;
    second.says("degraded since").await;
    assert!(first.store.feed_length().await.expect("counts") >= 60);
    redis.restart();
    postgres.restart();
    let back = async { while first.store.health().await.is_err() {} };
    let back = tokio::time::timeout(std::time::Duration::from_mins(1), back);
    back.await.expect("the connection comes back");
    jobs.extend(first.run(10).await);
    first.is_through().await;
    first.has_arrived(&jobs).await;
    assert_eq!(postgres.run("SELECT count(*) FROM history_jobs"), "90");
    // Whoever is left goes on with it.
    first.runtime.shutdown().await;
    jobs.extend(second.run(10).await);
    second.is_through().await;
    second.has_arrived(&jobs).await;
    second.runtime.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_redis_brings_everything_to_a_file() {
    let redis = Redis::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let world = start(&redis, in_file(&folder)).await;
    let jobs = world.run(700).await;
    world.is_through().await;
    world.has_arrived(&jobs).await;
    world.runtime.shutdown().await;
}
