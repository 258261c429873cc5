//! What anybody may try.

use super::Row;
use crate::stage::{Facts, OTHER};
use crate::wire::Raw;

/// Approvals without a token, links that were made up, paths that lead out.
pub(crate) fn rows(facts: &Facts) -> Vec<Row> {
    let (job, mut rows) = (&facts.job, Vec::new());
    let approve = |id: &str| Raw::line(&format!("POST /_public/webhooks/approval/{id}"));
    let yes = r#"{"decision":"approved"}"#;
    let long = format!(
        r#"{{"decision":"approved","token":"{}"}}"#,
        "t".repeat(100_000)
    );
    for (name, raw, status, code) in [
        ("no body", approve(job).body(""), 400, "invalid_json"),
        (
            "half a body",
            approve(job).body("{bad"),
            400,
            "invalid_json",
        ),
        ("a list", approve(job).body("[1]"), 400, "invalid_json"),
        (
            "no decision",
            approve(job).body("{}"),
            400,
            "invalid_request",
        ),
        (
            "a decision that is a number",
            approve(job).body(r#"{"decision":1}"#),
            400,
            "invalid_request",
        ),
        ("no token", approve(job).body(yes), 401, "unauthorized"),
        ("a long token", approve(job).body(long), 401, "unauthorized"),
        (
            "a token that is a list",
            approve(job).body(r#"{"decision":"approved","token":[]}"#),
            401,
            "unauthorized",
        ),
        (
            "a token in the query",
            Raw::line(&format!("POST /_public/webhooks/approval/{job}?token=x")).body(yes),
            401,
            "unauthorized",
        ),
        (
            "a token of bytes",
            approve(job).header(b"X-Approval-Token: \xff\xfe").body(yes),
            401,
            "unauthorized",
        ),
        (
            "a stranger's token",
            approve(job).header("X-Client-Token: x").body(yes),
            401,
            "unauthorized",
        ),
        (
            "another's token",
            approve(job)
                .header(format!("X-Client-Token: {OTHER}"))
                .body(yes),
            404,
            "job_not_found",
        ),
        ("no job", approve("nobody").body(yes), 401, "unauthorized"),
        (
            "a job of bytes",
            approve("%ff").body(yes),
            400,
            "invalid_request",
        ),
        (
            "a job of dots",
            approve("..%2f..").body(yes),
            401,
            "unauthorized",
        ),
    ] {
        rows.push(Row::new(format!("approval: {name}"), raw, status, code));
    }
    for (query, method, status, code) in [
        ("", "GET", 403, "link_invalid"),
        (
            "?expires=99999999999&signature=x",
            "GET",
            403,
            "link_invalid",
        ),
        (
            "?expires=9223372036854775807&signature=",
            "PUT",
            403,
            "link_invalid",
        ),
        ("?expires=-1&signature=x", "GET", 403, "link_invalid"),
        ("?expires=soon&signature=x", "GET", 400, "invalid_query"),
        ("?expires=1&expires=2", "PUT", 400, "invalid_query"),
        (
            "?expires=99999999999999999999&signature=x",
            "PUT",
            400,
            "invalid_query",
        ),
    ] {
        let raw = Raw::line(&format!("{method} /_public/files/{job}/a{query}")).body("x");
        rows.push(Row::new(
            format!("link: {method} {query}"),
            raw,
            status,
            code,
        ));
    }
    for (line, status, code) in [
        ("GET /_public/files/%ff/a", 400, "invalid_request"),
        ("GET /_public/files/../../etc/passwd", 404, "not_found"),
        ("GET /_public/files/x/..%2f..%2fetc", 403, "link_invalid"),
        ("GET /_public/../_worker/workers/w1", 404, "not_found"),
        ("GET /_public", 404, "not_found"),
        ("GET /_public/debug/flush_db", 404, "not_found"),
        ("POST /_public/status", 405, "method_not_allowed"),
        ("DELETE /_public/ready", 405, "method_not_allowed"),
        ("POST /_public/openapi.json", 405, "method_not_allowed"),
        ("PUT /_public/docs", 405, "method_not_allowed"),
        ("PUT /_public/docs/plain", 405, "method_not_allowed"),
        ("GET /_public/docs/..%2fmod.rs", 404, "file_not_found"),
        ("GET /_public/docs/%ff", 400, "invalid_request"),
        ("POST /", 405, "method_not_allowed"),
        ("GET /api", 404, "not_found"),
        ("GET /api/v2/jobs", 404, "not_found"),
        ("GET /%2e%2e/api/v1/jobs", 404, "not_found"),
        ("GET /.git/config", 404, "not_found"),
        ("TRACE /_public/status", 405, "method_not_allowed"),
    ] {
        rows.push(Row::new(line, Raw::line(line).body(""), status, code));
    }
    rows
}
