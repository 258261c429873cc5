//! Bad input to every route: the right code, never a 5xx, nothing changed.

use serde_json::{Value, json};

use super::fixture::{ALICE, Api, WORKER};

/// One line of a table.
struct Case<'a> {
    status: u16,
    code: &'a str,
    line: String,
    body: &'a str,
}

fn cases(table: &str) -> impl Iterator<Item = Case<'_>> {
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let (status, rest) = line.split_once(' ').expect("a status");
        let (code, rest) = rest.split_once(' ').expect("a code");
        let mut words = rest.trim_start().splitn(3, ' ');
        let mut word = || words.next().unwrap_or_default();
        let line = format!("{} {}", word(), word());
        Case {
            status: status.parse().expect("a number"),
            code,
            line,
            body: word(),
        }
    })
}

#[tokio::test(start_paused = true)]
async fn client_routes() {
    let api = Api::start().await;
    let body = json!({"initial_data": {"who": "I"}});
    let job = api.create(ALICE, "/api/v1/jobs/ask", &body).await;
    for Case {
        status,
        code,
        line,
        body,
    } in cases(include_str!("data/hostile.txt"))
    {
        let line = line.replace("{job}", &job);
        let answer = api
            .send(&format!("{line}\nX-Client-Token: {ALICE}\n\n{body}"))
            .await;
        let seen = (answer.status, answer.code());
        assert_eq!(
            seen,
            (status, code.to_owned()),
            "{line} {body}: {}",
            answer.body
        );
        assert!(answer.json()["request_id"].is_string(), "{line}");
        assert_eq!(answer.headers["x-request-id"], answer.json()["request_id"]);
        assert_eq!(
            answer.headers.contains_key("allow"),
            status == 405,
            "{line}"
        );
    }
    for key in ["", "ä", &"k".repeat(256)] {
        let line = "POST /api/v1/jobs/work";
        let text = format!("{line}\nX-Client-Token: {ALICE}\nIdempotency-Key: {key}\n\n{{}}");
        assert_eq!(api.send(&text).await.code(), "invalid_request", "{key}");
    }
    let jobs = api.get(ALICE, "/api/v1/jobs").await.json();
    assert_eq!(
        jobs.as_array().map(Vec::len),
        Some(1),
        "nothing was created on the way"
    );
    assert_eq!(jobs[0]["context_snapshot"]["status"], "waiting_for_human");
}

#[tokio::test(start_paused = true)]
async fn worker_routes() {
    let api = Api::start().await;
    api.register(WORKER).await;
    let (id, token) = WORKER;
    for Case {
        status,
        code,
        line,
        body,
    } in cases(include_str!("data/hostile_worker.txt"))
    {
        let body = match body.strip_prefix('~') {
            Some(body) => api
                .sealed(WORKER, serde_json::from_str(body).expect("JSON"))
                .to_string(),
            None => body.to_owned(),
        };
        let text = format!("{line}\nX-Worker-Token: {token}\nX-Worker-ID: {id}\n\n{body}");
        let answer = api.send(&text).await;
        let seen = (answer.status, answer.code());
        assert_eq!(
            seen,
            (status, code.to_owned()),
            "{line} {body}: {}",
            answer.body
        );
    }
    for timeout in ["x", "-1", "NaN", "1e400", "0"] {
        let line = format!("GET /_worker/workers/gpu-01/tasks/next?timeout={timeout}");
        let answer = api.tell(WORKER, &line, &Value::Null).await;
        assert_eq!(answer.status, 204, "{timeout}");
    }
    let worker = api.state.runtime.worker(&id.into()).expect("known");
    assert_eq!(worker.skills.len(), 1, "nothing has changed it");
}

#[tokio::test(start_paused = true)]
async fn bodies_beyond_the_limit() {
    let api = Api::start().await;
    let body = json!({"initial_data": {"long": "x".repeat(1 << 20)}});
    let answer = api.post(ALICE, "/api/v1/jobs/work", &body).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (413, "body_too_large")
    );
    let answer = api.tell(WORKER, "POST /_worker/tasks/result", &body).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (413, "body_too_large")
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_id_is_taken_over_when_it_is_one() {
    let api = Api::start().await;
    let answer = api.send("GET /nowhere\nX-Request-ID: my-id-1").await;
    assert_eq!(answer.headers["x-request-id"], "my-id-1");
    assert_eq!(answer.json()["request_id"], "my-id-1");
    let answer = api
        .send(&format!("GET /nowhere\nX-Request-ID: {}", "x".repeat(129)))
        .await;
    assert_eq!(
        answer.headers["x-request-id"].len(),
        36,
        "too long: a new one"
    );
}
