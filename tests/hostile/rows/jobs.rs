//! What clients may ask that cannot be answered: jobs, queries, files, and those of others.

use super::{Row, get, post};
use crate::stage::{Facts, OTHER, as_client};
use crate::wire::Raw;

/// One job: what is asked of it cannot be read, or it is none of the caller's.
pub(crate) fn jobs(facts: &Facts) -> Vec<Row> {
    let (job, ended, busy) = (&facts.job, &facts.ended, &facts.busy);
    let long = format!(r#"{{"reason":"{}"}}"#, "x".repeat(501));
    let decision = format!(r#"{{"decision":"{}"}}"#, "y".repeat(129));
    let name = format!(r#"{{"name":"{}"}}"#, "e".repeat(129));
    let posts: [(&str, u16, &str, &str, &str); 29] = [
        (job, 400, "invalid_json", "cancel", "{bad"),
        (job, 400, "invalid_json", "cancel", "[]"),
        (job, 400, "invalid_request", "cancel", r#"{"reason":5}"#),
        (job, 400, "invalid_request", "cancel", &long),
        (ended, 404, "job_not_found", "cancel", ""),
        ("nobody", 404, "job_not_found", "cancel", "{}"),
        (job, 409, "not_retryable", "retry", ""),
        (ended, 409, "not_retryable", "retry", "{bad"),
        ("..", 404, "not_found", "x/y/retry", ""),
        (job, 400, "invalid_json", "approve", ""),
        (job, 400, "invalid_json", "approve", "true"),
        (job, 400, "invalid_request", "approve", "{}"),
        (
            job,
            400,
            "invalid_request",
            "approve",
            r#"{"decision":null}"#,
        ),
        (
            job,
            400,
            "invalid_request",
            "approve",
            r#"{"decision":["approved"]}"#,
        ),
        (job, 400, "invalid_request", "approve", r#"{"decision":""}"#),
        (job, 400, "invalid_request", "approve", &decision),
        (
            job,
            400,
            "invalid_decision",
            "approve",
            r#"{"decision":"timeout"}"#,
        ),
        (
            job,
            400,
            "invalid_decision",
            "approve",
            r#"{"decision":"__proto__"}"#,
        ),
        (
            job,
            400,
            "invalid_decision",
            "approve",
            r#"{"decision":"approved","metadata":{"note":5}}"#,
        ),
        (
            job,
            400,
            "invalid_request",
            "approve",
            r#"{"decision":"approved","metadata":[]}"#,
        ),
        (
            busy,
            409,
            "not_waiting",
            "approve",
            r#"{"decision":"success"}"#,
        ),
        (
            ended,
            409,
            "not_waiting",
            "approve",
            r#"{"decision":"approved"}"#,
        ),
        (job, 400, "invalid_json", "events", "{"),
        (job, 400, "invalid_request", "events", "{}"),
        (job, 400, "invalid_request", "events", r#"{"name":5}"#),
        (job, 400, "invalid_request", "events", &name),
        (job, 409, "not_waiting", "events", r#"{"name":"x"}"#),
        (ended, 409, "not_waiting", "events", r#"{"name":"x"}"#),
        (job, 404, "not_found", "nothing", "{}"),
    ];
    let mut rows: Vec<Row> = posts
        .into_iter()
        .enumerate()
        .map(|(n, (id, status, code, verb, body))| {
            let raw = post(&format!("/jobs/{id}/{verb}"), body);
            Row::new(format!("{n}: {verb} {body:.60}"), raw, status, code)
        })
        .collect();
    for (path, status, code) in [
        ("/jobs/work", 405, "method_not_allowed"),
        ("/jobs/%00", 404, "job_not_found"),
        ("/jobs/%ff", 400, "invalid_request"),
        ("/jobs/%zz", 404, "job_not_found"),
        ("/jobs/..%2f..%2fetc%2fpasswd", 404, "job_not_found"),
        ("/jobs/../../_worker/x", 404, "not_found"),
        ("/jobs/'%20OR%201=1--", 404, "job_not_found"),
        (
            "/jobs/00000000-0000-0000-0000-000000000000",
            404,
            "job_not_found",
        ),
        ("/jobs//", 404, "not_found"),
        ("/nowhere", 404, "not_found"),
        ("/workers/no%20body", 404, "worker_not_found"),
        ("/workers/%F0%9F%92%A5", 404, "worker_not_found"),
        ("/blueprints/..%2f..%2fx", 404, "blueprint_not_found"),
        ("/blueprints/nobody/schema", 404, "blueprint_not_found"),
        ("/blueprints/nobody/graph", 404, "blueprint_not_found"),
        ("/blueprints/work/graph?format=exe", 400, "invalid_query"),
        (
            "/blueprints/work/graph?format=svg&format=dot",
            400,
            "invalid_query",
        ),
    ] {
        rows.push(Row::new(format!("get {path}"), get(path), status, code));
    }
    rows
}

/// Queries that cannot be meant.
pub(crate) fn queries(facts: &Facts) -> Vec<Row> {
    let (job, mut rows) = (&facts.job, Vec::new());
    let many = format!("/jobs?label={}", "a".repeat(9000));
    for path in [
        "/jobs?limit=ten",
        "/jobs?limit=-1",
        "/jobs?limit=0",
        "/jobs?limit=501",
        "/jobs?limit=1e2",
        "/jobs?limit=99999999999999999999999999",
        "/jobs?limit=%00",
        "/jobs?limit=",
        "/jobs?limit=10&limit=x",
        "/jobs?offset=-1",
        "/jobs?offset=99999999999",
        "/jobs?cursor=x",
        "/jobs?cursor=%ff%fe",
        "/jobs?status=error",
        "/jobs?status=",
        "/jobs?status=finished;drop",
        "/jobs?label=x",
        "/jobs?created_from=yesterday",
        "/jobs?created_to=2026-13-45T99:99:99Z",
        "/jobs/quarantined?limit=0",
        "/jobs/quarantined?cursor=..",
        "/jobs/search?limit=0",
        "/jobs/search?cursor=..",
        "/jobs/search?offset=1",
        "/jobs/search?error=",
        "/jobs/search?error=%00",
        "/jobs/search?label=x",
        "/jobs/search?label=team:a&label=team:b",
        "/jobs/search?stauts=failed",
        &many,
    ] {
        let name = format!("query {path:.60}");
        rows.push(Row::new(name, get(path), 400, "invalid_query"));
    }
    for path in [
        "history?limit=0",
        "history?limit=1001",
        "history?cursor=1",
        "history?cursor=-1.-1",
        "history?limit=1&limit=2",
        "events?last_event_id=x",
        "events?last_event_id=1.99999999999999999999",
        "files/upload",
        "files/upload?filename=a&expires_in=0",
        "files/upload?filename=a&expires_in=604801",
        "files/upload?filename=a&expires_in=1%27",
        "files/upload?filename=a&filename=b",
        "files/upload?filename=a&size=-1",
        "files/upload?filename=a&size=99999999999999999999",
    ] {
        let raw = get(&format!("/jobs/{job}/{path}"));
        rows.push(Row::new(format!("query {path}"), raw, 400, "invalid_query"));
    }
    let raw = get(&format!("/jobs/{job}/events")).header(b"Last-Event-ID: \xff");
    rows.push(Row::new(
        "a Last-Event-ID of bytes",
        raw,
        400,
        "invalid_query",
    ));
    rows
}

/// File names that lead elsewhere, and files where none may be.
pub(crate) fn files(facts: &Facts) -> Vec<Row> {
    let (job, ended, mut rows) = (&facts.job, &facts.ended, Vec::new());
    let long = "n".repeat(256);
    for name in [
        "..%2f..%2fx",
        "..%5c..%5cx",
        "%2e%2e",
        ".",
        "a%00b",
        "a%0d%0ab",
        "%2fetc%2fpasswd",
        &long,
    ] {
        let put = as_client(&format!("PUT /api/v1/jobs/{job}/files/content/{name}")).body("x");
        let label = format!("file name {name:.30}");
        rows.push(Row::new(
            format!("{label}: up"),
            put,
            400,
            "invalid_file_name",
        ));
        let down = get(&format!("/jobs/{job}/files/download/{name}"));
        rows.push(Row::new(
            format!("{label}: down"),
            down,
            400,
            "invalid_file_name",
        ));
        let link = get(&format!("/jobs/{job}/files/upload?filename=x/{name}"));
        rows.push(Row::new(
            format!("{label}: link"),
            link,
            400,
            "invalid_file_name",
        ));
    }
    for (name, line, status, code) in [
        (
            "a name of no text",
            format!("PUT /api/v1/jobs/{job}/files/content/%ff"),
            400,
            "invalid_request",
        ),
        (
            "a folder in the path",
            format!("PUT /api/v1/jobs/{job}/files/content/a/b"),
            404,
            "not_found",
        ),
        (
            "no name",
            format!("PUT /api/v1/jobs/{job}/files/content/"),
            404,
            "not_found",
        ),
        (
            "a file of an ended job",
            format!("PUT /api/v1/jobs/{ended}/files/content/a"),
            409,
            "job_ended",
        ),
        (
            "a link of an ended job",
            format!("GET /api/v1/jobs/{ended}/files/upload?filename=a"),
            409,
            "job_ended",
        ),
        (
            "a file of no job",
            "PUT /api/v1/jobs/nobody/files/content/a".to_owned(),
            404,
            "job_not_found",
        ),
        (
            "no such file",
            format!("GET /api/v1/jobs/{job}/files/download/nothing"),
            404,
            "file_not_found",
        ),
        (
            "files of no job",
            "GET /api/v1/jobs/%00/files".to_owned(),
            404,
            "job_not_found",
        ),
    ] {
        rows.push(Row::new(name, as_client(&line).body("x"), status, code));
    }
    rows
}

/// Whoever has no token, a bad one or another's.
pub(crate) fn strangers(facts: &Facts) -> Vec<Row> {
    let (job, mut rows) = (&facts.job, Vec::new());
    let long = "t".repeat(8000);
    for (name, token) in [
        ("an empty token", ""),
        ("a wrong token", "token-of-nobody"),
        ("a long token", &long),
        ("a token of the wrong case", "TOKEN-OF-THE-CLIENT"),
        ("a pattern for a token", "token-of-*"),
        ("a token that is no ASCII", "tokën"),
    ] {
        let raw = Raw::line("POST /api/v1/jobs/work").header(format!("X-Client-Token: {token}"));
        rows.push(Row::new(name, raw.body("{}"), 401, "unauthorized"));
    }
    for (method, path) in [
        ("POST", "/jobs/work"),
        ("GET", "/jobs"),
        ("GET", "/jobs/quarantined"),
        ("GET", "/jobs/search"),
        ("GET", "/workers"),
        ("GET", "/workers/catalog"),
        ("GET", "/workers/w1"),
        ("GET", "/dashboard"),
        ("GET", "/blueprints"),
        ("GET", "/blueprints/work"),
        ("POST", "/admin/reload-workers"),
        ("GET", "/nowhere"),
    ] {
        let raw = Raw::line(&format!("{method} /api/v1{path}")).body("{}");
        rows.push(Row::new(
            format!("no token: {path}"),
            raw,
            401,
            "unauthorized",
        ));
    }
    for (method, path) in [
        ("GET", ""),
        ("POST", "/cancel"),
        ("POST", "/retry"),
        ("GET", "/history"),
        ("GET", "/explain"),
        ("GET", "/deliveries"),
        ("GET", "/events"),
        ("GET", "/files"),
        ("GET", "/files/upload?filename=a"),
        ("PUT", "/files/content/a"),
        ("GET", "/files/download/a"),
    ] {
        let line = format!("{method} /api/v1/jobs/{job}{path}");
        let raw = Raw::line(&line).header(format!("X-Client-Token: {OTHER}"));
        rows.push(Row::new(
            format!("another's: {path}"),
            raw,
            404,
            "job_not_found",
        ));
    }
    let both = as_client("POST /api/v1/admin/reload-workers").body("");
    rows.push(Row::new("no operator", both, 403, "forbidden"));
    rows
}
