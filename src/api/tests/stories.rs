//! Whole conversations, as snapshots.

use serde_json::json;

use super::fixture::{ADMIN, ALICE, Api, BOB, OTHER, WORKER};
use super::story::Story;

#[tokio::test(start_paused = true)]
async fn a_client_follows_a_job_to_its_end() {
    let api = Api::start().await;
    api.register(WORKER).await;
    let mut story = Story::default();
    let body = r#"{"initial_data":{"n":7},"labels":{"team":"video"},"metadata":{"a":1}}"#;
    let created = story
        .tell(
            &api,
            &format!("POST /api/v1/jobs/work\nX-Client-Token: {ALICE}\n\n{body}"),
        )
        .await;
    let id = created.json()["job_id"].as_str().expect("an id").to_owned();
    let header = format!("X-Client-Token: {ALICE}");
    story
        .tell(&api, &format!("GET /api/v1/jobs/{id}\n{header}"))
        .await;
    let task = api.poll(WORKER).await.expect("a task");
    api.pass(1500);
    let event = api.sealed(
        WORKER,
        json!({
            "event_id": "e-1", "origin_worker_id": WORKER.0, "event_type": "progress",
            "payload": {"progress": 0.5, "message": "half"}, "target_job_id": id,
            "target_task_id": task["task_id"],
        }),
    );
    assert_eq!(
        api.tell(WORKER, "POST /_worker/events", &event)
            .await
            .status,
        200
    );
    story
        .tell(
            &api,
            &format!("GET /api/v1/jobs/{id}?fields=status,progress\n{header}"),
        )
        .await;
    api.pass(1500);
    let answer = api
        .report(WORKER, &task, json!({"data": {"answer": 42.0}}))
        .await;
    assert_eq!(
        answer.body,
        r#"{"status":"accepted","transition":"success_transition"}"#
    );
    for path in [
        format!("jobs/{id}"),
        format!("jobs/{id}/history?limit=3"),
        format!("jobs/{id}/explain"),
        format!("jobs/{id}/deliveries"),
        "jobs?limit=1&status=finished&label=team:video".to_owned(),
        "jobs/quarantined".to_owned(),
        "dashboard".to_owned(),
    ] {
        story
            .tell(&api, &format!("GET /api/v1/{path}\n{header}"))
            .await;
    }
    story
        .tell(&api, &format!("POST /api/v1/jobs/{id}/cancel\n{header}"))
        .await;
    story
        .tell(&api, &format!("POST /api/v1/jobs/{id}/retry\n{header}"))
        .await;
    insta::assert_snapshot!(story.0);
}

#[tokio::test(start_paused = true)]
async fn a_person_decides() {
    let api = Api::start().await;
    let mut story = Story::default();
    let header = format!("X-Client-Token: {ALICE}");
    let id = api
        .create(
            ALICE,
            "/api/v1/jobs/ask",
            &json!({"initial_data": {"who": "I"}}),
        )
        .await;
    let job = story
        .tell(&api, &format!("GET /api/v1/jobs/{id}\n{header}"))
        .await
        .json();
    let token = job["approval_token"].as_str().expect("a token").to_owned();
    assert_eq!(token.len(), 43);
    let path = format!("POST /_public/webhooks/approval/{id}");
    for text in [
        format!("{path}\n\n{{\"decision\":\"approved\"}}"),
        format!("{path}\n\n{{\"decision\":\"approved\",\"token\":\"wrong\"}}"),
        format!("{path}\n\n{{\"token\":\"{token}\"}}"),
        format!("{path}\n\n{{\"decision\":\"perhaps\",\"token\":\"{token}\"}}"),
        format!(
            "{path}\nX-Approval-Token: {token}\n\n{{\"decision\":\"approved\",\"metadata\":{{\"note\":5}}}}"
        ),
        format!("{path}\nX-Client-Token: {BOB}\n\n{{\"decision\":\"approved\"}}"),
        format!(
            "{path}\nX-Approval-Token: {token}\n\n{{\"decision\":\"approved\",\"metadata\":{{\"note\":\"ok\"}}}}"
        ),
        format!("{path}\nX-Approval-Token: {token}\n\n{{\"decision\":\"approved\"}}"),
        format!("GET /api/v1/jobs/{id}\n{header}"),
        format!("POST /api/v1/jobs/{id}/approve\n{header}\n\n{{\"decision\":\"approved\"}}"),
    ] {
        story.tell(&api, &text).await;
    }
    let id = api
        .create(
            ALICE,
            "/api/v1/jobs/ask",
            &json!({"initial_data": {"who": "you"}}),
        )
        .await;
    let reject = r#"{"decision":"rejected"}"#;
    story
        .tell(
            &api,
            &format!("POST /api/v1/jobs/{id}/approve\n{header}\n\n{reject}"),
        )
        .await;
    story
        .tell(
            &api,
            &format!("GET /api/v1/jobs/{id}?fields=status,error\n{header}"),
        )
        .await;
    insta::assert_snapshot!(story.0);
}

#[tokio::test(start_paused = true)]
async fn what_anybody_may_ask() {
    let api = Api::start().await;
    let mut story = Story::default();
    for text in [
        "GET /",
        "GET /_public/status",
        "HEAD /_public/status",
        "GET /_public/ready",
        "POST /_public/status",
        "GET /nowhere",
        "GET /api/v2/jobs",
        "GET /api/v1/jobs",
        "GET /api/v1/jobs\nX-Client-Token: nope",
        "DELETE /api/v1/jobs\nX-Client-Token: token-of-alice",
        "GET /api/v1/nowhere\nX-Client-Token: token-of-alice",
        "GET /api/quick\nX-Client-Token: token-of-alice",
    ] {
        story.tell(&api, text).await;
    }
    insta::assert_snapshot!(story.0);
}

#[tokio::test(start_paused = true)]
async fn blueprints_and_workers() {
    let api = Api::start().await;
    api.register(WORKER).await;
    api.register(OTHER).await;
    let mut story = Story::default();
    for (path, token) in [
        ("blueprints", ALICE),
        ("blueprints/work/schema", ALICE),
        ("blueprints/ask/graph", ALICE),
        ("blueprints/ask/graph?format=mermaid", ALICE),
        ("blueprints/ask/graph?format=png", ALICE),
        ("blueprints/nobody", ALICE),
        ("workers", ALICE),
        ("workers/gpu-01", ADMIN),
        ("workers/nobody", ALICE),
        ("workers/catalog", ALICE),
        ("dashboard", ALICE),
    ] {
        story
            .tell(
                &api,
                &format!("GET /api/v1/{path}\nX-Client-Token: {token}"),
            )
            .await;
    }
    for token in [ALICE, ADMIN] {
        let text = format!("POST /api/v1/admin/reload-workers\nX-Client-Token: {token}");
        story.tell(&api, &text).await;
    }
    insta::assert_snapshot!(story.0);
}

#[tokio::test(start_paused = true)]
async fn a_job_hears_an_event() {
    let api = Api::start().await;
    let id = api.create(ALICE, "/api/v1/jobs/listen", &json!({})).await;
    let path = format!("/api/v1/jobs/{id}/events");
    assert_eq!(
        api.post(ALICE, &path, &json!({"name": "stop"}))
            .await
            .code(),
        "not_waiting"
    );
    let answer = api
        .post(ALICE, &path, &json!({"name": "go", "payload": {"x": 1}}))
        .await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    assert_eq!(
        api.post(ALICE, &path, &json!({"name": "go"})).await.code(),
        "not_waiting"
    );
    let job = api.get(ALICE, &format!("/api/v1/jobs/{id}")).await.json();
    assert_eq!(
        (&job["status"], &job["result"]),
        (&json!("finished"), &json!("heard"))
    );
}

#[tokio::test(start_paused = true)]
async fn the_same_key_makes_one_job() {
    let api = Api::start().await;
    let send = async |key: &str, body: &str| {
        let text = format!(
            "POST /api/v1/jobs/work\nX-Client-Token: {ALICE}\nIdempotency-Key: {key}\n\n{body}"
        );
        api.send(&text).await
    };
    let first = send("k1", r#"{"initial_data":{"n":1},"labels":{"a":"b"}}"#).await;
    assert_eq!(first.status, 202);
    let again = send("k1", r#"{"labels":{"a":"b"},"initial_data":{"n":1.0}}"#).await;
    assert_eq!(
        (again.status, &again.body),
        (202, &first.body),
        "the same request in other words"
    );
    let other = send("k1", r#"{"initial_data":{"n":2}}"#).await;
    assert_eq!(
        (other.status, other.code().as_str()),
        (409, "idempotency_key_reused")
    );
    assert_ne!(send("k2", "{}").await.body, first.body);
    let bobs = api
        .send(&format!(
            "POST /api/v1/jobs/work\nX-Client-Token: {BOB}\nIdempotency-Key: k1\n\n{{}}"
        ))
        .await;
    assert_eq!(bobs.status, 202, "keys are each client's own");
}

#[tokio::test(start_paused = true)]
async fn a_quota_counts_creations_only() {
    let api = Api::start().await;
    for _ in 0..10 {
        assert_eq!(api.get(BOB, "/api/v1/jobs").await.status, 200);
        assert_eq!(
            api.post(BOB, "/api/v1/jobs/work", &json!([])).await.status,
            400
        );
    }
    let keyed = format!("POST /api/v1/jobs/work\nX-Client-Token: {BOB}\nIdempotency-Key: first");
    assert_eq!(api.send(&format!("{keyed}\n\n{{}}")).await.status, 202);
    api.create(BOB, "/api/v1/jobs/work", &json!({})).await;
    let third = api.post(BOB, "/api/v1/jobs/work", &json!({})).await;
    assert_eq!(
        (third.status, third.code().as_str()),
        (429, "quota_exceeded")
    );
    assert_eq!(
        api.send(&format!("{keyed}\n\n{{}}")).await.status,
        202,
        "made already"
    );
    assert_eq!(
        api.get(BOB, "/api/v1/jobs")
            .await
            .json()
            .as_array()
            .map(Vec::len),
        Some(2)
    );
    api.pass(31 * 24 * 3_600_000);
    api.create(BOB, "/api/v1/jobs/work", &json!({})).await;
}

#[tokio::test(start_paused = true)]
async fn a_reloaded_blueprint_has_its_endpoint_at_once() {
    let api = Api::start().await;
    assert_eq!(
        api.post(ALICE, "/api/v1/jobs/new", &json!({})).await.status,
        405
    );
    let new = "
blueprint: new
version: v2
endpoint: /jobs/new
start: done
states: { done: { end: finished } }
";
    api.load(&[("new.yaml", new)]).await;
    let id = api.create(ALICE, "/api/v2/jobs/new", &json!({})).await;
    let job = api.get(ALICE, &format!("/api/v2/jobs/{id}")).await.json();
    assert_eq!(job["status"], "finished");
}
