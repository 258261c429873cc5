//! What an orchestrator cannot read, because it lacks the key or is older, is in nobody else's way.

use avtomatika::domain::Task;
use avtomatika::store::{JobStore as _, RedisSettings, RedisStore, WorkerStore as _};

use crate::fixtures::*;
use crate::redis_only::settings;
use crate::servers::redis::Redis;

async fn with_keys(redis: &Redis, keys: &[&str]) -> RedisStore {
    let settings = RedisSettings {
        encryption_keys: keys.iter().map(|key| (*key).into()).collect(),
        ..settings(redis)
    };
    RedisStore::open(&settings).await.expect("opens")
}

/// Stores a job with so many tasks, queued, whose time to be handed out ends then; returns their ids.
async fn stores(store: &RedisStore, n: u16, count: u32, until_ms: i64) -> Vec<String> {
    let job = job(n);
    let tasks = (1..=count).map(|branch| {
        let mut task = task(&job, Some(branch), 1);
        task.dispatch_deadline = Some(at(until_ms));
        task
    });
    let tasks: Vec<Task> = tasks.collect();
    let effects = tasks.iter().map(put).collect();
    let stored = store.commit(commit(job, effects, vec![])).await;
    stored.expect("commits");
    ids(&tasks)
}

fn ids(tasks: &[Task]) -> Vec<String> {
    let mut ids: Vec<String> = tasks.iter().map(|task| task.id.to_string()).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn server_redis_due_tasks_that_cannot_be_read_hide_none_behind_them() {
    let redis = Redis::start();
    let old = with_keys(&redis, &["one"]).await;
    stores(&old, 1, 21, 1).await;
    old.close().await;
    let store = with_keys(&redis, &["two"]).await;
    let readable = stores(&store, 2, 2, 2).await;
    // There are more of them than a look brings, in each look.
    for _ in 0..2 {
        let due = store.due(at(9), 3).await.expect("looks");
        assert_eq!(ids(&due.tasks), readable);
        assert_eq!(due.next, None);
    }
    let due = store.due(at(9), 1).await.expect("looks");
    assert_eq!((due.tasks.len(), due.next), (1, Some(at(2))));
    store.close().await;
    // With its key nothing is missing.
    let both = with_keys(&redis, &["two", "one"]).await;
    let due = both.due(at(9), 99).await.expect("looks");
    assert_eq!(due.tasks.len(), 23);
    both.close().await;
}

#[tokio::test]
async fn server_redis_queued_tasks_that_cannot_be_read_hide_none_behind_them() {
    let redis = Redis::start();
    let old = with_keys(&redis, &["one"]).await;
    stores(&old, 1, 21, 1).await;
    old.close().await;
    let store = with_keys(&redis, &["two"]).await;
    let readable = stores(&store, 2, 2, 2).await;
    let queued = store.queued_tasks(None, 3).await.expect("reads");
    assert_eq!(ids(&queued), readable);
    let last = queued.last().map(|task| &task.id);
    assert_eq!(store.queued_tasks(last, 3).await.expect("reads"), []);
    store.close().await;
}

#[tokio::test]
async fn server_redis_worker_that_cannot_be_read_registers_again() {
    let redis = Redis::start();
    let old = with_keys(&redis, &["one"]).await;
    let [first, second] = ["w1", "w2"].map(|id| worker(id, 1_000_000));
    old.put_worker(first.clone()).await.expect("puts");
    old.close().await;
    let store = with_keys(&redis, &["two"]).await;
    store.put_worker(second).await.expect("puts");
    let listed = async |store: &RedisStore| -> Vec<String> {
        let listed = store.list_workers().await.expect("lists");
        listed.iter().map(|worker| worker.id.to_string()).collect()
    };
    assert_eq!(listed(&store).await, ["w2"]);
    let both = [first.id.clone(), "w2".into()];
    let loaded = store.load_workers(&both).await.expect("reads");
    assert_eq!(loaded.len(), 1);
    store.put_worker(first).await.expect("puts");
    assert_eq!(listed(&store).await, ["w1", "w2"]);
    store.close().await;
}
