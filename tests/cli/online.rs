//! Commands that talk to an orchestrator, against a stand-in.

use serde_json::{Value, json};

use crate::stub::Stub;
use crate::{Ended, binary, run};

const CREATE: &str = "POST /api/v1/jobs/flow";
const JOB: &str = "GET /api/v1/jobs/j1";
const EVENTS: &str = "GET /api/v1/jobs/j1/events";

async fn submit(stub: &Stub, more: &[&str]) -> Ended {
    let mut arguments = vec!["submit", "flow", "--url", &stub.url, "--token", "t0k3n"];
    arguments.extend(more);
    run(&arguments).await
}

async fn stub_with(job: &Value) -> Stub {
    let stub = Stub::start().await;
    stub.on(CREATE, 202, &json!({"job_id": "j1", "status": "accepted"}))
        .on(JOB, 200, job);
    stub
}

/// The job's outcome is the exit code, its result is stdout, the rest is stderr.
#[tokio::test]
async fn the_outcome_is_the_exit_code() {
    for (status, code) in [
        ("finished", 0),
        ("failed", 1),
        ("quarantined", 3),
        ("cancelled", 4),
        ("error", 1),
    ] {
        let error = json!({"code": "PERMANENT_ERROR", "message": "no such codec"});
        let stub =
            stub_with(&json!({"id": "j1", "status": status, "result": {"x": 1}, "error": error}))
                .await;
        let ended = submit(&stub, &["--data", "{\"a\":1}", "--set", "b=2"]).await;
        ended.check(code, "\"x\": 1", &format!("job j1 {status}"));
        ended.check(code, "", "no such codec (PERMANENT_ERROR)");
        let created = stub.asked(CREATE).remove(0);
        assert_eq!(created.body["initial_data"], json!({"a": 1, "b": 2}));
        assert_eq!(created.token.as_deref(), Some("t0k3n"));
        assert!(created.key.is_some_and(|key| key.starts_with("submit-")));
    }
}

#[tokio::test]
async fn events_are_followed_to_the_end() {
    let stub = stub_with(&json!({"id": "j1", "status": "finished", "result": 7})).await;
    stub.on_events(
        EVENTS,
        &[
            (
                "state",
                json!({"event_type": "state_started", "state": "start"}),
            ),
            (
                "state",
                json!({"event_type": "state_started", "state": "render"}),
            ),
            (
                "end",
                json!({"event_type": "job_finished", "state": "finished"}),
            ),
        ],
    );
    let ended = submit(&stub, &["-o", "json"]).await;
    ended.check(0, "", "");
    let summary = ended.json();
    assert_eq!(summary["states"], json!(["start", "render"]));
    assert_eq!(
        (&summary["status"], &summary["result"]),
        (&json!("finished"), &json!(7))
    );
    assert_eq!(stub.asked(JOB).len(), 1, "the stream made asking needless");
}

/// The original has no stream: asking goes on until the job has ended.
#[tokio::test]
async fn without_events_the_job_is_asked_for() {
    let stub = stub_with(&json!({"id": "j1", "status": "waiting_for_worker", "step": 4})).await;
    stub.on(
        JOB,
        200,
        &json!({"id": "j1", "status": "finished", "result": "done", "step": 9}),
    );
    submit(&stub, &[]).await.check(0, "done", "job j1 finished");
    assert_eq!(stub.asked(JOB).len(), 2);
}

/// A try whose answer is lost makes no second job: every try carries the same key.
#[tokio::test]
async fn tries_of_one_submission_carry_one_key() {
    let stub = Stub::start().await;
    stub.on(
        CREATE,
        503,
        &json!({"error": "store", "code": "store_unavailable"}),
    )
    .on(CREATE, 202, &json!({"job_id": "j1", "status": "accepted"}))
    .on(JOB, 200, &json!({"status": "finished"}));
    submit(&stub, &[]).await.check(0, "", "job j1 finished");
    let keys: Vec<Option<String>> = stub
        .asked(CREATE)
        .into_iter()
        .map(|asked| asked.key)
        .collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
    submit(&stub, &["--idempotency-key", "mine"])
        .await
        .check(0, "", "");
    assert_eq!(stub.asked(CREATE)[2].key.as_deref(), Some("mine"));
}

#[tokio::test]
async fn what_takes_too_long_or_is_detached_goes_on() {
    let stub = stub_with(&json!({"id": "j1", "status": "waiting_for_human"})).await;
    let ended = submit(&stub, &["--timeout", "1s", "-o", "jsonl"]).await;
    ended.check(
        5,
        r#"{"job_id":"j1","status":"running"}"#,
        "has not ended in 1 s",
    );
    submit(&stub, &["--detach"])
        .await
        .check(0, "j1\n", "job j1 accepted");
}

#[tokio::test]
async fn refusals_end_with_7_and_their_code() {
    let stub = Stub::start().await;
    stub.on(
        CREATE,
        400,
        &json!({"error": "quality must be low or high", "code": "invalid_input"}),
    );
    submit(&stub, &[])
        .await
        .check(7, "", "quality must be low or high (invalid_input)");
    stub.on(
        "GET /api/v1/blueprints",
        200,
        &json!([{"name": "fluw", "path": "/api/v1/jobs/fluw"}]),
    );
    let unknown = run(&["submit", "flux", "--url", &stub.url, "--token", "t"]).await;
    unknown.check(7, "", "there is no blueprint `flux`");
    unknown.check(7, "", "did you mean `fluw`?");
}

/// An endpoint need not be named after its blueprint.
#[tokio::test]
async fn endpoints_are_looked_up() {
    let stub = Stub::start().await;
    stub.on(
        "GET /api/v1/blueprints",
        200,
        &json!([{"name": "flow", "path": "/api/v2/media/flow"}]),
    )
    .on("POST /api/v2/media/flow", 202, &json!({"job_id": "j1"}))
    .on(JOB, 200, &json!({"status": "finished", "result": 1}));
    submit(&stub, &[]).await.check(0, "1", "");
}

#[tokio::test]
async fn operators_see_and_act() {
    let stub = Stub::start().await;
    let row = |id: &str, status: &str| json!({"job_id": id, "context_snapshot": {"id": id, "status": status, "blueprint_name": "flow"}});
    stub.on("GET /api/v1/jobs", 200, &json!([row("a", "waiting_for_human"), row("b", "finished")]))
        .on("POST /api/v1/jobs/a/approve", 200, &json!({"job_id": "a", "status": "approval_received"}))
        .on("POST /api/v1/jobs/a/cancel", 404, &json!({"error": "Job not found", "code": "job_not_found"}))
        .on("GET /api/v1/jobs/a/history", 200, &json!([{"timestamp": "2026-01-01T00:00:00Z", "event_type": "job_created", "state": "start"}]))
        .on("GET /_public/ready", 503, &json!({"ready": false, "durability": "fsync", "checks": {"store": "disk full"}}));
    let ask = async |line: &[&str]| {
        let output = binary(line)
            .env("AVTOMATIKA_URL", &stub.url)
            .env("CLIENT_TOKEN", "t")
            .output()
            .await
            .expect("the binary starts");
        Ended::from(output)
    };
    let list = ask(&["jobs", "list", "-o", "json"]).await;
    assert_eq!(
        list.json().as_array().map(Vec::len),
        Some(1),
        "ended jobs are hidden"
    );
    ask(&["jobs", "list", "--all"])
        .await
        .check(0, "finished", "");
    ask(&["jobs", "approve", "a", "--decision", "rejected"])
        .await
        .check(0, "approval_received", "");
    assert_eq!(
        stub.asked("POST /api/v1/jobs/a/approve")[0].body,
        json!({"decision": "rejected"})
    );
    ask(&["jobs", "cancel", "a"])
        .await
        .check(7, "", "job_not_found");
    ask(&["jobs", "history", "a"])
        .await
        .check(0, "job_created", "");
    ask(&["health"]).await.check(6, "disk full", "is not ready");
}
