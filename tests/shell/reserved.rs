//! Tasks that are leased by the commit that creates them, and signals that wait for their turn.

use std::sync::Arc;
use std::time::Duration;

use avtomatika::base::Timestamp;
use avtomatika::domain::{JobStatus, TaskReport};
use avtomatika::runtime::{RuntimeError, Settings};
use avtomatika::store::{JobStore, MemoryStore, MessageKind};
use serde_json::json;

use crate::POLL;
use crate::fixture::{Fixture, data, new_job};

#[tokio::test(start_paused = true)]
async fn a_task_for_an_open_poll_is_never_queued() {
    let store = Arc::new(MemoryStore::new());
    let world = Fixture::start_over(store.clone(), None, Settings::default()).await;
    let worker = world.worker("w1", &["work"]).await;
    let (polled, job) = tokio::join!(world.runtime.poll(&worker, POLL), async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let job = world.submit("one", json!({})).await;
        // Nothing has run in between that could have leased it afterwards.
        assert_eq!(store.queued_tasks(None, 9).await.unwrap(), []);
        let leased = store.leased_tasks(&worker).await.unwrap();
        assert_eq!(leased.len(), 1);
        job
    });
    let handout = polled.unwrap().expect("a task");
    assert_eq!(handout.task().job_id, job);
    let task = handout.task().clone();
    handout.delivered();
    let report = TaskReport::success(data(json!({})));
    world.report(&worker, &task, report).await;
    assert_eq!(world.job(job).await.status, JobStatus::Finished);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_commit_leaves_the_poll_open() {
    let world = Fixture::start().await;
    let worker = world.worker("w1", &["work"]).await;
    let keyed = |fingerprint: &str| {
        let mut new = new_job(json!({}));
        new.idempotency = Some(("key".to_owned(), fingerprint.to_owned()));
        world.runtime.submit("one", new)
    };
    keyed("a").await.unwrap();
    world.take(&worker).await;
    let (polled, job) = tokio::join!(world.runtime.poll(&worker, POLL), async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let refused = keyed("b").await;
        assert!(matches!(refused, Err(RuntimeError::KeyReused { .. })));
        world.submit("one", json!({})).await
    });
    assert_eq!(polled.unwrap().expect("a task").task().job_id, job);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_ends_meanwhile_gives_the_lease_back() {
    let world = Fixture::start().await;
    let gone = world.worker("gone", &["work"]).await;
    let here = world.worker("here", &["work"]).await;
    let mut poll = Box::pin(world.runtime.poll(&gone, POLL));
    let open = futures::poll!(&mut poll);
    assert!(open.is_pending());
    let job = world.submit("one", json!({})).await;
    drop(poll);
    let started = tokio::time::Instant::now();
    let handout = world.runtime.poll(&here, POLL).await.unwrap().unwrap();
    assert_eq!(handout.task().job_id, job);
    assert_eq!(started.elapsed(), Duration::ZERO);
    world.stop().await;
}

/// More signals than places: none waits for the scan, which finds what a crash has left behind.
#[tokio::test(start_paused = true)]
async fn signals_wait_for_a_place_and_not_for_the_scan() {
    let settings = Settings {
        outbox_concurrency: 1,
        ..Settings::default()
    };
    let store = Arc::new(MemoryStore::new());
    let world = Fixture::start_over(store.clone(), None, settings).await;
    let worker = world.worker("w1", &["work"]).await;
    let started = tokio::time::Instant::now();
    let submissions = (0..20).map(|_| world.submit("nested", json!({})));
    let jobs = futures::future::join_all(submissions).await;
    for _ in &jobs {
        let task = world.take(&worker).await;
        let report = TaskReport::success(data(json!({})));
        world.report(&worker, &task, report).await;
    }
    for job in jobs {
        assert_eq!(world.ended(job).await.status, JobStatus::Finished);
    }
    assert!(started.elapsed() < Duration::from_secs(1));
    let end = Timestamp(i64::MAX);
    let left = store.take_outbox(MessageKind::Signal, end, end, 9);
    assert_eq!(left.await.unwrap(), []);
    world.stop().await;
}
