//! Which worker may say what, and for how long.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::fixture::{Api, OTHER, WORKER};

#[tokio::test(start_paused = true)]
async fn short_lived_tokens() {
    let api = Api::start().await;
    let issued = api
        .tell(WORKER, "POST /_worker/auth/token", &Value::Null)
        .await
        .json();
    let access = issued["access_token"].as_str().expect("a token").to_owned();
    let refresh = issued["refresh_token"]
        .as_str()
        .expect("a token")
        .to_owned();
    assert_eq!((access.len(), refresh.len()), (43, 43));
    assert_eq!(
        (&issued["worker_id"], &issued["expires_in"]),
        (&json!("gpu-01"), &json!(3600))
    );
    let body = || json!({"supported_skills": [{"name": "echo"}]});
    // Signed with the access token, as the SDK does after a rotation, or with the static one.
    for key in [access.as_str(), WORKER.1] {
        let mut message = api.sealed((WORKER.0, key), body());
        let answer = api
            .tell(
                (WORKER.0, &access),
                "POST /_worker/workers/register",
                &message,
            )
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        message["worker_type"] = json!("tampered");
        let answer = api
            .tell(
                (WORKER.0, &access),
                "POST /_worker/workers/register",
                &message,
            )
            .await;
        assert_eq!(answer.code(), "invalid_signature");
    }
    let stolen = api
        .tell((OTHER.0, &access), "POST /_worker/auth/token", &Value::Null)
        .await;
    assert_eq!(stolen.code(), "worker_unauthorized");
    api.pass(3_600_001);
    let expired = api
        .tell(
            (WORKER.0, &access),
            "POST /_worker/auth/token",
            &Value::Null,
        )
        .await;
    assert_eq!(
        (expired.status, expired.code().as_str()),
        (401, "token_expired")
    );
    let nobody = format!("POST /_worker/auth/token\nX-Worker-Token: {}", OTHER.1);
    assert_eq!(api.send(&nobody).await.status, 400, "no id, no token (WQ3)");
}

#[tokio::test(start_paused = true)]
async fn who_may_speak() {
    let api = Api::start().await;
    api.register(WORKER).await;
    let beat = api.sealed(WORKER, json!({"status": "idle"}));
    for (token, path, code) in [
        ("", "gpu-01", "worker_unauthorized"),
        ("wrong", "gpu-01", "worker_unauthorized"),
        // The global token is no way around a worker's own.
        (OTHER.1, "gpu-01", "worker_unauthorized"),
        (WORKER.1, "cpu-01", "worker_unauthorized"),
        (WORKER.1, "gpu%2001", "invalid_message"),
        // Authenticated, but the message is another's and signed by it.
        (OTHER.1, "cpu-01", "invalid_signature"),
    ] {
        let text = format!("PATCH /_worker/workers/{path}\nX-Worker-Token: {token}\n\n{beat}");
        let answer = api.send(&text).await;
        assert_eq!(answer.code(), code, "{token} {path}: {}", answer.body);
        assert!(matches!(answer.status, 400 | 403));
        if code == "worker_unauthorized" {
            let error = answer.json()["error"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            assert!(
                error.starts_with("Unauthorized"),
                "the SDK looks for the word: {error}"
            );
        }
    }
    let unknown = api.sealed(OTHER, json!({"status": "idle"}));
    let answer = api
        .tell(OTHER, "PATCH /_worker/workers/cpu-01", &unknown)
        .await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (404, "worker_not_found")
    );
    assert!(answer.body.contains(r#""error":"Worker not found""#));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_is_good_once() {
    let api = Api::start().await;
    let issue = "POST /_worker/auth/token";
    let issued = api.tell(WORKER, issue, &Value::Null).await.json();
    let refresh = |pair: &Value| {
        pair["refresh_token"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let exchange = async |worker: &str, token: &str| {
        let body = json!({"refresh_token": token});
        let line = "POST /_worker/auth/token/refresh";
        api.send(&format!("{line}\nX-Worker-ID: {worker}\n\n{body}"))
            .await
    };
    let first = refresh(&issued);
    assert_eq!(
        exchange(OTHER.0, &first).await.status,
        403,
        "another worker's"
    );
    let next = exchange(WORKER.0, &first).await;
    assert_eq!(next.status, 200, "{}", next.body);
    assert_eq!(exchange(WORKER.0, &first).await.status, 403, "used (WQ2)");
    let second = refresh(&next.json());
    assert_eq!(
        exchange(WORKER.0, &second).await.status,
        403,
        "reuse revokes the family"
    );
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_taken_out_is_out_at_once() {
    let api = Api::start().await;
    let issue = "POST /_worker/auth/token";
    let issued = api.tell(WORKER, issue, &Value::Null).await.json();
    let text = |name: &str| issued[name].as_str().expect("a token").to_owned();
    let (access, refresh) = (text("access_token"), text("refresh_token"));
    api.tokens.are_gone.store(true, Ordering::Relaxed);
    let answer = api.tell((WORKER.0, &access), issue, &Value::Null).await;
    assert_eq!(answer.code(), "worker_unauthorized");
    let exchange = format!(
        "{issue}/refresh\nX-Worker-ID: {}\n\n{}",
        WORKER.0,
        json!({"refresh_token": refresh})
    );
    assert_eq!(api.send(&exchange).await.code(), "worker_unauthorized");
    api.tokens.are_gone.store(false, Ordering::Relaxed);
    let answer = api.tell((WORKER.0, &access), issue, &Value::Null).await;
    assert_eq!(answer.status, 200, "back in the file: {}", answer.body);
}
