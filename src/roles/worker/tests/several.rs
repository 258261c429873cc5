//! Several orchestrators, on one store or on one each.

use serde_json::json;

use super::stub::Stub;
use super::*;

/// Starts two orchestrators that call their deployments so, and a worker that both know.
async fn two(deployments: [&str; 2]) -> (Stub, Stub, Running) {
    let (first, second) = (Stub::start().await, Stub::start().await);
    for (stub, deployment) in [&first, &second].into_iter().zip(deployments) {
        let answer = json!({"status": "registered", "deployment_id": deployment});
        stub.reply("register", [(200, answer)]);
    }
    let worker = start(config(&[&first.url, &second.url]));
    for stub in [&first, &second] {
        stub.until("beat", |_| true).await;
    }
    (first, second, worker)
}

fn task(id: &str, params: &Value) -> Value {
    json!({"job_id": "j", "task_id": id, "type": "echo", "params": params})
}

#[tokio::test]
async fn another_orchestrator_on_the_same_store_takes_what_the_first_cannot() {
    let (first, second, worker) = two(["d-1", "d-1"]).await;
    first.reply("result", [(503, json!({}))]);
    first.give(task("t-1", &json!({"n": 1})));
    assert_eq!(second.result_of("t-1").await["data"], json!({"n": 1}));
    assert_eq!(
        (first.seen("event").len(), first.seen("result").len()),
        (1, 1)
    );

    for kind in ["event", "result"] {
        first.reply(kind, [(502, json!({}))]);
    }
    first.give(task("t-2", &json!({})));
    second.result_of("t-2").await;
    let told =
        |seen: &stub::Seen| seen.body["target_task_id"] == "t-2" || seen.body["task_id"] == "t-2";
    for stub in [&first, &second] {
        assert_eq!(stub.order(told), ["event", "result"], "each once, in order");
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_result_waits_while_no_orchestrator_of_its_store_can_take_it() {
    let (first, second, worker) = two(["d-1", "d-1"]).await;
    for stub in [&first, &second] {
        stub.reply("result", [(503, json!({})), (503, json!({}))]);
    }
    first.give(task("t-1", &json!({})));
    first
        .until("result", |_| first.seen("result").len() == 3)
        .await;
    assert_eq!(second.seen("result").len(), 2, "each is asked in turn");
    worker.stop().await;
}

#[tokio::test]
async fn what_another_orchestrator_has_against_a_result_is_not_the_last_word() {
    let (first, second, worker) = two(["d-1", "d-1"]).await;
    let times = config(&[&first.url]).timing.result_attempts as usize + 1;
    first.reply("result", std::iter::repeat_n((503, json!({})), times));
    let not_found = json!({"status": "ignored", "reason": "job_not_found"});
    let refusals = [(413, json!({})), (403, json!({})), (200, not_found)];
    second.reply("result", refusals.into_iter().cycle().take(times));
    let deadline = i64::MAX / 1_000;
    let mut task = task("t-1", &json!({"n": 1}));
    task["deadline"] = json!(deadline);
    first.give(task);
    first
        .until("result", |_| first.seen("result").len() == times + 1)
        .await;
    assert_eq!(second.seen("result").len(), times);
    let last = first.seen("result").pop().unwrap().body;
    assert_eq!(
        (&last["error"], &last["data"]),
        (&Value::Null, &json!({"n": 1}))
    );
    worker.stop().await;
}

#[tokio::test]
async fn an_orchestrator_of_another_store_hears_nothing_of_a_task() {
    let (first, second, worker) = two(["d-1", "d-2"]).await;
    first.give(task("t-1", &json!({"do": "wait"})));
    let names_it = |beat: &stub::Seen| beat.body["current_tasks"] == json!(["t-1"]);
    first.until("beat", names_it).await;
    let heard = second.seen("beat").len();
    second
        .until("beat", |_| second.seen("beat").len() > heard + 1)
        .await;
    first.reply("result", [(503, json!({})), (502, json!({}))]);
    first.reply("beat", [(200, json!({"cancel_task_ids": ["t-1"]}))]);
    first
        .until("result", |_| first.seen("result").len() == 3)
        .await;
    worker.stop().await;
    assert!(second.seen("result").is_empty());
    assert!(second.seen("event").is_empty());
    let named = second.seen("beat").into_iter();
    let named = named.filter(|beat| beat.body["current_tasks"] != json!([]));
    assert_eq!(named.count(), 0);
}

#[tokio::test]
async fn each_orchestrator_on_the_same_store_keeps_and_cancels_the_tasks_of_all() {
    let (first, second, worker) = two(["d-1", "d-1"]).await;
    first.give(task("t-1", &json!({"do": "wait"})));
    for stub in [&first, &second] {
        stub.until("beat", |beat| beat.body["current_tasks"] == json!(["t-1"]))
            .await;
    }
    let cancel = |task, deployment| {
        let answer = json!({"cancel_task_ids": [task], "deployment_id": deployment});
        second.reply("beat", [(200, answer)]);
    };
    // As if it had moved to another store, which does not know the task.
    cancel("t-1", "d-2");
    let heard = second.seen("beat").len();
    second
        .until("beat", |_| second.seen("beat").len() > heard + 1)
        .await;
    assert!(first.seen("result").is_empty());
    cancel("t-1", "d-1");
    assert_eq!(first.result_of("t-1").await["status"], "cancelled");
    worker.stop().await;
}
