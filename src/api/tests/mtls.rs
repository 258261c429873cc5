//! Workers that show a certificate: the decision procedure of wire-protocol §3.2, row by row. What
//! rustls does is tried in the server's own tests; here the certificate has been verified.

use std::sync::Arc;

use axum::http::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::fixture::{ALICE, Api, OTHER, SECRET, WORKER, request};
use super::story::Answer;
use crate::api::{ApiSettings, WorkerAuthMode};
use crate::base::Secret;
use crate::net::ClientCertificate;

const REGISTER: &str = "POST /_worker/workers/register";
const ISSUE: &str = "POST /_worker/auth/token";

async fn start(worker_auth: WorkerAuthMode) -> Api {
    Api::with(ApiSettings {
        task_secret: Secret::from(SECRET),
        rate_limits: None,
        worker_auth,
        ..ApiSettings::default()
    })
    .await
}

/// What comes with a message beside its body.
#[derive(Clone, Copy, Default)]
struct Shown<'a> {
    /// The certificate's common name; none is no certificate, empty one without a name.
    name: Option<&'a str>,
    id: Option<&'a str>,
    token: Option<&'a str>,
}

impl<'a> Shown<'a> {
    fn certificate(name: &'a str) -> Self {
        Self {
            name: Some(name),
            ..Self::default()
        }
    }

    async fn tell(self, api: &Api, line: &str, body: &Value) -> Answer {
        let mut request = request(&format!("{line}\n\n{body}"));
        for (header, value) in [("x-worker-id", self.id), ("x-worker-token", self.token)] {
            if let Some(value) = value {
                let value = HeaderValue::from_str(value).expect("a header");
                request
                    .headers_mut()
                    .insert(HeaderName::from_static(header), value);
            }
        }
        if let Some(name) = self.name {
            let common_name = (!name.is_empty()).then(|| Arc::from(name));
            request
                .extensions_mut()
                .insert(ClientCertificate { common_name });
        }
        Answer::of(api.call(request).await).await
    }
}

fn registration(api: &Api, worker: (&str, &str)) -> Value {
    let skills = json!([{"name": "echo", "type": "echo"}]);
    api.sealed(worker, json!({"supported_skills": skills}))
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_enough_for_a_whole_task() {
    for mode in [WorkerAuthMode::Mixed, WorkerAuthMode::MtlsOnly] {
        let api = start(mode).await;
        let shown = Shown::certificate(WORKER.0);
        let answer = shown
            .tell(&api, REGISTER, &registration(&api, WORKER))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let beat = api.sealed(WORKER, json!({"status": "idle"}));
        let line = "PATCH /_worker/workers/gpu-01";
        let answer = shown.tell(&api, line, &beat).await;
        assert_eq!(answer.body, r#"{"status":"ok"}"#);
        api.create(ALICE, "/api/v1/jobs/work", &json!({})).await;
        let line = "GET /_worker/workers/gpu-01/tasks/next?timeout=0.05";
        let task = shown.tell(&api, line, &Value::Null).await.json();
        let ids = json!({"job_id": task["job_id"], "task_id": task["task_id"]});
        let result = api.sealed(WORKER, ids);
        let answer = shown
            .tell(&api, "POST /_worker/tasks/result", &result)
            .await;
        assert_eq!(answer.json()["status"], "accepted", "{}", answer.body);
    }
}

#[tokio::test(start_paused = true)]
async fn the_name_must_be_the_id() {
    let api = start(WorkerAuthMode::Mixed).await;
    let body = registration(&api, WORKER);
    let shown = Shown::certificate(OTHER.0);
    let named = Shown {
        id: Some(WORKER.0),
        // No token helps against a certificate.
        token: Some(WORKER.1),
        ..shown
    };
    let poll = "GET /_worker/workers/gpu-01/tasks/next";
    let not_an_id = Shown::certificate("gpu-01.example.org");
    for (shown, line, body) in [
        (named, REGISTER, &body),
        (shown, REGISTER, &body),
        (shown, poll, &Value::Null),
        (named, ISSUE, &Value::Null),
        (not_an_id, ISSUE, &Value::Null),
    ] {
        let answer = shown.tell(&api, line, body).await;
        assert_eq!(answer.status, 403, "{line}: {}", answer.body);
        assert_eq!(answer.code(), "worker_unauthorized", "{line}");
        let error = answer.json()["error"].to_string();
        assert!(error.starts_with("\"Unauthorized: "), "{error}");
    }
    // The header agrees, the message does not.
    let own = Shown {
        id: Some(OTHER.0),
        ..shown
    };
    let answer = own.tell(&api, REGISTER, &body).await;
    assert_eq!(answer.code(), "invalid_signature");
}

#[tokio::test(start_paused = true)]
async fn a_certificate_signs_nothing() {
    let api = start(WorkerAuthMode::Mixed).await;
    let shown = Shown::certificate(WORKER.0);
    let mut unsigned = registration(&api, WORKER);
    unsigned["security"] = json!({});
    // The global key is not that of a worker with a token of its own.
    let foreign = registration(&api, (WORKER.0, OTHER.1));
    for message in [unsigned, foreign] {
        let answer = shown.tell(&api, REGISTER, &message).await;
        assert_eq!(answer.code(), "invalid_signature", "{}", answer.body);
    }
    let shown = Shown::certificate(OTHER.0);
    let answer = shown.tell(&api, REGISTER, &registration(&api, OTHER)).await;
    assert_eq!(answer.status, 200, "without one it is: {}", answer.body);
}

#[tokio::test(start_paused = true)]
async fn tokens_where_certificates_alone_count() {
    let api = start(WorkerAuthMode::MtlsOnly).await;
    let poll = |id: &str| format!("GET /_worker/workers/{id}/tasks/next?timeout=0.01");
    for (id, token) in [WORKER, OTHER] {
        let token = Shown {
            token: Some(token),
            id: Some(id),
            ..Shown::default()
        };
        let nameless = Shown {
            name: Some(""),
            ..token
        };
        for shown in [Shown::default(), token, nameless] {
            let answer = shown.tell(&api, &poll(id), &Value::Null).await;
            assert_eq!(answer.code(), "worker_unauthorized", "{}", answer.body);
        }
    }
    let certified = Shown::certificate(WORKER.0);
    let issued = certified.tell(&api, ISSUE, &Value::Null).await.json();
    let text = |name: &str| issued[name].as_str().expect("a token").to_owned();
    let (access, refresh) = (text("access_token"), text("refresh_token"));
    let by_access = Shown {
        token: Some(&access),
        ..Shown::default()
    };
    let answer = by_access.tell(&api, &poll(WORKER.0), &Value::Null).await;
    assert_eq!(answer.status, 204, "{}", answer.body);
    let answer = by_access.tell(&api, &poll(OTHER.0), &Value::Null).await;
    assert_eq!(answer.status, 403, "another worker's");

    let line = format!("{ISSUE}/refresh");
    let body = json!({"refresh_token": refresh, "worker_id": WORKER.0});
    for shown in [Shown::default(), Shown::certificate(OTHER.0)] {
        let answer = shown.tell(&api, &line, &body).await;
        assert_eq!(answer.status, 403, "not without the certificate");
    }
    let answer = certified.tell(&api, &line, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test(start_paused = true)]
async fn certificates_where_tokens_alone_count() {
    let api = start(WorkerAuthMode::TokenOnly).await;
    let poll = "GET /_worker/workers/gpu-01/tasks/next?timeout=0.01";
    let own = Shown::certificate(WORKER.0);
    assert_eq!(own.tell(&api, poll, &Value::Null).await.status, 403);
    let anothers = Shown {
        name: Some(OTHER.0),
        token: Some(WORKER.1),
        ..Shown::default()
    };
    assert_eq!(anothers.tell(&api, poll, &Value::Null).await.status, 204);
}

#[tokio::test(start_paused = true)]
async fn a_certificate_without_a_name_leaves_it_to_the_token() {
    let api = start(WorkerAuthMode::Mixed).await;
    let poll = "GET /_worker/workers/gpu-01/tasks/next?timeout=0.01";
    let nameless = Shown::certificate("");
    assert_eq!(nameless.tell(&api, poll, &Value::Null).await.status, 403);
    let with_token = Shown {
        token: Some(WORKER.1),
        ..nameless
    };
    assert_eq!(with_token.tell(&api, poll, &Value::Null).await.status, 204);
}

/// What the SDK does when it has certificates: it fetches tokens at once, and signs with the access
/// token from then on (WQ1).
#[tokio::test(start_paused = true)]
async fn messages_signed_with_a_token_that_a_certificate_brought() {
    let api = start(WorkerAuthMode::Mixed).await;
    let certified = Shown::certificate(WORKER.0);
    let token_of = async |shown: Shown<'_>| {
        let issued = shown.tell(&api, ISSUE, &Value::Null).await.json();
        issued["access_token"].as_str().expect("a token").to_owned()
    };
    let access = token_of(certified).await;
    let foreign = token_of(Shown::certificate(OTHER.0)).await;
    let with = |token| Shown {
        token: Some(token),
        ..certified
    };
    let message = registration(&api, (WORKER.0, &access));
    let answer = with(&access).tell(&api, REGISTER, &message).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer = certified.tell(&api, REGISTER, &message).await;
    assert_eq!(answer.code(), "invalid_signature", "it has to be presented");
    let message = registration(&api, (WORKER.0, &foreign));
    let answer = with(&foreign).tell(&api, REGISTER, &message).await;
    assert_eq!(answer.code(), "invalid_signature", "another worker's");

    api.pass(3_600_001);
    let message = registration(&api, (WORKER.0, &access));
    let answer = with(&access).tell(&api, REGISTER, &message).await;
    let seen = (answer.status, answer.code());
    assert_eq!(seen, (401, "token_expired".to_owned()), "the SDK refreshes");
    let poll = "GET /_worker/workers/gpu-01/tasks/next?timeout=0.01";
    let answer = with(&access).tell(&api, poll, &Value::Null).await;
    assert_eq!(answer.status, 204, "the certificate is enough");
    token_of(with(&access)).await;
}
