//! A connection as either HTTP: which one the peer speaks is told by how it begins.
//!
//! Each kind is set up only once it is known, and on the heap: an idle connection takes what its own
//! protocol takes, not what the larger one would.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::ServerSettings;
use super::metered::Metered;
use super::reception::Reception;

/// How a client begins that speaks HTTP/2 unasked. Source: RFC 9113 §3.4.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Between two signs of life of an HTTP/2 connection, and the longest wait for the answer.
const HTTP2_ALIVE: Duration = Duration::from_secs(20);

/// Both protocols with their limits.
pub(super) struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Protocols {
    /// Sets up the protocols' own limits.
    pub(super) fn new(settings: &ServerSettings) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            // The pulse tells idle from slow; the protocol's own timeout cannot.
            .header_read_timeout(None)
            .max_headers(settings.headers_max)
            // `pipeline_flush` stays off: it holds an answer back while unread bytes are there, and
            // drops it when these turn out to be no request.
            .max_buf_size(settings.header_bytes_max.max(8 * 1024));
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(settings.streams_max)
            .max_header_list_size(u32::try_from(settings.header_bytes_max).unwrap_or(u32::MAX))
            .keep_alive_interval(HTTP2_ALIVE)
            .keep_alive_timeout(HTTP2_ALIVE);
        Self { http1, http2 }
    }

    /// Waits for the first bytes and speaks what they are of from then on. What is neither is
    /// HTTP/1.1, which answers it.
    pub(super) async fn speak(&self, mut io: Metered, reception: Reception) -> io::Result<Spoken> {
        if !poll_fn(|cx| io.begins_with(cx, HTTP2_PREFACE)).await? {
            return Ok(self.speak_http1(io, reception));
        }
        reception.pulse.share();
        let reception = Reception {
            desk: None,
            ..reception
        };
        Ok(Spoken::Two(Box::pin(
            self.http2.serve_connection(io, reception),
        )))
    }

    /// Speaks HTTP/1.1, whatever comes.
    pub(super) fn speak_http1(&self, io: Metered, reception: Reception) -> Spoken {
        let connection = self.http1.serve_connection(io, reception);
        Spoken::One(Box::new(connection.with_upgrades()))
    }
}

/// A connection in its protocol, until its end.
pub(super) enum Spoken {
    /// HTTP/1.1 and before.
    One(Box<http1::UpgradeableConnection<Metered, Reception>>),
    /// HTTP/2.
    Two(Pin<Box<http2::Connection<Metered, Reception, TokioExecutor>>>),
}

impl Spoken {
    /// Answers what is under way and takes nothing more.
    pub(super) fn end(&mut self) {
        match self {
            Self::One(connection) => Pin::new(&mut **connection).graceful_shutdown(),
            Self::Two(connection) => connection.as_mut().graceful_shutdown(),
        }
    }

    /// Takes the connection out of its protocol, with all that was read ahead of need. Nothing may be
    /// left to write, and the request under way has no answer from here.
    pub(super) fn leave(self) -> Option<Metered> {
        match self {
            Self::One(connection) => {
                let parts = connection.into_parts()?;
                let mut io = parts.io;
                io.unread(&parts.read_buf);
                Some(io)
            }
            Self::Two(_) => None,
        }
    }
}

impl Future for Spoken {
    type Output = hyper::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::One(connection) => Pin::new(&mut **connection).poll(cx),
            Self::Two(connection) => connection.as_mut().poll(cx),
        }
    }
}
