//! Bodies that are not what their `Content-Encoding` says, and those that grow without end.

use super::Row;
use crate::stage::{as_client, as_worker};
use crate::wire::Raw;

const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// Blanks before an object: 20 MiB of JSON in 19 kB, as gzip.
fn gzip_bomb() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.push(0b011, 3);
    // A blank, then "the last byte 258 times again": fixed codes, most significant bit first.
    bits.push_code(0x30 + 0x20, 8);
    for _ in 0..(20 << 20) / 258 {
        bits.push_code(0b1100_0101, 8);
        bits.push_code(0, 5);
    }
    bits.push_code(0, 7);
    let mut bytes = GZIP_HEAD.to_vec();
    bytes.extend(bits.done());
    bytes
}

/// The same as zstd: 128 KiB in four bytes, 1,000 times.
fn zstd_bomb() -> Vec<u8> {
    let mut bytes = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38];
    for block in 0..1000_u32 {
        let head = u32::from(block == 999) | (1 << 1) | (0x2_0000 << 3);
        bytes.extend_from_slice(&head.to_le_bytes()[..3]);
        bytes.push(b' ');
    }
    bytes
}

/// Gzip of these bytes as they are, with a checksum that is none.
fn gzip_of(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a short text");
    let mut all = GZIP_HEAD.to_vec();
    all.push(1);
    all.extend_from_slice(&length.to_le_bytes());
    all.extend_from_slice(&(!length).to_le_bytes());
    all.extend_from_slice(bytes);
    all.extend_from_slice(&[0; 8]);
    all
}

/// Bits, the least significant first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    count: usize,
}

impl Bits {
    fn push(&mut self, value: u32, count: u32) {
        for bit in 0..count {
            if self.count.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let set = u8::from(value >> bit & 1 == 1);
            *self.bytes.last_mut().expect("just pushed") |= set << (self.count % 8);
            self.count += 1;
        }
    }

    fn push_code(&mut self, code: u32, count: u32) {
        for bit in (0..count).rev() {
            self.push(code >> bit & 1, 1);
        }
    }

    fn done(self) -> Vec<u8> {
        self.bytes
    }
}

/// Every encoding, on a client's and a worker's route.
pub(crate) fn rows() -> Vec<Row> {
    let plain = b"{}".to_vec();
    let mut truncated = gzip_of(b"{}");
    truncated.truncate(14);
    let cases: [(&str, &str, Vec<u8>, u16, &str); 14] = [
        (
            "gzip that is plain",
            "gzip",
            plain.clone(),
            400,
            "invalid_json",
        ),
        ("gzip of nothing", "gzip", Vec::new(), 400, "invalid_json"),
        ("half of gzip", "gzip", truncated, 400, "invalid_json"),
        (
            "gzip with a wrong checksum",
            "gzip",
            gzip_of(b"{}"),
            400,
            "invalid_json",
        ),
        ("a gzip bomb", "gzip", gzip_bomb(), 413, "body_too_large"),
        (
            "gzip named in capitals",
            "GZIP",
            plain.clone(),
            415,
            "unsupported_encoding",
        ),
        (
            "deflate that is plain",
            "deflate",
            plain.clone(),
            400,
            "invalid_json",
        ),
        (
            "zstd that is plain",
            "zstd",
            plain.clone(),
            400,
            "invalid_json",
        ),
        ("a zstd bomb", "zstd", zstd_bomb(), 413, "body_too_large"),
        ("brotli", "br", plain.clone(), 415, "unsupported_encoding"),
        (
            "an encoding of nobody's",
            "rot13",
            plain.clone(),
            415,
            "unsupported_encoding",
        ),
        (
            "two encodings",
            "gzip, gzip",
            plain.clone(),
            415,
            "unsupported_encoding",
        ),
        (
            "an encoding of bytes",
            "\u{e9}",
            plain.clone(),
            415,
            "unsupported_encoding",
        ),
        ("an empty encoding", "", plain, 415, "unsupported_encoding"),
    ];
    let mut rows = Vec::new();
    for (name, encoding, body, status, code) in cases {
        let encoded = |raw: Raw| {
            let raw = raw.header(format!("Content-Encoding: {encoding}"));
            raw.body(&body)
        };
        let client = encoded(as_client("POST /api/v1/jobs/work"));
        rows.push(Row::new(format!("client: {name}"), client, status, code));
        let worker = encoded(as_worker("POST /_worker/tasks/result"));
        rows.push(Row::new(format!("worker: {name}"), worker, status, code));
    }
    rows
}
