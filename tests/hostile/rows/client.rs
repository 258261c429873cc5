//! What clients may get wrong in what they want done.

use super::{Row, post};
use crate::stage::as_client;

/// New jobs: the body, and the headers that matter to it.
pub(crate) fn creations() -> Vec<Row> {
    let deep = format!(
        r#"{{"initial_data":{}1{}}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    let labels: Vec<String> = (0..65).map(|n| format!(r#""l{n}":"x""#)).collect();
    let labels = format!(r#"{{"labels":{{{}}}}}"#, labels.join(","));
    let policy = format!(r#"{{"policy":{{"note":"{}"}}}}"#, "x".repeat(5000));
    let url = format!(r#"{{"webhook_url":"http://x/{}"}}"#, "a".repeat(2048));
    let label = format!(r#"{{"labels":{{"a":"{}"}}}}"#, "x".repeat(257));
    let bodies: [(&str, &str, &str); 46] = [
        ("no body", "", "invalid_json"),
        ("half an object", "{\"initial_data\":{", "invalid_json"),
        ("a list", "[]", "invalid_json"),
        ("a text", "\"text\"", "invalid_json"),
        ("a number", "7", "invalid_json"),
        ("null", "null", "invalid_json"),
        ("two objects", "{} {}", "invalid_json"),
        ("a form", "initial_data=1&n=2", "invalid_json"),
        (
            "XML",
            "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><a>&b;</a>",
            "invalid_json",
        ),
        ("YAML", "initial_data: {n: 1}", "invalid_json"),
        (
            "a comma too many",
            r#"{"initial_data":{},}"#,
            "invalid_json",
        ),
        ("a comment", "{/* */}", "invalid_json"),
        ("single quotes", "{'initial_data':{}}", "invalid_json"),
        ("NaN", r#"{"initial_data":{"n":NaN}}"#, "invalid_json"),
        (
            "Infinity",
            r#"{"initial_data":{"n":-Infinity}}"#,
            "invalid_json",
        ),
        (
            "a number beyond doubles",
            r#"{"initial_data":{"n":1e999}}"#,
            "invalid_json",
        ),
        (
            "a number with a leading zero",
            r#"{"initial_data":{"n":007}}"#,
            "invalid_json",
        ),
        (
            "half a surrogate",
            r#"{"initial_data":{"n":"\ud800"}}"#,
            "invalid_json",
        ),
        (
            "an unknown escape",
            r#"{"initial_data":{"n":"\x41"}}"#,
            "invalid_json",
        ),
        (
            "a raw control character",
            "{\"initial_data\":{\"n\":\"a\u{1}\"}}",
            "invalid_json",
        ),
        ("a byte order mark", "\u{feff}{}", "invalid_json"),
        ("nesting of 200", &deep, "invalid_json"),
        (
            "input of the wrong kind",
            r#"{"initial_data":{"n":"seven"}}"#,
            "invalid_input",
        ),
        (
            "input that is a list",
            r#"{"initial_data":[1]}"#,
            "invalid_input",
        ),
        (
            "a fraction for an integer",
            r#"{"initial_data":{"n":1.5}}"#,
            "invalid_input",
        ),
        (
            "a repeated key, the last of which is wrong",
            r#"{"initial_data":{"n":1,"n":"x"}}"#,
            "invalid_input",
        ),
        (
            "a webhook by FTP",
            r#"{"webhook_url":"ftp://x/"}"#,
            "invalid_request",
        ),
        (
            "a webhook by file",
            r#"{"webhook_url":"file:///etc/passwd"}"#,
            "invalid_request",
        ),
        (
            "a webhook with a user",
            r#"{"webhook_url":"http://a:b@x/"}"#,
            "invalid_request",
        ),
        (
            "a webhook without a host",
            r#"{"webhook_url":"http:///x"}"#,
            "invalid_request",
        ),
        (
            "a webhook with a line break",
            r#"{"webhook_url":"http://x/\r\nX-A: b"}"#,
            "invalid_request",
        ),
        (
            "a webhook that is a number",
            r#"{"webhook_url":5}"#,
            "invalid_request",
        ),
        ("a webhook that is too long", &url, "invalid_request"),
        (
            "a timeout in words",
            r#"{"dispatch_timeout":"soon"}"#,
            "invalid_request",
        ),
        (
            "a timeout of nothing",
            r#"{"result_timeout":0}"#,
            "invalid_request",
        ),
        (
            "a timeout beyond all years",
            r#"{"result_timeout":1e300}"#,
            "invalid_request",
        ),
        (
            "a policy that is a list",
            r#"{"policy":[]}"#,
            "invalid_request",
        ),
        (
            "a policy that allows nothing",
            r#"{"policy":{"allowed_skills":[]}}"#,
            "invalid_request",
        ),
        ("a policy that is too large", &policy, "invalid_request"),
        (
            "no transitions",
            r#"{"max_transitions":0}"#,
            "invalid_request",
        ),
        (
            "transitions that are true",
            r#"{"max_transitions":true}"#,
            "invalid_request",
        ),
        (
            "transitions beyond 64 bits",
            r#"{"max_transitions":99999999999999999999}"#,
            "invalid_request",
        ),
        (
            "metadata that is a text",
            r#"{"metadata":"x"}"#,
            "invalid_request",
        ),
        (
            "a label that is a number",
            r#"{"labels":{"a":1}}"#,
            "invalid_request",
        ),
        ("a label that is too long", &label, "invalid_request"),
        ("labels without end", &labels, "invalid_request"),
    ];
    let row = |(name, body, code): (&str, &str, &'static str)| {
        Row::new(
            format!("create: {name}"),
            post("/jobs/work", body),
            400,
            code,
        )
    };
    let mut rows: Vec<Row> = bodies.into_iter().map(row).collect();
    let long = "k".repeat(256);
    for (name, key) in [
        ("empty", ""),
        ("256 bytes", &long),
        ("not ASCII", "schlüssel"),
    ] {
        let raw = as_client("POST /api/v1/jobs/work").header(format!("Idempotency-Key: {key}"));
        rows.push(Row::new(
            format!("create: key: {name}"),
            raw.body("{}"),
            400,
            "invalid_request",
        ));
    }
    for blueprint in ["ask", "quick"] {
        let raw = post(&format!("/jobs/{blueprint}"), "{");
        let name = format!("create: half a body for {blueprint}");
        rows.push(Row::new(name, raw, 400, "invalid_json"));
    }
    let latin = b"{\"initial_data\":{\"n\":\"\xe4\"}}";
    rows.push(Row::new(
        "create: Latin-1",
        post("/jobs/work", latin),
        400,
        "invalid_json",
    ));
    let zeros = post("/jobs/work", [0; 64]);
    rows.push(Row::new("create: zeros", zeros, 400, "invalid_json"));
    let utf16 = post("/jobs/work", b"\xff\xfe{\0}\0");
    rows.push(Row::new("create: UTF-16", utf16, 400, "invalid_json"));
    rows
}
