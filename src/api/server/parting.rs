//! How a connection parts from a peer that it has not heard out: the protocol's own refusals in the
//! form of all errors, and a close that lets the answer arrive.
//!
//! A socket that is closed while bytes are still coming in is reset, and what was sent is lost on its
//! way. So the peer is told that no more will come, and what it still sends is thrown away, within
//! bounds. Source: RFC 9112 §9.6.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use crate::api::error::{ApiError, Code};
use crate::protocol::to_wire_bytes;

/// Most bytes that are thrown away of a peer that goes on sending.
const DISCARD_BYTES_MAX: usize = 64 << 20;

/// Returns the refusal in our words if this is one that the protocol has written by itself: a head
/// and no body, for a request that never became one.
pub(super) fn refusal(head: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(head).ok()?;
    let mut lines = text.strip_suffix("\r\n\r\n")?.split("\r\n");
    let error = match lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..4)? {
        "400 " => ApiError::invalid("the request is not HTTP as it should be"),
        "414 " | "431 " => ApiError::new(Code::HeaderTooLarge, "the request's header is too large"),
        _ => return None,
    };
    let (mut is_empty, mut kept) = (false, String::new());
    for line in lines {
        match line.split_once(": ")? {
            ("content-length", "0") => is_empty = true,
            ("connection" | "date", _) => {
                kept.push_str(line);
                kept.push_str("\r\n");
            }
            // An answer of ours, which says more.
            _ => return None,
        }
    }
    is_empty.then(|| written(&error, &kept))
}

fn written(error: &ApiError, headers: &str) -> Vec<u8> {
    let body = to_wire_bytes(&error.body(None));
    let mut answer = format!(
        "HTTP/1.1 {}\r\ncontent-type: {}\r\ncontent-length: {}\r\n{headers}\r\n",
        error.code().status(),
        crate::api::json::CONTENT_TYPE,
        body.len(),
    )
    .into_bytes();
    answer.extend(body);
    answer
}

/// Throws away what a peer still sends, until it ends or has sent too much.
#[derive(Debug, Default)]
pub(super) struct Discard {
    bytes: usize,
}

impl Discard {
    /// Goes on; ready when there is nothing more to wait for.
    pub(super) fn poll(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut space = [0; 8 * 1024];
        while self.bytes < DISCARD_BYTES_MAX {
            let mut buffer = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                break;
            }
            self.bytes += buffer.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_protocols_own_refusals_are_rewritten() {
        let date = "date: Mon, 23 Nov 2026 08:22:34 GMT\r\n";
        for (head, status) in [
            (
                "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n",
                Some("400"),
            ),
            (
                "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n",
                Some("431"),
            ),
            (
                "HTTP/1.1 414 URI Too Long\r\ncontent-length: 0\r\n",
                Some("431"),
            ),
            ("HTTP/1.1 400 Bad Request\r\ncontent-length: 12\r\n", None),
            (
                "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nx-request-id: a\r\n",
                None,
            ),
            ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n", None),
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n", None),
            ("{\"a\":1}\r\n", None),
        ] {
            let answer = refusal(format!("{head}{date}\r\n").as_bytes());
            let answer = answer.map(|bytes| String::from_utf8(bytes).expect("text"));
            let seen = answer.as_deref().map(|text| &text[9..12]);
            assert_eq!(seen, status, "{head}");
            let Some(answer) = answer else { continue };
            let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
            assert!(head.contains(&format!("content-length: {}\r\n", body.len())));
            assert!(head.contains(date.trim_end()), "{head}");
            assert!(body.starts_with("{\"code\":\""), "{body}");
        }
    }
}
