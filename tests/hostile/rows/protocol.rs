//! Bytes that are not HTTP as it should be.

use super::{Row, post};
use crate::stage::{CLIENT, as_client};
use crate::wire::Raw;

const GOOD: &str = "GET /_public/status HTTP/1.1\r\nHost: x\r\n";

/// Requests whose header is broken, too large or ambiguous.
pub(crate) fn heads() -> Vec<Row> {
    let line = |line: &str| Raw::bytes(format!("{line}\r\nHost: x\r\n"));
    let with = |header: &[u8]| Raw::bytes(GOOD).header("Connection: close").header(header);
    let create = || as_client("POST /api/v1/jobs/work");
    let mut rows: Vec<Row> = [
        ("no words", line("hello")),
        ("one word", line("GET")),
        ("no version", line("GET /_public/status")),
        ("version 9", line("GET /_public/status HTTP/9.9")),
        ("another protocol", line("GET /_public/status RTSP/1.0")),
        (
            "a method of brackets",
            line("(GET) /_public/status HTTP/1.1"),
        ),
        ("a blank in the path", line("GET /_public/ status HTTP/1.1")),
        (
            "a byte in the path",
            Raw::bytes(b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n"),
        ),
        ("a NUL in the path", line("GET /\0 HTTP/1.1")),
        (
            "TLS",
            Raw::bytes(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello there\r\n\r\n"),
        ),
        ("SSH", Raw::bytes("SSH-2.0-OpenSSH_9.6\r\n\r\n")),
        ("a header without a colon", with(b"X-Odd")),
        ("a header's name with a blank", with(b"X Odd: 1")),
        ("a blank before the colon", with(b"X-Odd : 1")),
        ("a header without a name", with(b": 1")),
        ("a folded header", with(b"X-Odd: 1\r\n 2")),
        ("a NUL in a header", with(b"X-Odd: a\0b")),
        (
            "a bare CR in a header",
            with(b"X-Odd: a\rX-Client-Token: b"),
        ),
        ("an escape in a header", with(b"X-Odd: \x1b[31m")),
        ("a length in words", with(b"Content-Length: ten")),
        ("a negative length", with(b"Content-Length: -1")),
        ("a length with a plus", with(b"Content-Length: +5")),
        (
            "a length beyond 64 bits",
            with(b"Content-Length: 99999999999999999999"),
        ),
        (
            "two lengths",
            with(b"Content-Length: 1\r\nContent-Length: 2"),
        ),
        ("a list of lengths", with(b"Content-Length: 1, 2")),
        (
            "an encoding that is not chunked",
            create().header("Transfer-Encoding: gzip").rest("{}"),
        ),
        (
            "chunked but not last",
            create()
                .header("Transfer-Encoding: chunked, gzip")
                .rest("0\r\n\r\n"),
        ),
    ]
    .into_iter()
    .map(|(name, raw)| Row::new(format!("HTTP: {name}"), raw, 400, "invalid_request"))
    .collect();
    let many: String = (0..101).map(|n| format!("X-{n}: y\r\n")).collect();
    for (name, raw) in [
        ("101 headers", with(many.trim_end().as_bytes())),
        (
            "a header of 70 kB",
            with(format!("X-Long: {}", "y".repeat(70_000)).as_bytes()),
        ),
        (
            "a header of 300 kB",
            with(format!("X-Long: {}", "y".repeat(300_000)).as_bytes()),
        ),
        (
            "a header's name of 300 kB",
            with(format!("{}: y", "y".repeat(300_000)).as_bytes()),
        ),
        (
            "a token of 5 MiB",
            with(format!("X-Client-Token: {}", "y".repeat(5 << 20)).as_bytes()),
        ),
        (
            "a path of 70 kB",
            line(&format!("GET /{} HTTP/1.1", "a".repeat(70_000))),
        ),
        (
            "a query of 300 kB",
            line(&format!("GET /?{} HTTP/1.1", "a=b&".repeat(75_000))),
        ),
        (
            "a method of 300 kB",
            line(&format!("{} / HTTP/1.1", "A".repeat(300_000))),
        ),
        ("garbage of 1 MiB", Raw::bytes(vec![b'A'; 1 << 20])),
    ] {
        rows.push(Row::new(
            format!("HTTP: {name}"),
            raw,
            431,
            "header_too_large",
        ));
    }
    rows
}

/// Several requests on one connection, half ones, and other protocols.
pub(crate) fn streams() -> Vec<Row> {
    let status = format!("{GOOD}\r\n");
    let create =
        format!("POST /api/v1/jobs/work HTTP/1.1\r\nHost: x\r\nX-Client-Token: {CLIENT}\r\n");
    let none = "POST /api/v1/jobs/none HTTP/1.1\r\nHost: x\r\n\r\n";
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut rows = Vec::new();
    for (name, raw, status, code) in [
        (
            "garbage behind a request",
            Raw::bytes(format!("{status}\0\0\0garbage\r\n\r\n")),
            400,
            "invalid_request",
        ),
        (
            "a request behind a cut chunk",
            Raw::bytes(format!(
                "{create}Transfer-Encoding: chunked\r\n\r\nx\r\n{none}"
            )),
            400,
            "invalid_json",
        ),
        (
            "a length and chunks",
            Raw::bytes(format!(
                "{create}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{none}"
            ))
            .cut(),
            400,
            "invalid_json",
        ),
        ("half a line", Raw::bytes("GET /_pub").cut(), 0, ""),
        (
            "half a header",
            Raw::bytes("GET / HTTP/1.1\r\nHost: x\r\nX-A").cut(),
            0,
            "",
        ),
        ("nothing", Raw::bytes("").cut(), 0, ""),
        (
            "HTTP/2 and garbage",
            Raw::bytes(format!("{preface}garbage that is no frame at all")),
            0,
            "",
        ),
        (
            "HTTP/2 and a frame of 16 MiB",
            Raw::bytes([preface.as_bytes(), b"\xff\xff\xff\x00\x00\x00\x00\x00\x01"].concat()),
            0,
            "",
        ),
        (
            "HTTP/0.9",
            Raw::bytes("GET /\r\n\r\n"),
            400,
            "invalid_request",
        ),
    ] {
        rows.push(Row::new(format!("stream: {name}"), raw, status, code));
    }
    for (name, bytes) in [
        ("a header that stops", "GET / HTTP/1.1\r\nHost: x\r\nX-Slow"),
        ("a line that stops", "POST /api/v1/jobs/wo"),
        ("a preface that stops", "PRI * HT"),
        ("silence", ""),
    ] {
        rows.push(Row::new(format!("slow: {name}"), Raw::bytes(bytes), 0, "").slow());
    }
    for (name, raw, status, code) in [
        ("a host with a path", "Host: x/../y", 401, "unauthorized"),
        ("a host of bytes", "Host: \u{e9}", 401, "unauthorized"),
        (
            "another host behind the first",
            "Host: evil",
            401,
            "unauthorized",
        ),
    ]
    .map(|(name, header, status, code)| {
        let raw = Raw::line("GET /api/v1/jobs").header(header);
        (name, raw, status, code)
    }) {
        rows.push(Row::new(format!("host: {name}"), raw, status, code));
    }
    for (name, line, status, code) in [
        (
            "a proxy's request",
            "GET http://evil/api/v1/nothing",
            404,
            "not_found",
        ),
        ("a tunnel", "CONNECT evil:443", 404, "not_found"),
        ("a star", "OPTIONS *", 404, "not_found"),
        (
            "a method of nobody's",
            "BREW /api/v1/jobs",
            405,
            "method_not_allowed",
        ),
        (
            "an upgrade of HTTP/2",
            "PRI /api/v1/jobs",
            405,
            "method_not_allowed",
        ),
    ] {
        rows.push(Row::new(
            format!("line: {name}"),
            as_client(line),
            status,
            code,
        ));
    }
    let split = post("/jobs/none?a=%0d%0aX-Injected:%201", "{}");
    rows.push(Row::new(
        "a line break in the query",
        split,
        405,
        "method_not_allowed",
    ));
    let id = as_client("GET /api/v1/nothing").header("X-Request-ID: a b\tc");
    rows.push(Row::new("a request id of blanks", id, 404, "not_found"));
    rows
}
