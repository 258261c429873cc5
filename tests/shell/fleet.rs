//! Two orchestrators on one Redis: tasks go to the worker that is best of all, whoever it waits with.

use std::sync::Arc;
use std::time::Duration;

use avtomatika::base::WorkerId;
use avtomatika::domain::{Object, TaskReport};
use avtomatika::runtime::{Runtime, Settings};
use avtomatika::store::{RedisSettings, RedisStore};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::POLL;
use crate::fixture::Fixture;
use crate::servers::redis::Redis;

const BLUEPRINTS: &str = "
blueprint: cheapest
start: work
states:
  work:
    dispatch: { skill: work, params: {}, strategy: cheapest }
    on: { success: finished }
  finished: { end: finished }
---
blueprint: in_turn
start: work
states:
  work:
    dispatch: { skill: work, params: {}, strategy: round_robin }
    on: { success: finished }
  finished: { end: finished }
";

const PATIENCE: Duration = Duration::from_mins(1);

/// What is scraped while nobody waits here.
const NO_POLL: &str = "orchestrator_open_polls 0";

/// Two orchestrators with a worker each.
struct Pair {
    near: Fixture,
    far: Fixture,
    workers: JoinSet<()>,
    done: mpsc::Receiver<WorkerId>,
    _redis: Redis,
}

/// Polls and reports until the orchestrator stops; tells of each task.
async fn play(runtime: Runtime, worker: WorkerId, done: mpsc::Sender<WorkerId>) {
    loop {
        let Some(handout) = runtime.poll(&worker, POLL).await.unwrap() else {
            return;
        };
        let task = handout.task().clone();
        handout.delivered();
        let report = TaskReport::success(Object::new());
        runtime
            .report(&worker, task.job_id, &task.id, report)
            .await
            .unwrap();
        if done.send(worker.clone()).await.is_err() {
            return;
        }
    }
}

impl Pair {
    async fn start() -> Self {
        let redis = Redis::start();
        let settings = RedisSettings::new(redis.url().as_str().into());
        let (sender, done) = mpsc::channel(8);
        let mut workers = JoinSet::new();
        let mut fixtures = Vec::new();
        for (number, (name, price)) in [("dear", 9.0), ("cheap", 1.0)].into_iter().enumerate() {
            let store = RedisStore::open(&settings).await.expect("opens");
            // A machine that is slow is no other orchestrator that leaves its task lie.
            let patient = Settings {
                left_for_ms: 60_000,
                ..Settings::default()
            };
            let store = Arc::new(store);
            let with = (patient, BLUEPRINTS);
            let fixture = Fixture::start_beside(store, number as u64 + 1, with).await;
            let worker = fixture.priced_worker(name, price).await;
            workers.spawn(play(fixture.runtime.clone(), worker, sender.clone()));
            fixtures.push(fixture);
        }
        let far = fixtures.pop().expect("two");
        let near = fixtures.pop().expect("two");
        Self {
            near,
            far,
            workers,
            done,
            _redis: redis,
        }
    }

    /// Waits until the worker here waits, and the near orchestrator knows how many wait elsewhere.
    async fn knows(&self, elsewhere: usize) {
        let near = &self.near.runtime;
        let told = async {
            while near.waiting_elsewhere() != elsewhere || near.scrape().await.contains(NO_POLL) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, told).await.expect("is told");
    }

    /// Runs a job that is submitted at the orchestrator of the dear worker; returns who did it.
    async fn run(&mut self, blueprint: &str) -> String {
        let job = self.near.submit(blueprint, json!({})).await;
        let done = tokio::time::timeout(PATIENCE, self.done.recv()).await;
        let worker = done.expect("somebody does it").expect("they are at work");
        assert_eq!(self.near.job(job).await.status.as_str(), "finished");
        worker.to_string()
    }

    async fn stop(mut self) {
        self.far.stop().await;
        self.near.stop().await;
        while let Some(ended) = self.workers.join_next().await {
            ended.expect("a worker does not panic");
        }
    }
}

#[tokio::test]
async fn server_redis_ranks_workers_of_other_orchestrators_with_ones_own() {
    let mut pair = Pair::start().await;
    for expected in ["cheap", "cheap", "cheap"] {
        pair.knows(1).await;
        assert_eq!(pair.run("cheapest").await, expected);
    }
    for expected in ["cheap", "dear", "cheap", "dear"] {
        pair.knows(1).await;
        assert_eq!(pair.run("in_turn").await, expected);
    }
    pair.far.runtime.begin_shutdown();
    pair.knows(0).await;
    assert_eq!(pair.run("cheapest").await, "dear");
    pair.stop().await;
}
