//! What the API holds back: too many requests, a server on its way out, and members that only the
//! detailed view shows.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::fixture::{ALICE, Api, BOB, WORKER, request};
use super::story::Answer;
use crate::api::envelope::envelope;
use crate::api::server::{Draining, Peer};
use crate::api::{ApiSettings, Rate, RateLimits};

#[tokio::test(start_paused = true)]
async fn clients_are_limited_each_for_itself() {
    let rate = Rate {
        limit: 3,
        period_ms: 60_000,
    };
    let limits = RateLimits {
        client: rate,
        approval: rate,
        ..RateLimits::default()
    };
    let api = Api::with(ApiSettings {
        rate_limits: Some(limits),
        ..ApiSettings::default()
    })
    .await;
    for _ in 0..3 {
        assert_eq!(api.get(ALICE, "/api/v1/jobs").await.status, 200);
    }
    let refused = api.get(ALICE, "/api/v1/jobs?limit=5").await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (429, "rate_limited")
    );
    assert_eq!(refused.headers["retry-after"], "20");
    assert_eq!(
        api.get(BOB, "/api/v1/jobs").await.status,
        200,
        "another client"
    );
    assert_eq!(
        api.get(ALICE, "/api/v1/workers").await.status,
        200,
        "another path"
    );
    api.pass(20_000);
    assert_eq!(
        api.get(ALICE, "/api/v1/jobs").await.status,
        200,
        "at the rate again (HQ16)"
    );
    let stranger = async |address: [u8; 4]| {
        let mut request = request("GET /api/v1/jobs\nX-Client-Token: guess");
        request
            .extensions_mut()
            .insert(Peer(SocketAddr::from((address, 1))));
        Answer::of(api.call(request).await).await.status
    };
    for expected in [401, 401, 401, 429] {
        assert_eq!(stranger([10, 0, 0, 1]).await, expected);
    }
    assert_eq!(stranger([10, 0, 0, 2]).await, 401);
    let job = api
        .create(
            ALICE,
            "/api/v1/jobs/ask",
            &json!({"initial_data": {"who": "I"}}),
        )
        .await;
    let guess = format!(
        "POST /_public/webhooks/approval/{job}\n\n{{\"decision\":\"approved\",\"token\":\"x\"}}"
    );
    for expected in [401, 401, 401, 429] {
        assert_eq!(
            api.send(&guess).await.status,
            expected,
            "tokens cannot be guessed (HQ5)"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn draining_answers_an_open_poll() {
    let api = Api::start().await;
    api.register(WORKER).await;
    let drain = CancellationToken::new();
    let mut poll = request(&format!(
        "GET /_worker/workers/{}/tasks/next?timeout=30\nX-Worker-Token: {}",
        WORKER.0, WORKER.1
    ));
    poll.extensions_mut().insert(Draining(drain.clone()));
    let begun = tokio::time::Instant::now();
    let (response, ()) = tokio::join!(api.call(poll), async {
        tokio::task::yield_now().await;
        drain.cancel();
    });
    let answer = Answer::of(response).await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    assert!(!answer.headers.contains_key("content-type"));
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_process_on_its_way_out_says_so() {
    let api = Api::start().await;
    assert_eq!(api.send("GET /_public/ready").await.status, 200);
    api.state.runtime.begin_shutdown();
    let created = api.post(ALICE, "/api/v1/jobs/work", &json!({})).await;
    assert_eq!(created.status, 202, "what is on its way is taken");
    let ready = api.send("GET /_public/ready").await;
    assert_eq!((ready.status, &ready.json()["ready"]), (503, &json!(false)));
    assert_eq!(
        api.send("GET /_public/status").await.status,
        200,
        "it still lives"
    );
    api.state.runtime.shutdown().await;
    let created = api.post(ALICE, "/api/v1/jobs/work", &json!({})).await;
    assert_eq!(
        (created.status, created.code().as_str()),
        (503, "shutting_down")
    );
    assert!(created.headers.contains_key("retry-after"));
}

#[tokio::test(start_paused = true)]
async fn the_detailed_view_shows_more_but_no_secret() {
    let settings = ApiSettings {
        detailed: true,
        ..ApiSettings::default()
    };
    let api = Api::with(settings).await;
    let body = json!({
        "initial_data": {"n": 1}, "metadata": {"a": 1}, "security": {"s": "very-secret"},
        "dispatch_timeout": 1.5, "policy": {"allowed_skills": ["echo"]},
        "webhook_url": "http://example.org/hook",
    });
    let id = api.create(ALICE, "/api/v1/jobs/work", &body).await;
    let job = api.get(ALICE, &format!("/api/v1/jobs/{id}")).await;
    assert!(
        !job.body.contains("very-secret") && !job.body.contains("client"),
        "{}",
        job.body
    );
    let job = job.json();
    assert_eq!(job["initial_data"], json!({"n": 1}));
    assert_eq!(job["dispatch_timeout"], 1.5);
    assert_eq!(job["webhook_url"], "http://example.org/hook");
    let some = api
        .get(
            ALICE,
            &format!("/api/v1/jobs/{id}?fields=policy,%20nothing"),
        )
        .await
        .json();
    assert_eq!(
        some,
        json!({"id": id, "policy": {"allowed_skills": ["echo"]}})
    );
}

#[tokio::test(start_paused = true)]
async fn the_client_api_can_be_moved_and_switched_off() {
    let at = async |settings: ApiSettings| Api::with(settings).await;
    let root = at(ApiSettings {
        client_prefix: String::new(),
        ..ApiSettings::default()
    })
    .await;
    let created = root
        .create(ALICE, "/quick", &json!({"initial_data": 5}))
        .await;
    let job = root.get(ALICE, &format!("/jobs/{created}")).await.json();
    assert_eq!(job["result"], 5);
    assert_eq!(root.get(ALICE, "/v1/jobs").await.status, 200);
    assert_eq!(root.send("GET /_public/status").await.status, 200);
    let moved = at(ApiSettings {
        client_prefix: "/a/b/".to_owned(),
        ..ApiSettings::default()
    })
    .await;
    assert_eq!(moved.get(ALICE, "/a/b/v1/jobs").await.status, 200);
    assert_eq!(moved.get(ALICE, "/api/v1/jobs").await.status, 404);
    let off = at(ApiSettings {
        client_api: false,
        ..ApiSettings::default()
    })
    .await;
    assert_eq!(off.get(ALICE, "/api/v1/jobs").await.status, 404);
    let document = off.send("GET /_public/openapi.json").await.json();
    let paths = document["paths"].as_object().expect("paths");
    let mounted: Vec<&String> = paths
        .keys()
        .filter(|path| path.starts_with("/api"))
        .collect();
    assert!(mounted.is_empty(), "{mounted:?}");
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_fault_of_ours_and_ends_nothing_else() {
    let api = Api::start().await;
    let state = Arc::clone(&api.state);
    let app = Router::new()
        .route(
            "/",
            get(|| async { unreachable!("a secret of the handler") as &str }),
        )
        .layer(from_fn_with_state(state, envelope));
    for _ in 0..2 {
        let response = app
            .clone()
            .oneshot(request("GET /"))
            .await
            .expect("infallible");
        let answer = Answer::of(response).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (500, "internal_error")
        );
        assert!(!answer.body.contains("secret"), "{}", answer.body);
        assert_eq!(answer.headers["x-request-id"], answer.json()["request_id"]);
    }
}
