//! What workers may get wrong, and what others may try as one.

use serde_json::{Value, json};

use super::Row;
use crate::stage::{Facts, WORKER, as_worker, sealed};
use crate::wire::Raw;

const REGISTER: &str = "POST /_worker/workers/register";

fn told(line: &str, body: impl AsRef<[u8]>) -> Raw {
    as_worker(line).body(body)
}

/// Registrations: unsigned ones, and signed ones that say nothing.
pub(crate) fn registrations() -> Vec<Row> {
    let deep = format!(r#"{{"metadata":{}1{}}}"#, "[".repeat(40), "]".repeat(40));
    let (id, now) = (WORKER.0, 1_795_422_154);
    let unsigned = json!({"worker_id": id, "timestamp": now}).to_string();
    let short = json!({"worker_id": id, "timestamp": now, "security": {"signature": "00"}});
    let odd = json!({"worker_id": id, "timestamp": now, "security": {"signature": ["00"]}});
    let mut rows: Vec<Row> = [
        ("no body", "", 400, "invalid_json"),
        ("half a body", "{\"worker_id\":", 400, "invalid_json"),
        (
            "half a surrogate",
            r#"{"worker_id":"\ud800"}"#,
            400,
            "invalid_json",
        ),
        ("a list", "[]", 403, "invalid_signature"),
        ("null", "null", 403, "invalid_signature"),
        ("nesting of 40", &deep, 400, "invalid_message"),
        (
            "nesting of 100,000",
            &"[".repeat(100_000),
            400,
            "invalid_json",
        ),
        (
            "a number beyond 64 bits",
            r#"{"n":2e19}"#,
            400,
            "invalid_message",
        ),
        (
            "an integer of 400 digits",
            &format!(r#"{{"n":{}}}"#, "9".repeat(400)),
            400,
            "invalid_json",
        ),
        ("no signature", &unsigned, 403, "invalid_signature"),
        (
            "a short signature",
            &short.to_string(),
            403,
            "invalid_signature",
        ),
        (
            "a signature that is a list",
            &odd.to_string(),
            403,
            "invalid_signature",
        ),
        (
            "old",
            &sealed(json!({"timestamp": 1})),
            403,
            "invalid_signature",
        ),
        (
            "from far ahead",
            &sealed(json!({"timestamp": 99_999_999_999_u64})),
            403,
            "invalid_signature",
        ),
    ]
    .into_iter()
    .map(|(name, body, status, code)| {
        Row::new(
            format!("register: {name}"),
            told(REGISTER, body),
            status,
            code,
        )
    })
    .collect();
    for message in [
        json!({"timestamp": "now"}),
        json!({"timestamp": 1.5}),
        json!({"supported_skills": [{"name": 5}]}),
        json!({"supported_skills": {"name": "x"}}),
        json!({"supported_skills": [null]}),
        json!({"hot_skills": "x"}),
        json!({"resources": []}),
        json!({"resources": {"devices": [{"model": 5}]}}),
        json!({"capabilities": {"cost_per_skill": {"echo": "free"}}}),
        json!({"installed_software": {"ffmpeg": 5}}),
        json!({"worker_type": {}}),
    ] {
        let name = format!("register: {message}");
        rows.push(Row::new(
            name,
            told(REGISTER, sealed(message)),
            400,
            "invalid_message",
        ));
    }
    let other = told(REGISTER, sealed(json!({"worker_id": "w2"})));
    rows.push(Row::new("register: as another", other, 403, "forbidden"));
    rows
}

/// Heartbeats and polls.
pub(crate) fn beats() -> Vec<Row> {
    let beat = "PATCH /_worker/workers/w1";
    let mut twice = sealed(json!({"status": "idle"}));
    twice.insert_str(twice.len() - 1, r#","status":"busy""#);
    let late =
        sealed(json!({"status": "idle"})).replace(r#""status":"idle""#, r#""status":"busy""#);
    let mut rows: Vec<Row> = [
        ("{bad", 400, "invalid_json"),
        ("[1]", 403, "invalid_signature"),
        ("5", 403, "invalid_signature"),
        (r#"{"status":"idle"}"#, 403, "invalid_signature"),
        (&late, 403, "invalid_signature"),
        (&twice, 403, "invalid_signature"),
        (&sealed(json!({})), 400, "invalid_message"),
        (&sealed(json!({"status": 5})), 400, "invalid_message"),
        (
            &sealed(json!({"status": "idle", "current_tasks": [5]})),
            400,
            "invalid_message",
        ),
        (
            &sealed(json!({"status": "idle", "usage": {"cpu_load_percent": "x"}})),
            400,
            "invalid_message",
        ),
        (
            &sealed(json!({"status": "idle", "worker_id": "w2"})),
            403,
            "forbidden",
        ),
    ]
    .into_iter()
    .map(|(body, status, code): (&str, _, _)| {
        Row::new(
            format!("beat: {code} {body:.300}"),
            told(beat, body),
            status,
            code,
        )
    })
    .collect();
    for (line, status, code) in [
        ("PATCH /_worker/workers/w%201", 400, "invalid_message"),
        ("PATCH /_worker/workers/%ff", 400, "invalid_request"),
        ("PATCH /_worker/workers/w2", 403, "worker_unauthorized"),
        ("PATCH /_worker/workers/..%2fw1", 400, "invalid_message"),
        (
            "GET /_worker/workers/w%0d%0a1/tasks/next?timeout=0",
            400,
            "invalid_message",
        ),
        (
            "GET /_worker/workers/w2/tasks/next?timeout=0",
            403,
            "worker_unauthorized",
        ),
        (
            "GET /_worker/workers/w1/tasks/next?timeout=0&timeout=1",
            400,
            "invalid_query",
        ),
        (
            "GET /_worker/workers/w1/tasks/next?timeout=0&lease_id=7",
            400,
            "invalid_query",
        ),
        (
            "GET /_worker/workers/w1/tasks/next?timeout=0&lost_lease_ids=7,8",
            400,
            "invalid_query",
        ),
        ("GET /_worker/workers/w1/tasks", 404, "not_found"),
        ("GET /_worker/skills/call", 404, "not_found"),
        ("GET /_worker", 404, "not_found"),
        ("DELETE /_worker/workers/w1", 405, "method_not_allowed"),
        (
            "POST /_worker/workers/w1/tasks/next",
            405,
            "method_not_allowed",
        ),
        ("GET /_worker/tasks/result", 405, "method_not_allowed"),
        ("PUT /_worker/events", 405, "method_not_allowed"),
        ("GET /_worker/auth/token", 405, "method_not_allowed"),
        (
            "OPTIONS /_worker/auth/token/refresh",
            405,
            "method_not_allowed",
        ),
        ("POST /_worker/ws/w1", 405, "method_not_allowed"),
        ("GET /_worker/workers/register", 405, "method_not_allowed"),
    ] {
        rows.push(Row::new(line, told(line, "{}"), status, code));
    }
    rows
}

/// Results and events.
pub(crate) fn results(facts: &Facts) -> Vec<Row> {
    let result = "POST /_worker/tasks/result";
    let (job, task) = (&facts.busy, &facts.task);
    let with = |more: Value| {
        let mut message = json!({"job_id": job, "task_id": task, "status": "success"});
        if let (Some(message), Value::Object(more)) = (message.as_object_mut(), more) {
            message.extend(more);
        }
        sealed(message)
    };
    let mut rows: Vec<Row> = [
        (String::new(), 400, "invalid_json"),
        ("{bad".to_owned(), 400, "invalid_json"),
        (r#"{"job_id":"\ud800"}"#.to_owned(), 400, "invalid_json"),
        ("{}".to_owned(), 403, "invalid_signature"),
        (
            with(json!({})).replace("success", "failure"),
            403,
            "invalid_signature",
        ),
        (with(json!({"timestamp": 1})), 403, "invalid_signature"),
        (with(json!({"worker_id": "w2"})), 403, "forbidden"),
        (with(json!({"task_id": null})), 400, "invalid_message"),
        (with(json!({"job_id": 5})), 400, "invalid_message"),
        (with(json!({"status": []})), 400, "invalid_message"),
        (with(json!({"data": [1]})), 400, "invalid_message"),
        (with(json!({"data": "x"})), 400, "invalid_message"),
        (with(json!({"error": {"code": 5}})), 400, "invalid_message"),
        (with(json!({"error": "broken"})), 400, "invalid_message"),
    ]
    .into_iter()
    .enumerate()
    .map(|(n, (body, status, code))| {
        Row::new(
            format!("result {n}: {body:.300}"),
            told(result, &body),
            status,
            code,
        )
    })
    .collect();
    for (body, status, code) in [
        ("", 400, "invalid_json"),
        ("{}", 403, "invalid_signature"),
        ("\"x\"", 403, "invalid_signature"),
    ] {
        let raw = told("POST /_worker/events", body);
        rows.push(Row::new(format!("event: {body}"), raw, status, code));
    }
    for (body, status, code) in [
        ("", 400, "invalid_json"),
        ("[]", 400, "invalid_json"),
        ("{}", 400, "invalid_message"),
        (r#"{"refresh_token":5}"#, 400, "invalid_message"),
        (r#"{"refresh_token":"x"}"#, 403, "worker_unauthorized"),
    ] {
        let raw = told("POST /_worker/auth/token/refresh", body);
        rows.push(Row::new(format!("refresh: {body}"), raw, status, code));
    }
    rows
}

/// Workers that show nothing, or somebody else's.
pub(crate) fn callers() -> Vec<Row> {
    let (id, token) = WORKER;
    let (long, longest) = ("w".repeat(129), "t".repeat(5000));
    let mut rows = Vec::new();
    for (name, worker, token, status, code) in [
        ("no token", id, "", 403, "worker_unauthorized"),
        (
            "a wrong token",
            id,
            "token-of-w2",
            403,
            "worker_unauthorized",
        ),
        (
            "a token that is too long",
            id,
            &longest,
            403,
            "worker_unauthorized",
        ),
        (
            "a token that is no ASCII",
            id,
            "tokën",
            403,
            "worker_unauthorized",
        ),
        ("another's id", "w2", token, 403, "worker_unauthorized"),
        ("an id of blanks", "w 1", token, 400, "invalid_message"),
        ("an id with a path", "../w1", token, 400, "invalid_message"),
        (
            "an id that is too long",
            &long,
            token,
            400,
            "invalid_message",
        ),
        ("a pattern for an id", "w*", token, 400, "invalid_message"),
        (
            "an id that is no ASCII",
            "wörk",
            token,
            403,
            "worker_unauthorized",
        ),
        ("no id", "", token, 403, "worker_unauthorized"),
    ] {
        let raw = Raw::line("POST /_worker/auth/token")
            .header(format!("X-Worker-ID: {worker}"))
            .header(format!("X-Worker-Token: {token}"));
        rows.push(Row::new(
            format!("worker: {name}"),
            raw.body(""),
            status,
            code,
        ));
    }
    for line in [
        REGISTER,
        "PATCH /_worker/workers/w1",
        "GET /_worker/workers/w1/tasks/next",
        "POST /_worker/tasks/result",
        "POST /_worker/events",
        "POST /_worker/auth/token",
        "GET /_worker/ws/w1",
    ] {
        let raw = Raw::line(line).body(r#"{"worker_id":"w1"}"#);
        rows.push(Row::new(
            format!("nobody: {line}"),
            raw,
            403,
            "worker_unauthorized",
        ));
    }
    rows
}

/// Upgrades that are none.
pub(crate) fn sockets() -> Vec<Row> {
    let socket = || as_worker("GET /_worker/ws/w1");
    let asked = || {
        socket()
            .header("Connection: Upgrade")
            .header("Upgrade: websocket")
    };
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    [
        ("no upgrade", socket()),
        (
            "an upgrade to nothing",
            socket().header("Connection: Upgrade"),
        ),
        (
            "an upgrade to h2c",
            socket()
                .header("Connection: Upgrade")
                .header("Upgrade: h2c"),
        ),
        ("no version", asked().header(key)),
        (
            "version 8",
            asked().header(key).header("Sec-WebSocket-Version: 8"),
        ),
        (
            "version x",
            asked().header(key).header("Sec-WebSocket-Version: x"),
        ),
        ("no key", asked().header("Sec-WebSocket-Version: 13")),
    ]
    .into_iter()
    .map(|(name, raw)| Row::new(format!("socket: {name}"), raw, 400, "invalid_request"))
    .collect()
}
