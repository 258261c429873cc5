//! One connection for one request after the other, as cheap as it can be: for load generators,
//! which share the machine with what they measure.
//!
//! Knows what this program and the original answer with: HTTP/1.1, plain, lengths stated. It does
//! not follow, decode, repeat or pool; [`HttpClient`](super::HttpClient) is for everything else.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::NetError;

/// Longest head of an answer. Units: bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Longest body of an answer. Units: bytes.
const BODY_BYTES_MAX: usize = 16 << 20;

/// Smallest free place for a read. Units: bytes.
const READ_BYTES: usize = 4 << 10;

/// A connection that opens itself when it is used, and anew after it failed or was closed.
#[derive(Debug)]
pub struct Pipe {
    address: SocketAddr,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

/// An answer, which lies in the pipe until the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PipeAnswer<'a> {
    /// 200 to 599.
    pub status: u16,
    /// As it came.
    pub body: &'a [u8],
}

/// What the head of an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    status: u16,
    /// Where the body begins.
    body_at: usize,
    body_bytes: usize,
    closes: bool,
}

impl Pipe {
    /// Makes a pipe; connects to nothing yet.
    #[must_use]
    pub const fn new(address: SocketAddr) -> Self {
        Self {
            address,
            stream: None,
            buffer: Vec::new(),
        }
    }

    /// Sends a whole request, head and body, and reads its answer.
    ///
    /// After an error, and when it is dropped half way, the next request opens a new connection.
    pub async fn exchange(
        &mut self,
        request: &[u8],
        timeout: Duration,
    ) -> Result<PipeAnswer<'_>, NetError> {
        // Taken out, and put back only when the answer was read to its end.
        let stream = self.stream.take();
        let exchange = exchange(self.address, stream, request, &mut self.buffer);
        let (stream, head) = tokio::time::timeout(timeout, exchange)
            .await
            .unwrap_or(Err(NetError::Timeout { after: timeout }))?;
        self.stream = stream;
        Ok(PipeAnswer {
            status: head.status,
            body: &self.buffer[head.body_at..head.body_at + head.body_bytes],
        })
    }
}

async fn exchange(
    address: SocketAddr,
    stream: Option<TcpStream>,
    request: &[u8],
    buffer: &mut Vec<u8>,
) -> Result<(Option<TcpStream>, Head), NetError> {
    let mut stream = match stream {
        Some(stream) => stream,
        None => connect(address).await?,
    };
    buffer.clear();
    stream.write_all(request).await.map_err(broken)?;
    let mut head = None;
    loop {
        if head.is_none() {
            head = read_head(buffer)?;
        }
        if let Some(head) = head
            && buffer.len() >= head.body_at + head.body_bytes
        {
            return Ok(((!head.closes).then_some(stream), head));
        }
        buffer.reserve(READ_BYTES);
        if stream.read_buf(buffer).await.map_err(broken)? == 0 {
            return Err(NetError::Broken("closed before the answer".to_owned()));
        }
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, NetError> {
    let failed = |error: std::io::Error| NetError::Connect(error.to_string());
    let stream = TcpStream::connect(address).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    Ok(stream)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "fits `map_err`, whose error is a value"
)]
fn broken(error: std::io::Error) -> NetError {
    NetError::Broken(error.to_string())
}

/// Reads a head once it is there as a whole.
fn read_head(bytes: &[u8]) -> Result<Option<Head>, NetError> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        if bytes.len() > HEAD_BYTES_MAX {
            return Err(NetError::TooLarge {
                bytes_max: HEAD_BYTES_MAX,
            });
        }
        return Ok(None);
    };
    let not_http = || NetError::Decode("the answer is not HTTP/1.1".to_owned());
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| not_http())?;
    let (first, lines) = text.split_once("\r\n").unwrap_or((text, ""));
    let status = first
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3)?.parse::<u16>().ok())
        .ok_or_else(not_http)?;
    let (mut body_bytes, mut closes) = (None, false);
    for (name, value) in lines.split("\r\n").filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            body_bytes = Some(value.parse::<usize>().map_err(|_| not_http())?);
        } else if name.eq_ignore_ascii_case("connection") {
            closes = value.eq_ignore_ascii_case("close");
        }
    }
    let body_bytes = match (status, body_bytes) {
        (204 | 304, _) => 0,
        (_, Some(bytes)) if bytes > BODY_BYTES_MAX => {
            return Err(NetError::TooLarge {
                bytes_max: BODY_BYTES_MAX,
            });
        }
        (200.., Some(bytes)) => bytes,
        _ => return Err(NetError::Decode("the answer states no length".to_owned())),
    };
    Ok(Some(Head {
        status,
        body_at: end + 4,
        body_bytes,
        closes,
    }))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn check(text: &str, expected: &str) {
        let seen = match read_head(text.as_bytes()) {
            Ok(None) => "more".to_owned(),
            Ok(Some(head)) => format!("{} {} {}", head.status, head.body_bytes, head.closes),
            Err(error) => error.to_string(),
        };
        assert!(seen.contains(expected), "{text:?}: {seen}");
    }

    #[test]
    fn heads() {
        check("HTTP/1.1 200 OK\r\nContent-Le", "more");
        check(
            "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n",
            "200 12 false",
        );
        check(
            "HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length:0\r\n\r\n",
            "503 0 true",
        );
        check(
            "HTTP/1.1 204 No Content\r\nDate: now\r\n\r\n",
            "204 0 false",
        );
        check("HTTP/1.1 204 No Content\r\n\r\n", "204 0 false");
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "states no length",
        );
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "not HTTP/1.1",
        );
        check(
            "HTTP/1.1 100 Continue\r\nContent-Length: 1\r\n\r\n",
            "no length",
        );
        check("SSH-2.0-OpenSSH\r\n\r\n", "not HTTP/1.1");
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
            "16777216",
        );
    }

    /// Two requests over one connection, a third over a new one because the server closed the first.
    #[tokio::test]
    async fn one_connection_until_it_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut pipe = Pipe::new(listener.local_addr().unwrap());
        let server = async {
            for answers in [
                &[
                    "Content-Length: 1\r\n\r\na",
                    "Content-Length: 1\r\nConnection: close\r\n\r\nb",
                ][..],
                &["Content-Length: 1\r\n\r\nc"],
            ] {
                let (mut stream, _) = listener.accept().await.unwrap();
                for answer in answers {
                    let mut request = [0; 4];
                    stream.read_exact(&mut request).await.unwrap();
                    // In two parts, as networks do.
                    stream.write_all(b"HTTP/1.1 200 O").await.unwrap();
                    stream.flush().await.unwrap();
                    let rest = format!("K\r\n{answer}");
                    stream.write_all(rest.as_bytes()).await.unwrap();
                }
            }
        };
        let client = async {
            for body in [b"a", b"b", b"c"] {
                let answer = pipe.exchange(b"ping", PATIENCE).await.unwrap();
                assert_eq!((answer.status, answer.body), (200, &body[..]));
            }
        };
        tokio::join!(server, client);
    }

    #[tokio::test]
    async fn a_peer_that_goes_away_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut pipe = Pipe::new(listener.local_addr().unwrap());
        let (asked, ()) = tokio::join!(pipe.exchange(b"ping", PATIENCE), async {
            drop(listener.accept().await.unwrap());
        });
        assert!(matches!(asked, Err(NetError::Broken(_))), "{asked:?}");
        drop(listener);
        let asked = pipe.exchange(b"ping", PATIENCE).await;
        assert!(matches!(asked, Err(NetError::Connect(_))), "{asked:?}");
    }
}
