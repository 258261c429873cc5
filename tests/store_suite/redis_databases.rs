//! Deployments that share a server by its databases.

use avtomatika::store::{Hint, JobStore as _, RedisSettings, RedisStore};

use crate::fixtures::*;
use crate::servers::redis::Redis;

async fn in_database(redis: &Redis, database: u8) -> RedisStore {
    let url = format!("{}/{database}", redis.url());
    let settings = RedisSettings::new(url.as_str().into());
    RedisStore::open(&settings).await.expect("opens")
}

/// Channels know no databases.
#[tokio::test]
async fn server_redis_deployments_in_different_databases_do_not_hear_each_other() {
    let redis = Redis::start();
    let own = [in_database(&redis, 1).await, in_database(&redis, 1).await];
    let other = [in_database(&redis, 2).await, in_database(&redis, 2).await];
    let hints = |store: &RedisStore| store.hints().expect("it hears of others");
    let (mut told_own, mut told_other) = (hints(&own[1]), hints(&other[1]));
    for (store, id) in [(&other[0], 2), (&own[0], 1)] {
        let committed = store.commit(commit(job(id), vec![], vec![])).await;
        committed.expect("commits");
        // One after the other: a server's messages come in their order.
        let hears = if id == 2 {
            &mut told_other
        } else {
            &mut told_own
        };
        assert_eq!(hears.recv().await, Ok(Hint::Changed(job_id(id))));
    }
    for store in own.iter().chain(&other) {
        store.close().await;
    }
}
