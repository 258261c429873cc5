//! How many tasks a worker counts as having, by whom `least_connections` prefers.

use std::sync::Arc;
use std::time::Duration;

use avtomatika::base::WorkerId;
use avtomatika::domain::{Task, TaskReport};
use avtomatika::engine::{Answer, Input};
use avtomatika::runtime::{Beat, Reported, Settings};
use avtomatika::store::MemoryStore;
use serde_json::json;

use crate::fixture::{Fixture, data};

/// An orchestrator and what else may change its jobs: another one on the same store.
struct Two {
    here: Fixture,
    there: Fixture,
    busy: WorkerId,
    other: WorkerId,
    tasks: Vec<Task>,
}

/// `busy` has two tasks and `other` one.
async fn two() -> Two {
    let store = Arc::new(MemoryStore::new());
    let here = Fixture::start_over(store.clone(), None, Settings::default()).await;
    let there = Fixture::start_over(store, None, Settings::default()).await;
    let busy = here.worker("busy", &["work"]).await;
    let other = here.worker("other", &["work"]).await;
    let mut tasks = Vec::new();
    for worker in [&busy, &busy, &other] {
        here.submit("spread", json!({})).await;
        tasks.push(here.take(worker).await);
    }
    Two {
        here,
        there,
        busy,
        other,
        tasks,
    }
}

impl Two {
    /// Tells whether `busy` is preferred, which has fewer tasks once its two have ended.
    async fn prefers_busy(&self) -> bool {
        let wait = Duration::from_millis(10);
        let (busy, other, _) = tokio::join!(
            self.here.runtime.poll(&self.busy, wait),
            self.here.runtime.poll(&self.other, wait),
            self.here.submit_later("spread", json!({})),
        );
        let (busy, other) = (busy.unwrap(), other.unwrap());
        assert!(busy.is_some() != other.is_some(), "one of them gets it");
        busy.is_some()
    }

    /// Ends both tasks of `busy` without this process.
    async fn end_elsewhere(&self) {
        for task in &self.tasks[..2] {
            let reason = "elsewhere".to_owned();
            let cancel = Input::Cancel { reason };
            self.there.runtime.apply(task.job_id, cancel).await.unwrap();
        }
    }

    async fn stop(self) {
        self.there.runtime.begin_shutdown();
        self.here.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn tasks_that_ended_elsewhere_do_not_count_after_the_sweep() {
    let two = two().await;
    two.end_elsewhere().await;
    for _ in 0..7 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        for worker in [&two.busy, &two.other] {
            let beat = two.here.runtime.heartbeat(worker, Beat::default()).await;
            assert!(beat.unwrap().is_some());
        }
    }
    assert!(two.prefers_busy().await);
    two.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_result_that_comes_too_late_frees_its_worker() {
    let two = two().await;
    two.end_elsewhere().await;
    for task in &two.tasks[..2] {
        let report = TaskReport::success(data(json!({})));
        let report = two
            .here
            .runtime
            .report(&two.busy, task.job_id, &task.id, report);
        assert!(matches!(report.await.unwrap(), Reported::Ignored(_)));
    }
    assert!(two.prefers_busy().await);
    two.stop().await;
}

/// The commit went through, but its answer was lost: the worker sends the result again.
#[tokio::test(start_paused = true)]
async fn a_repeated_result_frees_its_worker() {
    let two = two().await;
    for task in &two.tasks[..2] {
        let report = TaskReport::success(data(json!({})));
        for runtime in [&two.there.runtime, &two.here.runtime] {
            let answer = runtime
                .report(&two.busy, task.job_id, &task.id, report.clone())
                .await;
            assert_eq!(
                answer.unwrap(),
                Reported::Accepted(Answer::SuccessTransition)
            );
        }
    }
    assert!(two.prefers_busy().await);
    two.stop().await;
}

/// Somebody else's late result says nothing of the one who has the task.
#[tokio::test(start_paused = true)]
async fn a_strangers_result_frees_nobody() {
    let two = two().await;
    for task in &two.tasks[..2] {
        let report = TaskReport::success(data(json!({})));
        let report = two
            .here
            .runtime
            .report(&two.other, task.job_id, &task.id, report);
        assert!(matches!(report.await.unwrap(), Reported::Ignored(_)));
    }
    assert!(!two.prefers_busy().await);
    two.stop().await;
}
