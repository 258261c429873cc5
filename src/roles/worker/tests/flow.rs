//! When everything works.

use serde_json::json;

use super::stub::Stub;
use super::*;
use crate::base::Secret;
use crate::protocol::sign::{TASK_IGNORED, sign};

fn task(id: &str, params: &Value) -> Value {
    json!({"job_id": "job-1", "task_id": id, "type": "echo", "params": params})
}

#[tokio::test]
async fn a_task_from_registration_to_farewell() {
    let stub = Stub::start().await;
    let worker = start(config(&[&stub.url]));
    let registration = stub.until("register", |_| true).await.body;
    assert_eq!(registration["supported_skills"][0]["name"], "echo");
    assert_eq!(
        registration["capabilities"]["extra"],
        json!({"websockets": false})
    );
    let beat = stub.until("beat", |_| true).await.body;
    assert_eq!(
        (&beat["status"], &beat["current_tasks"]),
        (&json!("idle"), &json!([]))
    );
    assert_eq!(beat["skills_hash"], registration["skills_hash"]);
    assert!(beat.get("supported_skills").is_none(), "the compact form");

    stub.give(task("t-1", &json!({"x": 1.5})));
    let result = stub.result_of("t-1").await;
    assert_eq!(result["data"], json!({"x": 1.5}));
    assert!(result.get("status").is_none(), "success goes unsaid");
    assert!(result["costs"]["execution_time_seconds"].is_number());
    let event = stub.until("event", |_| true).await.body;
    assert_eq!(
        event["payload"],
        json!({"message": "half", "progress": 0.5})
    );
    assert_eq!(
        (&event["target_job_id"], &event["target_task_id"]),
        (&json!("job-1"), &json!("t-1"))
    );

    worker.stop().await;
    let farewell = stub.seen("beat").pop().unwrap().body;
    assert_eq!(farewell["status"], "offline");
    assert_eq!(
        (&farewell["supported_skills"], &farewell["current_tasks"]),
        (&json!([]), &json!([]))
    );
    let nonces: std::collections::BTreeSet<_> = stub
        .seen("beat")
        .iter()
        .map(|seen| seen.body["nonce"].to_string())
        .collect();
    assert_eq!(
        nonces.len(),
        stub.seen("beat").len(),
        "no message is sent twice"
    );
}

#[tokio::test]
async fn cancelled_by_heartbeat_or_by_command() {
    let stub = Stub::start().await;
    let mut config = config(&[&stub.url]);
    config.websockets = true;
    let worker = start(config);
    stub.give(task("t-1", &json!({"do": "wait"})));
    stub.give(task("t-2", &json!({"do": "wait"})));
    let both = |seen: &super::stub::Seen| seen.body["current_tasks"] == json!(["t-1", "t-2"]);
    stub.until("beat", both).await;
    stub.reply(
        "beat",
        [(
            200,
            json!({"status": "ok", "cancel_task_ids": ["t-1", "t-unknown"]}),
        )],
    );
    assert_eq!(stub.result_of("t-1").await["status"], "cancelled");
    stub.until("frame", |seen| seen.body == json!("open")).await;
    stub.command(&json!({"command": "sing"}));
    stub.command(&json!({"command": "cancel_task", "task_id": "t-2"}));
    assert_eq!(stub.result_of("t-2").await["status"], "cancelled");
    // Events go over the channel while it is open.
    stub.give(task("t-3", &json!({})));
    let event = stub
        .until("frame", |seen| seen.body["target_task_id"] == "t-3")
        .await
        .body;
    assert_eq!(event["event_type"], "progress");
    assert!(stub.seen("event").is_empty());
    worker.stop().await;
}

#[tokio::test]
async fn tasks_run_at_once_up_to_the_limit() {
    let stub = Stub::start().await;
    let mut config = config(&[&stub.url]);
    config.max_concurrent_tasks = 2;
    let worker = start(config);
    for id in ["t-1", "t-2", "t-3"] {
        stub.give(task(id, &json!({"do": "wait"})));
    }
    let full = stub
        .until("beat", |seen| seen.body["status"] == "full")
        .await
        .body;
    assert_eq!(full["current_tasks"], json!(["t-1", "t-2"]));
    assert!(full.get("available_skills").is_none());
    stub.reply("beat", [(200, json!({"cancel_task_ids": ["t-1"]}))]);
    stub.until("beat", |seen| {
        seen.body["current_tasks"] == json!(["t-2", "t-3"])
    })
    .await;
    drop(worker);
}

#[tokio::test]
async fn shutdown_waits_for_tasks_and_then_says_that_they_were_stopped() {
    let stub = Stub::start().await;
    let mut config = config(&[&stub.url]);
    config.shutdown_timeout = Duration::from_millis(100);
    let worker = start(config);
    stub.give(task("t-1", &json!({"do": "wait"})));
    stub.until("beat", |seen| seen.body["current_tasks"] == json!(["t-1"]))
        .await;
    worker.stop().await;
    let result = stub.result_of("t-1").await;
    assert_eq!(result["error"]["code"], "TRANSIENT_ERROR");
    let statuses: Vec<_> = stub
        .seen("beat")
        .into_iter()
        .map(|s| s.body["status"].clone())
        .collect();
    assert!(statuses.contains(&json!("draining")), "{statuses:?}");
    assert_eq!(statuses.last(), Some(&json!("offline")));
}

#[tokio::test]
async fn several_orchestrators_are_served() {
    let (first, second) = (Stub::start().await, Stub::start().await);
    let mut config = config(&[&first.url, &second.url]);
    config.poll_mode = PollMode::RoundRobin;
    let worker = start(config);
    second.give(task("t-2", &json!({"do": "wait"})));
    first.give(task("t-1", &json!({})));
    first.result_of("t-1").await;
    second
        .until("beat", |seen| seen.body["current_tasks"] == json!(["t-2"]))
        .await;
    let tasks_told_to_first = first.seen("beat").into_iter();
    assert!(
        tasks_told_to_first
            .filter_map(|s| s.body["current_tasks"].as_array().cloned())
            .flatten()
            .all(|t| t == "t-1"),
        "each orchestrator hears of its own tasks only"
    );
    second.reply("beat", [(200, json!({"cancel_task_ids": ["t-2"]}))]);
    assert_eq!(second.result_of("t-2").await["status"], "cancelled");
    worker.stop().await;
    for stub in [first, second] {
        assert_eq!(stub.seen("beat").pop().unwrap().body["status"], "offline");
    }
}

#[tokio::test]
async fn only_signed_tasks_run() {
    let stub = Stub::start().await;
    let mut config = config(&[&stub.url]);
    config.task_secret = Some(Secret::from("orchestrator"));
    let worker = start(config);
    let signed = |id: &str| {
        let mut task = task(id, &json!({"id": id}));
        let sig = sign(&task, "orchestrator", &TASK_IGNORED).unwrap();
        task["sig"] = json!(sig);
        task
    };
    let mut forged = signed("t-forged");
    forged["params"]["more"] = json!(1);
    stub.give(forged);
    stub.give(task("t-unsigned", &json!({})));
    stub.give(signed("t-1"));
    stub.give(signed("t-2"));
    stub.result_of("t-1").await;
    stub.result_of("t-2").await;
    worker.stop().await;
    let reported: Vec<_> = stub
        .seen("result")
        .into_iter()
        .map(|seen| seen.body["task_id"].clone())
        .collect();
    assert_eq!(reported.len(), 2, "{reported:?}");
}
