//! The worker side: registration to result, with what an unchanged worker depends on.

use serde_json::{Value, json};

use super::fixture::{ALICE, Api, OTHER, SECRET, WORKER};
use crate::api::{ApiSettings, Rate, RateLimits};
use crate::base::Secret;
use crate::protocol;

const HEARTBEAT: &str = "PATCH /_worker/workers/gpu-01";

#[tokio::test(start_paused = true)]
async fn a_worker_registers_beats_and_works() {
    let api = Api::start().await;
    let body = api.sealed(WORKER, json!({"supported_skills": [{"name": "echo"}]}));
    let register = "POST /_worker/workers/register\nX-RXON-Version: 0.9";
    let answer = api.tell(WORKER, register, &body).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["x-rxon-version"], "1.0b17");
    assert_eq!(answer.json()["status"], "registered");
    assert!(answer.json()["warning"].is_string(), "{}", answer.body);
    let beat = api.sealed(
        WORKER,
        json!({"status": "idle", "available_skills": ["echo"]}),
    );
    for _ in 0..2 {
        let answer = api.tell(WORKER, HEARTBEAT, &beat).await;
        assert_eq!(
            answer.body, r#"{"status":"ok"}"#,
            "an identical heartbeat is fine (WQ9)"
        );
    }
    for body in [Value::Null, json!({})] {
        let answer = api.tell(WORKER, HEARTBEAT, &body).await;
        assert_eq!(answer.body, r#"{"status":"ttl_refreshed"}"#);
    }
    assert_eq!(api.poll(WORKER).await, None);
    let job = api
        .create(
            ALICE,
            "/api/v1/jobs/work",
            &json!({"initial_data": {"n": 7}}),
        )
        .await;
    let task = api.poll(WORKER).await.expect("a task");
    assert_eq!(task["job_id"], json!(job));
    assert_eq!(task["type"], "echo");
    assert_eq!(task["params"], json!({"n": 7}));
    assert!(
        task["deadline"].is_i64() && task["timestamp"].is_i64(),
        "{task}"
    );
    assert!(protocol::verify_task(&task, &Secret::from(SECRET)));
    assert_eq!(api.poll(WORKER).await, None, "it is leased");
    let answer = api
        .report(WORKER, &task, json!({"data": {"answer": 1}}))
        .await;
    let accepted = r#"{"status":"accepted","transition":"success_transition"}"#;
    assert_eq!(answer.body, accepted);
    let again = api
        .report(WORKER, &task, json!({"data": {"answer": 1}}))
        .await;
    assert_eq!(
        again.body, accepted,
        "a resent result is answered as before (WQ8)"
    );
    let beat = api.sealed(
        WORKER,
        json!({"status": "busy", "current_tasks": [task["task_id"]]}),
    );
    let answer = api.tell(WORKER, HEARTBEAT, &beat).await;
    assert_eq!(
        answer.json()["cancel_task_ids"],
        json!([task["task_id"]]),
        "it is over"
    );
}

#[tokio::test(start_paused = true)]
async fn results_that_do_not_count_are_answered() {
    let api = Api::start().await;
    api.register(WORKER).await;
    api.register(OTHER).await;
    let job = api.create(ALICE, "/api/v1/jobs/work", &json!({})).await;
    let task = api.poll(WORKER).await.expect("a task");
    let reason = |answer: super::story::Answer| {
        assert_eq!(
            (answer.status, &answer.json()["status"]),
            (200, &json!("ignored"))
        );
        answer.json()["reason"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let data = || json!({"data": {"answer": 1}});
    assert_eq!(
        reason(api.report(OTHER, &task, data()).await),
        "worker_mismatch"
    );
    let mut unknown = task.clone();
    unknown["job_id"] = json!("not-even-an-id");
    assert_eq!(
        reason(api.report(WORKER, &unknown, data()).await),
        "job_not_found"
    );
    unknown["job_id"] = json!("00000000-0000-0000-0000-000000000000");
    assert_eq!(
        reason(api.report(WORKER, &unknown, data()).await),
        "job_not_found"
    );
    let mut stale = task.clone();
    stale["task_id"] = json!("task-of-yesterday");
    assert_eq!(
        reason(api.report(WORKER, &stale, data()).await),
        "stale_task"
    );
    assert_eq!(
        api.post(ALICE, &format!("/api/v1/jobs/{job}/cancel"), &json!({}))
            .await
            .status,
        200
    );
    assert_eq!(
        reason(api.report(WORKER, &task, data()).await),
        "job_cancelled"
    );
}

#[tokio::test(start_paused = true)]
async fn heartbeats_change_only_what_they_may() {
    let api = Api::start().await;
    api.register(WORKER).await;
    let beat = api.sealed(
        WORKER,
        json!({
            "status": "busy", "reputation": 9.0, "capabilities": {"cost_per_skill": {"echo": 0.0}},
            "resources": {"devices": [{"type": "gpu"}]}, "worker_type": "other",
        }),
    );
    assert_eq!(api.tell(WORKER, HEARTBEAT, &beat).await.status, 200);
    let worker = api.state.runtime.worker(&WORKER.0.into()).expect("known");
    assert_eq!(worker.status.as_str(), "busy");
    assert!((worker.reputation - 1.0).abs() < f64::EPSILON);
    assert!((worker.cost("echo") - 0.5).abs() < f64::EPSILON);
    assert_eq!(
        (worker.worker_type.as_str(), &worker.resources.devices),
        ("test", &None)
    );
}

#[tokio::test(start_paused = true)]
async fn contracts_are_kept() {
    let api = Api::start().await;
    let skill = json!({
        "name": "echo",
        "output_schema": {"type": "object", "required": ["answer"]},
        "events_schema": {"tick": {"type": "object", "required": ["at"]}},
    });
    let body = api.sealed(WORKER, json!({"supported_skills": [skill]}));
    assert_eq!(
        api.tell(WORKER, "POST /_worker/workers/register", &body)
            .await
            .status,
        200
    );
    let job = api.create(ALICE, "/api/v1/jobs/fragile", &json!({})).await;
    let task = api.poll(WORKER).await.expect("a task");
    let event = |number: u32, payload: Value| {
        api.sealed(
            WORKER,
            json!({
                "event_id": format!("e-{number}"), "origin_worker_id": WORKER.0,
                "event_type": "tick", "payload": payload, "target_job_id": job,
                "target_task_id": task["task_id"],
            }),
        )
    };
    let bad = api
        .tell(WORKER, "POST /_worker/events", &event(1, json!({})))
        .await;
    assert_eq!(
        (bad.status, &bad.json()["code"]),
        (200, &json!("CONTRACT_VIOLATION_ERROR"))
    );
    let good = event(2, json!({"at": 1}));
    for _ in 0..2 {
        let answer = api.tell(WORKER, "POST /_worker/events", &good).await;
        assert_eq!(answer.body, r#"{"status":"event_accepted"}"#);
    }
    let events = api.get(ALICE, &format!("/api/v1/jobs/{job}/history")).await;
    assert_eq!(
        events.body.matches("worker_event:tick").count(),
        1,
        "a replay does nothing"
    );
    let answer = api
        .report(WORKER, &task, json!({"data": {"wrong": 1}}))
        .await;
    assert_eq!(answer.json()["transition"], "failure_handled");
    let seen = api.get(ALICE, &format!("/api/v1/jobs/{job}")).await.json();
    assert_eq!(seen["status"], "quarantined");
    assert_eq!(seen["error"]["code"], "CONTRACT_VIOLATION_ERROR");
    let list = api.get(ALICE, "/api/v1/jobs/quarantined").await.json();
    assert_eq!(list[0]["id"], json!(job));
    let retried = api
        .post(ALICE, &format!("/api/v1/jobs/{job}/retry"), &json!({}))
        .await;
    assert_eq!(retried.status, 202, "{}", retried.body);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_was_not_taken_goes_to_the_next() {
    let api = Api::start().await;
    api.register(WORKER).await;
    api.register(OTHER).await;
    api.create(ALICE, "/api/v1/jobs/work", &json!({})).await;
    let poll = format!(
        "GET /_worker/workers/{}/tasks/next?timeout=1\nX-Worker-Token: {}",
        WORKER.0, WORKER.1
    );
    let response = api.call(super::fixture::request(&poll)).await;
    assert_eq!(response.status(), 200);
    // The connection is gone before the body was taken.
    drop(response);
    let line = format!("GET /_worker/workers/{}/tasks/next?timeout=5", OTHER.0);
    let answer = api.tell(OTHER, &line, &Value::Null).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_no_worker_could_read_fails_its_job() {
    let api = Api::start().await;
    api.register(WORKER).await;
    let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
    let files = [(
        "deep.yaml",
        "
blueprint: deep
version: v1
endpoint: /jobs/deep
start: work
states:
  work:
    dispatch: { skill: echo, params: { deep: \"{{ initial_data.deep }}\" } }
    on: { success: done }
  done: { end: finished }
",
    )];
    api.load(&files).await;
    let job = api
        .create(
            ALICE,
            "/api/v1/jobs/deep",
            &json!({"initial_data": {"deep": deep}}),
        )
        .await;
    assert_eq!(api.poll(WORKER).await, None);
    let seen = api.get(ALICE, &format!("/api/v1/jobs/{job}")).await.json();
    assert_eq!(seen["error"]["code"], "INVALID_INPUT_ERROR", "{seen}");
}

#[tokio::test(start_paused = true)]
async fn rates_are_limited_but_work_is_not() {
    let rate = Rate {
        limit: 2,
        period_ms: 60_000,
    };
    let limits = RateLimits {
        poll: rate,
        heartbeat: rate,
        worker: rate,
        event: rate,
        ..RateLimits::default()
    };
    let api = Api::with(ApiSettings {
        task_secret: Secret::from(SECRET),
        rate_limits: Some(limits),
        ..ApiSettings::default()
    })
    .await;
    api.register(WORKER).await;
    for _ in 0..2 {
        assert_eq!(api.tell(WORKER, HEARTBEAT, &Value::Null).await.status, 200);
    }
    let refused = api.tell(WORKER, HEARTBEAT, &Value::Null).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (429, "LIMIT_EXCEEDED_ERROR")
    );
    assert_eq!(refused.json()["error"], "Too Many Requests");
    assert_eq!(refused.headers["retry-after"], "30");
    api.pass(30_000);
    assert_eq!(api.tell(WORKER, HEARTBEAT, &Value::Null).await.status, 200);
    for _ in 0..5 {
        api.create(ALICE, "/api/v1/jobs/work", &json!({})).await;
    }
    for _ in 0..5 {
        let task = api
            .poll(WORKER)
            .await
            .expect("polls that bring work are not counted");
        let answer = api
            .report(WORKER, &task, json!({"data": {"answer": 1}}))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_was_refused_counts_when_it_comes_again() {
    let api = Api::start().await;
    api.register(WORKER).await;
    let job = api.create(ALICE, "/api/v1/jobs/work", &json!({})).await;
    let seen = api.get(ALICE, &format!("/api/v1/jobs/{job}")).await.json();
    let event = api.sealed(
        WORKER,
        json!({
            "event_id": "e-1", "origin_worker_id": WORKER.0, "event_type": "progress",
            "payload": {"progress": 0.5}, "target_job_id": job,
            "target_task_id": seen["current_task_id"],
        }),
    );
    let line = "POST /_worker/events";
    let early = api.tell(WORKER, line, &event).await;
    assert_eq!(early.status, 403, "not its task yet: {}", early.body);
    api.poll(WORKER).await.expect("the task");
    for _ in 0..2 {
        let answer = api.tell(WORKER, line, &event).await;
        assert_eq!(answer.body, r#"{"status":"event_accepted"}"#);
    }
    let history = api.get(ALICE, &format!("/api/v1/jobs/{job}/history")).await;
    assert_eq!(
        history.body.matches("worker_event:progress").count(),
        1,
        "taken once: {}",
        history.body
    );
}
