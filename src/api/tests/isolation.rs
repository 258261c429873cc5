//! Another client's job does not exist, whatever is asked of it.

use serde_json::json;

use super::fixture::{ADMIN, ALICE, Api, BOB};
use crate::api::client;

#[tokio::test(start_paused = true)]
async fn anothers_job_is_like_none_on_every_route() {
    let api = Api::start().await;
    let alices = api
        .create(
            ALICE,
            "/api/v1/jobs/ask",
            &json!({"initial_data": {"who": "I"}}),
        )
        .await;
    let nobodys = "0193599a-0000-7000-8000-000000000000";
    let document = serde_json::to_value(client::routes().into_openapi()).expect("a document");
    let paths = document["paths"].as_object().expect("paths");
    let mut tried = 0;
    for (path, item) in paths {
        if !path.contains("{job_id}") {
            continue;
        }
        for method in item.as_object().expect("operations").keys() {
            let ask = async |job: &str, token: &str| {
                let path = path.replace("{job_id}", job).replace("{filename}", "a.txt");
                let query = if path.ends_with("/upload") {
                    "?filename=a"
                } else {
                    ""
                };
                let method = method.to_uppercase();
                let body = r#"{"decision":"approved","name":"go"}"#;
                let text = format!(
                    "{method} /api/v1{path}{query}\nX-Client-Token: {token}\nX-Request-ID: r\n\n{body}"
                );
                api.send(&text).await
            };
            let unknown = ask(nobodys, BOB).await;
            assert_eq!(
                (unknown.status, unknown.code().as_str()),
                (404, "job_not_found"),
                "{method} {path}"
            );
            for token in [BOB, ADMIN] {
                assert_eq!(ask(&alices, token).await, unknown, "{method} {path}");
            }
            tried += 1;
        }
    }
    assert!(tried >= 13, "{tried}");
    let bobs = api.get(BOB, "/api/v1/jobs").await;
    assert_eq!(bobs.body, "[]");
    assert!(
        !api.get(BOB, "/api/v1/dashboard")
            .await
            .body
            .contains("waiting_for_human")
    );
    let job = api
        .get(ALICE, &format!("/api/v1/jobs/{alices}"))
        .await
        .json();
    assert_eq!(
        job["status"], "waiting_for_human",
        "and nothing has happened to it"
    );
}

#[tokio::test(start_paused = true)]
async fn no_token_no_route() {
    let api = Api::start().await;
    let document = serde_json::to_value(client::routes().into_openapi()).expect("a document");
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in item.as_object().expect("operations").keys() {
            let line = format!(
                "{} /api/v1{}",
                method.to_uppercase(),
                path.replace(['{', '}'], "")
            );
            for (header, error) in [
                ("", "Missing X-Client-Token header"),
                ("\nX-Client-Token: nope", "Unauthorized: Invalid token"),
            ] {
                let answer = api.send(&format!("{line}{header}")).await;
                assert_eq!(
                    (answer.status, answer.code().as_str()),
                    (401, "unauthorized"),
                    "{line}"
                );
                assert_eq!(answer.json()["error"], error);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_secret_is_shown() {
    let api = Api::start().await;
    let body = json!({"initial_data": {"who": "I"}, "security": {"key": "very-secret"}});
    let id = api.create(ALICE, "/api/v1/jobs/ask", &body).await;
    let token =
        api.get(ALICE, &format!("/api/v1/jobs/{id}")).await.json()["approval_token"].clone();
    let token = token.as_str().expect("the owner sees it while it is good");
    for path in ["history", "explain", "deliveries"] {
        let answer = api.get(ALICE, &format!("/api/v1/jobs/{id}/{path}")).await;
        for secret in [ALICE, token, "very-secret"] {
            assert!(!answer.body.contains(secret), "{path}: {}", answer.body);
        }
    }
    assert!(
        !api.get(ALICE, &format!("/api/v1/jobs/{id}"))
            .await
            .body
            .contains("very-secret")
    );
    api.post(
        ALICE,
        &format!("/api/v1/jobs/{id}/approve"),
        &json!({"decision": "approved"}),
    )
    .await;
    assert!(
        !api.get(ALICE, &format!("/api/v1/jobs/{id}"))
            .await
            .body
            .contains(token)
    );
}
