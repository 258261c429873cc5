//! What arrives before what, and what arrives again.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::stub::{self, Manners, Seen, Stub};
use super::*;

fn task(id: &str, params: &Value) -> Value {
    json!({"job_id": "job-1", "task_id": id, "type": "echo", "params": params})
}

/// Returns whether the request is about the task.
fn about(id: &'static str) -> impl Fn(&Seen) -> bool {
    move |seen| seen.body["task_id"] == id || seen.body["target_task_id"] == id
}

#[tokio::test]
async fn a_result_never_overtakes_the_events_on_the_command_channel() {
    let stub = Stub::start().await;
    let mut config = config(&[&stub.url]);
    config.websockets = true;
    let worker = start(config);
    stub.until("frame", |seen| seen.body == json!("open")).await;
    stub.behave(Manners::Slow);
    stub.give(task("t-1", &json!({})));
    stub.until("frame", about("t-1")).await;
    stub.result_of("t-1").await;
    assert_eq!(stub.order(about("t-1")), ["frame", "result"]);
    worker.stop().await;
}

#[tokio::test]
async fn an_event_that_a_channel_took_along_goes_by_request() {
    let stub = Stub::start().await;
    let mut config = config(&[&stub.url]);
    config.websockets = true;
    let worker = start(config);
    stub.until("frame", |seen| seen.body == json!("open")).await;
    stub.behave(Manners::Closing);
    stub.give(task("t-1", &json!({})));
    stub.result_of("t-1").await;
    assert_eq!(stub.order(about("t-1")), ["event", "result"]);
    worker.stop().await;
}

#[tokio::test]
async fn events_outlast_an_outage_and_come_before_the_result() {
    let stub = Stub::start().await;
    stub.reply(
        "event",
        [
            (stub::BROKEN, json!({})),
            (503, json!({})),
            (200, json!({"status": "event_accepted"})),
            (403, json!({"error": "no"})),
        ],
    );
    let worker = start(config(&[&stub.url]));
    stub.give(task("t-1", &json!({})));
    stub.result_of("t-1").await;
    assert_eq!(
        stub.order(about("t-1")),
        ["event", "event", "event", "result"]
    );
    let ids: BTreeSet<String> = stub
        .seen("event")
        .iter()
        .map(|seen| seen.body["event_id"].to_string())
        .collect();
    assert_eq!(ids.len(), 1, "by its id a repetition is told");
    // What is refused is not repeated.
    stub.give(task("t-2", &json!({})));
    stub.result_of("t-2").await;
    assert_eq!(stub.order(about("t-2")), ["event", "result"]);
    worker.stop().await;
}

#[tokio::test]
async fn events_that_nobody_takes_do_not_hold_up_the_result_for_ever() {
    let stub = Stub::start().await;
    let refusals = std::iter::repeat_n((503, json!({})), 50);
    stub.reply("event", refusals);
    let worker = start(config(&[&stub.url]));
    stub.give(task("t-1", &json!({})));
    stub.result_of("t-1").await;
    worker.stop().await;
}

/// Counts its runs; the first one waits when it is told to.
#[derive(Default)]
struct Counting(Arc<AtomicUsize>);

#[async_trait]
impl Skill for Counting {
    fn info(&self) -> SkillInfo {
        describe("echo", "Counts its runs.", &json!({"type": "object"}))
    }

    async fn run(&self, task: &TaskContext, params: &Object) -> Outcome {
        let run = self.0.fetch_add(1, Ordering::SeqCst);
        if run == 0 && params.contains_key("wait") {
            task.cancelled().await;
            std::future::pending::<()>().await;
        }
        let data = json!({"run": run});
        Outcome::success(data.as_object().cloned().unwrap_or_default())
    }
}

fn counting(url: &str) -> (WorkerConfig, Arc<AtomicUsize>) {
    let counter = Arc::new(AtomicUsize::new(0));
    let mut config = config(&[url]);
    config.skills.add(Arc::new(Counting(Arc::clone(&counter))));
    (config, counter)
}

#[tokio::test]
async fn a_task_that_was_done_is_reported_again_and_not_run_again() {
    let stub = Stub::start().await;
    // As if the task were with nobody: its poll's answer was taken for lost.
    let ignored = json!({"status": "ignored", "reason": "worker_mismatch"});
    stub.reply("result", [(200, ignored)]);
    let (config, runs) = counting(&stub.url);
    let worker = start(config);
    stub.give(task("t-1", &json!({})));
    stub.result_of("t-1").await;
    stub.until("beat", |seen| seen.body["current_tasks"] == json!([]))
        .await;
    stub.give(task("t-1", &json!({})));
    stub.until("result", |_| stub.seen("result").len() == 2)
        .await;
    let results = stub.seen("result");
    assert_eq!(results[0].body["data"], results[1].body["data"]);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    worker.stop().await;
}

#[tokio::test]
async fn a_task_that_is_handed_out_after_its_cancellation_is_run() {
    let stub = Stub::start().await;
    let (config, runs) = counting(&stub.url);
    let worker = start(config);
    stub.give(task("t-1", &json!({"wait": true})));
    let running = |seen: &Seen| seen.body["current_tasks"] == json!(["t-1"]);
    stub.until("beat", running).await;
    // A second copy changes nothing while the first is running.
    stub.give(task("t-1", &json!({"wait": true})));
    stub.give(task("t-2", &json!({})));
    assert_eq!(stub.result_of("t-2").await["data"], json!({"run": 1}));
    stub.reply("beat", [(200, json!({"cancel_task_ids": ["t-1"]}))]);
    assert_eq!(stub.result_of("t-1").await["status"], "cancelled");
    // Cancelled because it was another's for a while; now it is this worker's again.
    stub.give(task("t-1", &json!({"wait": true})));
    let done = stub
        .until("result", |seen| seen.body["data"] == json!({"run": 2}))
        .await;
    assert_eq!(done.body["task_id"], "t-1");
    assert_eq!(runs.load(Ordering::SeqCst), 3);
    worker.stop().await;
}
