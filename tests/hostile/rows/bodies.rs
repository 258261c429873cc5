//! Bodies that are too large, that break off, or that never come.

use super::{Row, post};
use crate::stage::{Facts, as_client, as_worker};
use crate::wire::Raw;

fn chunked(raw: Raw, chunks: impl AsRef<[u8]>) -> Raw {
    raw.header("Transfer-Encoding: chunked").rest(chunks)
}

/// 10 MiB in chunks, the length of which nobody knows before.
fn large_chunks() -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..160 {
        bytes.extend_from_slice(b"10000\r\n");
        bytes.extend_from_slice(&vec![b' '; 0x1_0000]);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

/// On creation, approval, results, registration and uploads.
pub(crate) fn rows(facts: &Facts) -> Vec<Row> {
    let job = &facts.job;
    let large = vec![b' '; 10 << 20];
    let create = || as_client("POST /api/v1/jobs/work");
    let result = || as_worker("POST /_worker/tasks/result");
    let register = || as_worker("POST /_worker/workers/register");
    let approve = || Raw::line(&format!("POST /_public/webhooks/approval/{job}"));
    let put = || as_client(&format!("PUT /api/v1/jobs/{job}/files/content/a"));
    let mut rows = Vec::new();
    for (name, raw) in [
        ("10 MiB for a job", create().body(&large)),
        ("10 MiB for a result", result().body(&large)),
        ("10 MiB for a registration", register().body(&large)),
        (
            "10 MiB for a heartbeat",
            as_worker("PATCH /_worker/workers/w1").body(&large),
        ),
        (
            "10 MiB for an event",
            as_worker("POST /_worker/events").body(&large),
        ),
        (
            "10 MiB for a refresh",
            as_worker("POST /_worker/auth/token/refresh").body(&large),
        ),
        ("10 MiB for a decision", approve().body(&large)),
        (
            "10 MiB for an event of a job",
            post(&format!("/jobs/{job}/events"), &large),
        ),
        (
            "10 MiB for a reason",
            post(&format!("/jobs/{job}/cancel"), &large),
        ),
        ("10 MiB for a file of 4", put().body(&large)),
        (
            "10 MiB of chunks for a job",
            chunked(create(), large_chunks()),
        ),
        (
            "10 MiB of chunks for a result",
            chunked(result(), large_chunks()),
        ),
        (
            "10 MiB of chunks for a file",
            chunked(put(), large_chunks()),
        ),
        (
            "10 GB that are only promised",
            create().header("Content-Length: 10000000000"),
        ),
        (
            "10 MiB with the wish to be asked first",
            create()
                .header("Expect: 100-continue")
                .header("Content-Length: 10485760"),
        ),
    ] {
        rows.push(Row::new(name, raw, 413, "body_too_large"));
    }
    for (name, raw, code) in [
        (
            "a body cut short",
            create().header("Content-Length: 100").rest("{").cut(),
            "invalid_json",
        ),
        (
            "a chunk cut short",
            chunked(create(), "64\r\n{").cut(),
            "invalid_json",
        ),
        (
            "no last chunk",
            chunked(create(), "2\r\n{}\r\n").cut(),
            "invalid_json",
        ),
        (
            "a chunk's length that is none",
            chunked(create(), "zz\r\n{}\r\n0\r\n\r\n"),
            "invalid_json",
        ),
        (
            "a chunk's length beyond 64 bits",
            chunked(create(), "fffffffffffffffff\r\n{}"),
            "invalid_json",
        ),
        (
            "a chunk without an end",
            chunked(create(), "2\r\n{}0\r\n\r\n"),
            "invalid_json",
        ),
        (
            "a negative chunk",
            chunked(create(), "-2\r\n{}\r\n0\r\n\r\n"),
            "invalid_json",
        ),
        (
            "a chunk of bad words",
            chunked(result(), "!\r\n"),
            "invalid_json",
        ),
        (
            "an upload in bad chunks",
            chunked(put(), "5\r\nhello\r\nxyz\r\n"),
            "upload_interrupted",
        ),
    ] {
        rows.push(Row::new(name, raw, 400, code));
    }
    for (name, raw, status, code) in [
        (
            "a body that never comes",
            create().header("Content-Length: 10"),
            408,
            "request_timeout",
        ),
        (
            "half a body, then nothing",
            result().header("Content-Length: 10").rest("{"),
            408,
            "request_timeout",
        ),
        (
            "a chunk that never comes",
            chunked(create(), "10\r\n"),
            408,
            "request_timeout",
        ),
        (
            "an upload that stops",
            put().header("Content-Length: 10").rest("x"),
            400,
            "upload_interrupted",
        ),
    ] {
        rows.push(Row::new(name, raw, status, code).slow());
    }
    rows
}
