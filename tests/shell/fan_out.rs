//! A fan-out as large as it may be, through the whole shell and a SQLite file, on real time: it ends,
//! and each branch counts once.
//!
//! What it costs: `FAN_OUT_BRANCHES=1000 cargo test --profile fast --test shell fan_out`, and the same
//! with 10000; ten times the branches take about ten times as long.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use avtomatika::base::{JobId, WorkerId};
use avtomatika::domain::{EventKind, JobStatus, TaskReport};
use avtomatika::runtime::{Reported, Runtime, Settings};
use avtomatika::store::{HistoryStore, JobStore, SqliteSettings, SqliteStore, Synchronous};
use serde_json::json;
use tokio::task::JoinSet;

use crate::POLL;
use crate::fixture::{Fixture, data};

const WORKERS: u32 = 32;

const WIDE: &str = r#"
blueprint: wide
start: each
states:
  each:
    parallel:
      for_each: "{{ initial_data.items }}"
      task:
        skill: work
        params: { n: "{{ item }}" }
        retry: { max_attempts: 2, backoff: { initial: 1ms, factor: 1, max: 1ms, jitter: 0 } }
      until: { tolerate: "1%" }
    into: sum_up
  sum_up:
    set: { count: "{{ aggregation_results | length }}" }
    go_to: done
  done: { end: finished, result: { count: "{{ state_history.count }}" } }
"#;

/// What becomes of a branch: one in a hundred fails once, and one in five hundred for good.
fn report(n: u64, attempt: u32) -> TaskReport {
    match n {
        _ if n % 500 == 3 => TaskReport::failure("PERMANENT_ERROR", "never"),
        _ if n % 100 == 7 && attempt == 1 => TaskReport::failure("TRANSIENT_ERROR", "not yet"),
        _ => TaskReport::success(data(json!({ "n": n }))),
    }
}

async fn work(runtime: Runtime, worker: WorkerId) {
    while let Some(handout) = runtime.poll(&worker, POLL).await.unwrap() {
        let task = handout.task().clone();
        handout.delivered();
        let n = task.spec.params["n"].as_u64().unwrap();
        let report = report(n, task.ordinal);
        let answer = runtime.report(&worker, task.job_id, &task.id, report).await;
        assert!(matches!(answer, Ok(Reported::Accepted(_))), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_widest_fan_out_counts_each_branch_once() {
    let branches: u32 = std::env::var("FAN_OUT_BRANCHES")
        .map_or(10_000, |text| text.parse().expect("a number of branches"));
    let folder = tempfile::tempdir().unwrap();
    let settings = SqliteSettings {
        synchronous: Synchronous::Off,
        ..SqliteSettings::default()
    };
    let store = Arc::new(SqliteStore::open(&folder.path().join("jobs.db"), &settings).unwrap());
    let world = Fixture::start_on(Arc::clone(&store), Settings::default(), WIDE).await;
    let mut workers = JoinSet::new();
    for n in 0..WORKERS {
        let worker = world.worker(&format!("w{n}"), &["work"]).await;
        workers.spawn(work(world.runtime.clone(), worker));
    }
    let items: Vec<u32> = (0..branches).collect();
    let id = world.submit("wide", json!({ "items": items })).await;
    let mut watch = world.runtime.watch(id);
    let ended = tokio::time::timeout(Duration::from_mins(5), async {
        loop {
            let job = world.job(id).await;
            if job.status.is_terminal() {
                return job;
            }
            while watch
                .next()
                .await
                .is_some_and(|event| !event.kind.is_terminal())
            {}
            // It has ended, or this watcher has fallen behind.
            watch = world.runtime.watch(id);
        }
    })
    .await
    .expect("the fan-out ends");
    world.runtime.begin_shutdown();
    while let Some(worker) = workers.join_next().await {
        worker.unwrap();
    }

    assert_eq!(ended.status, JobStatus::Finished, "{:?}", ended.error);
    assert_eq!(ended.result, Some(json!({ "count": branches })));
    let records = store.branches(id, 1).await.unwrap();
    let seen: BTreeSet<Option<u32>> = records.iter().map(|task| task.branch).collect();
    assert_eq!(
        (records.len(), seen.len()),
        (branches as usize, branches as usize)
    );
    for task in &records {
        let n = u64::from(task.branch.unwrap());
        let last = task
            .report
            .as_ref()
            .expect("each branch has its last report");
        assert_eq!(last.status, report(n, task.ordinal).status, "branch {n}");
    }
    check_history(&store, id, branches).await;
    world.stop().await;
}

/// Each attempt has ended once, and the results were read once.
async fn check_history(store: &SqliteStore, id: JobId, branches: u32) {
    let mut ends: BTreeMap<u64, u32> = BTreeMap::new();
    let (mut aggregated, mut after) = (0, None);
    loop {
        let events = store.by_job(id, after, 1_000).await.unwrap();
        let Some(last) = events.last() else { break };
        after = Some((last.revision, last.index));
        for event in &events {
            aggregated +=
                u32::from(event.kind == EventKind::StateStarted && event.state == "sum_up");
            if event.kind == EventKind::TaskFinished {
                *ends
                    .entry(event.details["branch"].as_u64().unwrap())
                    .or_default() += 1;
            }
        }
    }
    assert_eq!(aggregated, 1, "the results are read once");
    let expected: BTreeMap<u64, u32> = (0..u64::from(branches))
        .map(|n| (n, 1 + u32::from(n % 100 == 7)))
        .collect();
    assert_eq!(ends, expected, "each attempt has ended once");
}
