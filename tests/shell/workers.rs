//! Workers and restarts: whose silence means something, and whose does not.

use std::sync::Arc;
use std::time::Duration;

use avtomatika::domain::{Event, EventKind, JobStatus, TaskReport};
use avtomatika::runtime::{Beat, Settings};
use avtomatika::store::{MemoryStore, WorkerStore as _};
use serde_json::json;
use tokio::sync::Notify;

use crate::fixture::{self, Fixture, data};
use crate::slow::SlowBeats;

#[tokio::test(start_paused = true)]
async fn a_restart_takes_no_worker_for_dead() {
    let world = Fixture::start().await;
    let worker = world.worker("w1", &["work"]).await;
    let job = world.submit("one", json!({})).await;
    let task = world.take(&worker).await;
    world.runtime.begin_shutdown();
    // Two leases long nobody is there to hear a heartbeat.
    tokio::time::sleep(Duration::from_mins(1)).await;
    let world = world.restart().await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let report = TaskReport::success(data(json!({})));
    world.report(&worker, &task, report).await;
    assert_eq!(world.job(job).await.status, JobStatus::Finished);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_gives_a_dead_worker_one_lease_and_no_more() {
    let world = Fixture::start().await;
    let dead = world.worker("dead", &["work"]).await;
    let alive = world.worker("alive", &["work"]).await;
    world.submit("one", json!({})).await;
    let first = world.take(&dead).await;
    let world = world.restart().await;
    let started = tokio::time::Instant::now();
    let second = world.take(&alive).await;
    assert_eq!((second.job_id, second.losses), (first.job_id, 1));
    assert!(started.elapsed() <= Duration::from_secs(30));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_sign_of_life_that_names_no_tasks_keeps_all_leases() {
    for empty in [true, false] {
        let world = Fixture::start().await;
        let worker = world.worker("w1", &["work"]).await;
        world.submit("one", json!({})).await;
        let task = world.take(&worker).await;
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(15)).await;
            let beat = Beat {
                empty,
                ..Beat::default()
            };
            let answer = world.runtime.heartbeat(&worker, beat).await.unwrap();
            assert_eq!(answer.expect("known").cancel_task_ids, []);
        }
        let report = TaskReport::success(data(json!({})));
        world.report(&worker, &task, report).await;
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_lives_is_known_after_a_restart() {
    let world = Fixture::start().await;
    let dead = world.worker("dead", &["work"]).await;
    let alive = world.worker("alive", &["work"]).await;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(15)).await;
        let beat = Beat::default();
        let answer = world.runtime.heartbeat(&alive, beat).await.unwrap();
        assert!(answer.is_some());
    }
    let world = world.restart().await;
    assert!(world.runtime.worker(&alive).is_some());
    assert!(world.runtime.worker(&dead).is_none());
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_never_answers_holds_up_no_job() {
    let world = Fixture::start_with(Settings {
        outbox_concurrency: 1,
        ..Settings::default()
    })
    .await;
    world.webhooks.stuck.send_replace(true);
    let worker = world.worker("w1", &["work"]).await;
    let mut new = fixture::new_job(json!({}));
    new.webhook_url = Some("https://example.org/hook".to_owned());
    world.runtime.submit("one", new).await.unwrap();
    let task = world.take(&worker).await;
    let report = TaskReport::success(data(json!({})));
    world.report(&worker, &task, report).await;
    world.webhooks.wait_for(1).await;
    let parent = world.submit("nested", json!({})).await;
    let started = tokio::time::Instant::now();
    let child = world.take(&worker).await;
    assert_ne!(child.job_id, parent);
    assert!(started.elapsed() < Duration::from_secs(1));
    world.webhooks.stuck.send_replace(false);
    world.stop().await;
}

/// The store never lets a single heartbeat through here, and is told in time all the same.
#[tokio::test(start_paused = true)]
async fn that_workers_live_is_stored_for_all_at_once() {
    let inner = Arc::new(MemoryStore::new());
    let slow = Arc::new(SlowBeats {
        inner: Arc::clone(&inner),
        reached: Notify::new(),
        open: Notify::new(),
    });
    let world = Fixture::start_over(inner.clone(), Some(slow), Settings::default()).await;
    let workers = [
        world.worker("w1", &["work"]).await,
        world.worker("w2", &["work"]).await,
    ];
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_secs(15)).await;
        for worker in &workers {
            let answer = world.runtime.heartbeat(worker, Beat::default()).await;
            assert!(answer.unwrap().is_some());
        }
        let now = world.runtime.clock().now();
        let stored = inner.list_workers().await.expect("reads");
        assert_eq!(stored.len(), 2);
        assert!(
            stored.iter().all(|worker| worker.expires_at > now),
            "{stored:?}"
        );
    }
    world.stop().await;
}

/// The heartbeat has read the worker before the rating, and writes it after.
#[tokio::test(start_paused = true)]
async fn a_rating_outlives_a_heartbeat_that_was_under_way() {
    let inner = Arc::new(MemoryStore::new());
    let slow = Arc::new(SlowBeats {
        inner: Arc::clone(&inner),
        reached: Notify::new(),
        open: Notify::new(),
    });
    let world = Fixture::start_over(inner, Some(slow.clone()), Settings::default()).await;
    let worker = world.worker("w1", &["work"]).await;
    world.submit("one", json!({})).await;
    let task = world.take(&worker).await;
    let beat = Beat {
        metadata: Some(data(json!({"rack": 7}))),
        ..Beat::default()
    };
    let rated = async {
        slow.reached.notified().await;
        let report = TaskReport::failure("PERMANENT_ERROR", "no");
        world.report(&worker, &task, report).await;
        world.settle_reputation().await;
        let reputation = world.runtime.worker(&worker).unwrap().reputation;
        slow.open.notify_one();
        reputation
    };
    let (beaten, reputation) = tokio::join!(world.runtime.heartbeat(&worker, beat), rated);
    assert!(beaten.unwrap().is_some());
    assert!(reputation < 1.0, "{reputation}");
    let now = world.runtime.worker(&worker).unwrap();
    assert_eq!(now.reputation.to_bits(), reputation.to_bits());
    assert_eq!(now.metadata, Some(data(json!({"rack": 7}))));
    world.stop().await;
}

/// No line is written when a task is taken: the end of each attempt says who had it, and from when.
#[tokio::test(start_paused = true)]
async fn the_history_tells_who_took_a_task_and_when() {
    let world = Fixture::start().await;
    let job = world.submit("one", json!({})).await;
    let mut expected = Vec::new();
    for id in ["dies", "lives"] {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let worker = world.worker(id, &["work"]).await;
        let task = world.take(&worker).await;
        let taken_at = world.runtime.clock().now().to_rfc3339();
        let explained = world.runtime.explain(job).await.unwrap().unwrap();
        let said = format!("worker `{id}` works on `work` since {taken_at}");
        assert_eq!(
            (explained.code.as_str(), explained.message),
            ("running", said)
        );
        assert_eq!(explained.tasks[0].held_by, Some(worker.clone()));
        if id == "lives" {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let report = TaskReport::success(data(json!({})));
            world.report(&worker, &task, report).await;
        }
        expected.push((worker, taken_at));
    }
    let history = world.runtime.history(job, None, 99).await.unwrap();
    let ends: Vec<_> = history
        .iter()
        .filter(|event| event.kind == EventKind::TaskFinished)
        .collect();
    let took = |event: &&Event| {
        let taken_at = event.details["taken_at"].as_str().unwrap().to_owned();
        (event.worker_id.clone().unwrap(), taken_at)
    };
    assert_eq!(ends.iter().map(took).collect::<Vec<_>>(), expected);
    let lasted: Vec<_> = ends.iter().map(|event| event.duration_ms).collect();
    assert_eq!(lasted, [Some(30_000), Some(5_000)]);
    world.stop().await;
}

/// Below the floor nothing can be earned, so that time has to bring a worker back.
#[tokio::test(start_paused = true)]
async fn a_worker_below_the_floor_gets_work_again_some_time() {
    // One failure for good, which costs 0.05, is enough.
    let floor = 0.96;
    let settings = Settings {
        reputation_min: floor,
        ..Settings::default()
    };
    let world = Fixture::start_with(settings).await;
    let worker = world.worker("w1", &["work"]).await;
    world.submit("one", json!({})).await;
    let task = world.take(&worker).await;
    let report = TaskReport::failure("PERMANENT_ERROR", "no");
    world.report(&worker, &task, report).await;
    world.settle_reputation().await;
    assert!(world.runtime.worker(&worker).unwrap().reputation < floor);

    world.submit("one", json!({})).await;
    let poll = world.runtime.poll(&worker, Duration::from_secs(1)).await;
    assert!(poll.unwrap().is_none(), "it is excluded");
    let alive = async || {
        let beaten = world.runtime.heartbeat(&worker, Beat::default()).await;
        assert!(beaten.unwrap().is_some());
        world.runtime.worker(&worker).unwrap().reputation >= floor
    };
    world.until(alive).await;
    world.take(&worker).await;
    world.stop().await;
}
