//! What a waiting job says of itself.

use std::fmt::Write as _;

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::harness::Bench;
use crate::domain::{Task, TaskStatus, Worker};
use crate::engine::explain::{Facts, explain};

const GPU: &str = r"
blueprint: gpu
start: work
states:
  work:
    dispatch:
      skill: render
      params: {}
      requires: { resources: { devices: [{ type: gpu, properties: { memory_gb: 80 } }] } }
      timeouts: { dispatch: 60s }
      retry: { max_attempts: 2, backoff: { initial: 4s, factor: 2, max: 60s, jitter: 0 } }
    on: { success: done }
  done: { end: finished }
";

fn worker(id: &str, members: &Value) -> Worker {
    let mut worker = json!({
        "id": id, "worker_type": "gpu", "skills": [{ "name": "render" }], "status": "idle",
        "reputation": 1.0, "registered_at": 0, "last_seen": 1_795_420_790_000_i64,
        "expires_at": 1_795_420_900_000_i64,
    });
    for (key, value) in members.as_object().expect("members are an object") {
        worker[key] = value.clone();
    }
    serde_json::from_value(worker).expect("a worker")
}

fn with_memory(id: &str, gigabytes: u32, status: &str) -> Worker {
    let devices = json!([{ "type": "gpu", "properties": { "memory_gb": gigabytes } }]);
    worker(
        id,
        &json!({ "status": status, "resources": { "devices": devices } }),
    )
}

fn said(bench: &Bench, workers: &[Worker]) -> String {
    let open = |task: &&Task| task.status != TaskStatus::Ended;
    let mut tasks: Vec<Task> = bench.tasks.values().filter(open).cloned().collect();
    tasks.sort_by_key(|task| task.branch);
    let explanation = explain(&Facts {
        job: bench.job(),
        tasks: &tasks,
        workers,
        now: bench.now,
        reputation_min: 0.3,
        params_ok: &|_, _| true,
    });
    let mut out = format!("{}: {}\n", explanation.code, explanation.message);
    for way in &explanation.unblocks {
        writeln!(out, "  goes on with: {way}").expect("a string takes all");
    }
    for task in &explanation.tasks {
        writeln!(out, "  task {}: {}", task.skill, task.code).expect("a string takes all");
        for worker in &task.workers {
            let why = worker
                .mismatch
                .as_ref()
                .map_or("-", |why| why.code.as_str());
            writeln!(out, "    {}: {why}", worker.worker_id).expect("a string takes all");
        }
    }
    out
}

#[test]
fn a_queued_task_names_every_worker() {
    let mut bench = Bench::new(GPU);
    bench.run("create {}");
    let gone = worker("gone", &json!({ "expires_at": 5 }));
    let other = worker("other", &json!({ "skills": [{ "name": "pack" }] }));
    assert_snapshot!("explain_no_worker", said(&bench, &[]));
    assert_snapshot!("explain_gone", said(&bench, &[gone.clone(), other.clone()]));
    let small = [
        with_memory("b", 24, "idle"),
        with_memory("a", 16, "idle"),
        gone,
        other,
    ];
    assert_snapshot!("explain_too_small", said(&bench, &small));
    let busy = [
        with_memory("a", 80, "busy"),
        with_memory("b", 24, "idle"),
        worker(
            "c",
            &json!({ "available_skills": [],
            "resources": { "devices": [{ "type": "gpu", "properties": { "memory_gb": 80 } }] } }),
        ),
    ];
    assert_snapshot!("explain_busy", said(&bench, &busy));
}

#[test]
fn a_task_under_way() {
    let mut bench = Bench::new(GPU);
    bench.run("create {}\ntake w1");
    assert_snapshot!("explain_running", said(&bench, &[]));
    bench.run("report w1 failure TRANSIENT_ERROR");
    assert_snapshot!("explain_backing_off", said(&bench, &[]));
    bench.run("cancel enough");
    assert_snapshot!("explain_cancelled", said(&bench, &[]));
}

#[test]
fn other_waits() {
    let text = r#"
blueprint: waits
start: nap
states:
  nap: { wait: { for: 5s }, go_to: listen }
  listen: { wait: { event: bell }, go_to: ask }
  ask: { approve: { integration: chat, message: "go on?", timeout: 60s }, on: { yes: kid, timeout: sad } }
  kid: { run: { blueprint: kid, input: {}, timeout: 60s }, on: { success: fan, failure: sad } }
  fan: { parallel: { tasks: [{ skill: a, params: {} }, { skill: b, params: {} }], limit: 1 }, into: sad }
  sad: { end: failed, error: rain }
"#;
    let mut bench = Bench::new(text);
    let mut out = String::new();
    for line in [
        "create {}",
        "later 5\nwake",
        "event bell",
        "decide yes",
        "child finished {}",
    ] {
        bench.run(line);
        out.push_str(&said(&bench, &[]));
    }
    bench.run("take w\nreport w success\ntake w\nreport w success");
    out.push_str(&said(&bench, &[]));
    assert_snapshot!("explain_waits", out);
}
