//! Requests as bytes, sent as they are, and what came back.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest wait for an answer or a close: far more than is needed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request, byte by byte.
#[derive(Clone)]
pub(crate) struct Raw {
    head: Vec<u8>,
    body: Vec<u8>,
    /// Whether the sender says that no more will come.
    pub(crate) is_cut: bool,
}

impl Raw {
    /// Bytes and nothing else.
    pub(crate) fn bytes(bytes: impl AsRef<[u8]>) -> Self {
        Self {
            head: bytes.as_ref().to_vec(),
            body: Vec::new(),
            is_cut: false,
        }
    }

    /// `POST /path`, a host, and the wish to close afterwards.
    pub(crate) fn line(line: &str) -> Self {
        let line = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        Self::bytes(line)
    }

    /// Adds a header's bytes.
    pub(crate) fn header(mut self, header: impl AsRef<[u8]>) -> Self {
        self.head.extend_from_slice(header.as_ref());
        self.head.extend_from_slice(b"\r\n");
        self
    }

    /// Adds a body and its length.
    pub(crate) fn body(self, body: impl AsRef<[u8]>) -> Self {
        let length = body.as_ref().len();
        self.header(format!("Content-Length: {length}")).rest(body)
    }

    /// Ends the header; what follows comes as it is.
    pub(crate) fn rest(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.body = bytes.as_ref().to_vec();
        self
    }

    /// Sends the end of the stream after the last byte.
    pub(crate) fn cut(mut self) -> Self {
        self.is_cut = true;
        self
    }

    fn whole(&self) -> Vec<u8> {
        let mut all = self.head.clone();
        if all.ends_with(b"\r\n") {
            all.extend_from_slice(b"\r\n");
        }
        all.extend_from_slice(&self.body);
        all
    }

    /// Returns method and path, where the bytes have them.
    pub(crate) fn target(&self) -> Option<(String, String)> {
        let line = self.head.split(|byte| *byte == b'\r').next()?;
        let mut words = std::str::from_utf8(line).ok()?.split(' ');
        let (method, path) = (words.next()?, words.next()?);
        let path = path.split('?').next()?;
        Some((method.to_owned(), path.to_owned()))
    }
}

/// One answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// 0 when the connection was closed without one.
    pub(crate) status: u16,
    /// The code, empty when there is none.
    pub(crate) code: String,
    /// Header lines, in lower case.
    pub(crate) headers: Vec<String>,
    /// The body.
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn has_header(&self, name: &str) -> bool {
        let name = format!("{name}:");
        self.headers.iter().any(|line| line.starts_with(&name))
    }
}

/// Sends the bytes and returns every answer up to the close. The server may answer and close before
/// it has taken all, so that both ways are used at once.
pub(crate) async fn exchange(address: SocketAddr, raw: &Raw) -> Vec<Seen> {
    let stream = TcpStream::connect(address).await.expect("it listens");
    let (mut reader, mut writer) = stream.into_split();
    let bytes = raw.whole();
    let send = async {
        // The server may have closed: what it said is what counts.
        let _ = writer.write_all(&bytes).await;
        if raw.is_cut {
            let _ = writer.shutdown().await;
        }
    };
    let receive = async {
        let mut all = Vec::new();
        let ended = reader.read_to_end(&mut all).await;
        (all, ended.is_ok())
    };
    let both = async { tokio::join!(send, receive).1 };
    let (all, is_clean) = tokio::time::timeout(PATIENCE, both)
        .await
        .expect("an answer or a close");
    assert!(
        is_clean || all.is_empty(),
        "the answer was cut off by a reset"
    );
    answers(&all)
}

fn answers(mut bytes: &[u8]) -> Vec<Seen> {
    let mut seen = Vec::new();
    while let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&bytes[..at]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let Some(status) = status.and_then(|text| text.parse().ok()) else {
            break;
        };
        let headers: Vec<String> = lines.map(str::to_lowercase).collect();
        let length = headers
            .iter()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let rest = &bytes[at + 4..];
        let (body, rest) = rest.split_at(rest.len().min(length.unwrap_or(0)));
        bytes = rest;
        if status == 100 {
            continue;
        }
        let body = String::from_utf8_lossy(body).into_owned();
        let json: Value = serde_json::from_str(&body).unwrap_or_default();
        seen.push(Seen {
            status,
            code: json["code"].as_str().unwrap_or_default().to_owned(),
            headers,
            body,
        });
    }
    seen
}
