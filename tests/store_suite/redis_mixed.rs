//! What an older version beside this one leaves behind: it kept all messages in one set.

use avtomatika::engine::Effect;
use avtomatika::store::{Delivery, JobStore as _, MessageKind, RedisSettings, RedisStore};
use uuid::Uuid;

use crate::fixtures::*;
use crate::servers::redis::Redis;

/// A store with one webhook that is due, and the webhook's id.
async fn one_webhook(redis: &Redis) -> (RedisStore, Uuid) {
    let settings = RedisSettings::new(redis.url().as_str().into());
    let store = RedisStore::open(&settings).await.expect("opens");
    let job = job(1);
    let hook = Effect::SendWebhook(Box::new(webhook(&job, 5)));
    let stored = store.commit(commit(job, vec![hook], vec![])).await;
    let id = stored.expect("commits").outbox[0];
    (store, id)
}

async fn take(store: &RedisStore, kind: MessageKind) -> Vec<Uuid> {
    let taken = store.take_outbox(kind, at(99_999), at(100_000), 9).await;
    taken.expect("claims").iter().map(|item| item.id).collect()
}

/// Returns the key of what the message's partition has under that name.
fn key(id: Uuid, name: &str) -> String {
    format!("avtomatika:{{p{:02}}}:{name}", id.as_bytes()[15] % 16)
}

#[tokio::test]
async fn server_redis_finds_a_webhook_where_an_older_version_put_it() {
    let redis = Redis::start();
    let (store, id) = one_webhook(&redis).await;
    let member = redis.command(&["zrange", &key(id, "hooks"), "0", "-1"]);
    let member = member.trim();
    redis.command(&["zrem", &key(id, "hooks"), member]);
    redis.command(&["zadd", &key(id, "outbox"), "0", member]);
    let signals = take(&store, MessageKind::Signal).await;
    assert!(signals.is_empty(), "it is no signal");
    assert_eq!(take(&store, MessageKind::Webhook).await, [id]);
    let delivered = store.settle_outbox(id, Delivery::Delivered, at(5)).await;
    delivered.expect("settles");
    assert_eq!(store.outbox_length(9).await.expect("counts"), Some(0));
    store.close().await;
}

#[tokio::test]
async fn server_redis_sends_no_webhook_that_an_older_version_has_settled() {
    let redis = Redis::start();
    let (store, id) = one_webhook(&redis).await;
    // It does not know where else the webhook is.
    let record = key(id, &format!("o:{id}"));
    redis.command(&["hset", &record, "s", "delivered"]);
    redis.command(&["hdel", &record, "du"]);
    assert!(take(&store, MessageKind::Webhook).await.is_empty());
    assert_eq!(store.outbox_length(9).await.expect("counts"), Some(0));
    let log = store.deliveries(job_id(1), 9).await.expect("reads");
    assert_eq!(log[0].status, "delivered");
    store.close().await;
}
