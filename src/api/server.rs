//! The accept loop: connections within bounds, HTTP/1.1 and HTTP/2 on one port, plain or in TLS, and
//! a drain that loses no answer.
//!
//! Knows nothing of routes: whoever serves hands in a router. A connection that sends nothing, half
//! a request or never reads its answer is closed by its `Pulse`, so that a slot
//! always comes back.

mod bodies;
mod parting;
mod pulse;
#[cfg(test)]
mod tests;
mod tls;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::net::{ClientCertificate, ListenerTls};
use bodies::{Answered, Asked};
use pulse::{Held, InFlight, Metered, Pulse, Wire};

/// The server's bounds.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// Connections at once; those beyond wait in the listener's backlog.
    pub connections_max: usize,
    /// What TLS is spoken with; none and the port speaks plain HTTP.
    pub tls: Option<Arc<ListenerTls>>,
    /// Longest time of a TLS handshake.
    pub handshake_timeout: Duration,
    /// Longest time from a request's first byte to the end of its header.
    pub header_timeout: Duration,
    /// Longest silence of a connection between two requests.
    pub idle_timeout: Duration,
    /// Longest time that the peer may take nothing of an answer that is being sent.
    pub write_timeout: Duration,
    /// Most bytes of a request's header, the request line included.
    pub header_bytes_max: usize,
    /// Most members of a request's header.
    pub headers_max: usize,
    /// Requests under way at once on one HTTP/2 connection.
    pub streams_max: u32,
    /// Longest time that shutting down waits for what is under way.
    pub drain_timeout: Duration,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            tls: None,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            // Longer than the 15 s that the original's worker keeps an idle connection, so that it
            // is the client that closes and no request is lost in between.
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_mins(1),
            header_bytes_max: 64 * 1024,
            headers_max: 100,
            streams_max: 200,
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// The other end of the connection, among a request's extensions. When it has shown a certificate
/// that was verified, a [`ClientCertificate`] is there too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Ends when the server begins to drain, among a request's extensions. Long polls, event streams
/// and sockets end themselves by it. Without a server it never does.
#[derive(Debug, Clone, Default)]
pub struct Draining(pub CancellationToken);

impl<S: Sync> FromRequestParts<S> for Draining {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

/// How long a connection that has been told to end may still take before it is dropped.
const LINGER: Duration = Duration::from_secs(2);

/// Pause after an `accept` that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What every connection of one server shares.
struct Shared {
    app: axum::Router,
    settings: ServerSettings,
    builder: auto::Builder<TokioExecutor>,
    /// Drain: finish what is under way, take nothing new.
    drain: CancellationToken,
    /// The drain has lasted long enough.
    abort: CancellationToken,
}

/// Serves the router on the listener until `shutdown`, then drains.
///
/// Returns when every connection has ended, sockets that came of an upgrade included, at the
/// latest after `drain_timeout` and a little.
pub async fn serve(
    listener: TcpListener,
    app: axum::Router,
    settings: ServerSettings,
    shutdown: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(settings.connections_max));
    let connections = TaskTracker::new();
    let shared = Arc::new(Shared {
        builder: protocol(&settings),
        app,
        drain: shutdown.clone(),
        abort: CancellationToken::new(),
        settings,
    });
    while let Some((stream, peer, slot)) = accept(&listener, &slots, &shutdown).await {
        let held = Held::new(slot, connections.token());
        connections.spawn(connection(Arc::clone(&shared), stream, peer, held));
    }
    // Closing the listener first lets a balancer see at once that this process takes no more.
    drop(listener);
    connections.close();
    if tokio::time::timeout(shared.settings.drain_timeout, connections.wait())
        .await
        .is_err()
    {
        tracing::warn!(
            connections = connections.len(),
            "drain took too long, closing"
        );
        shared.abort.cancel();
        if tokio::time::timeout(LINGER, connections.wait())
            .await
            .is_err()
        {
            tracing::warn!(connections = connections.len(), "connections left behind");
        }
    }
}

/// Sets up the protocols' own limits.
fn protocol(settings: &ServerSettings) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // The pulse tells idle from slow; the protocol's own timeout cannot.
        .header_read_timeout(None)
        .max_headers(settings.headers_max)
        // `pipeline_flush` stays off: it holds an answer back while unread bytes are there, and drops
        // it when these turn out to be no request.
        .max_buf_size(settings.header_bytes_max.max(8 * 1024));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.streams_max)
        .max_header_list_size(u32::try_from(settings.header_bytes_max).unwrap_or(u32::MAX))
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// Waits for a free slot, then for a connection; nothing once the server shuts down.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    shutdown: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let slot = tokio::select! {
        biased;
        () = shutdown.cancelled() => return None,
        slot = Arc::clone(slots).acquire_owned() => slot.expect("the semaphore is never closed"),
    };
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => return None,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "the connection keeps its delay");
                }
                return Some((stream, peer, slot));
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::select! {
                    () = shutdown.cancelled() => return None,
                    () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
}

/// Who is at the other end of a connection.
#[derive(Clone)]
struct Other {
    peer: SocketAddr,
    certificate: Option<ClientCertificate>,
}

/// Opens one connection and runs it to its end. It holds its slot from the first moment on, so that
/// handshakes count as connections do.
async fn connection(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr, held: Held) {
    let Some((wire, certificate)) = open(&shared, stream, peer).await else {
        return;
    };
    let pulse = Arc::new(Pulse::new());
    let io = Metered::new(wire, Arc::clone(&pulse), held);
    talk(shared, io, pulse, Other { peer, certificate }).await;
}

/// Speaks TLS first where that is wanted. A drain ends handshakes: nothing is under way in them.
async fn open(
    shared: &Shared,
    stream: TcpStream,
    peer: SocketAddr,
) -> Option<(Wire, Option<ClientCertificate>)> {
    let Some(tls) = &shared.settings.tls else {
        return Some((Either::Left(stream), None));
    };
    let limit = shared.settings.handshake_timeout;
    let opened = tokio::select! {
        biased;
        () = shared.drain.cancelled() => None,
        opened = tls::handshake(stream, tls.config(), limit, peer) => opened,
    };
    opened.map(|(stream, certificate)| (Either::Right(Box::new(stream)), certificate))
}

/// Speaks HTTP on an open connection until its end.
async fn talk(shared: Arc<Shared>, io: Metered, pulse: Arc<Pulse>, other: Other) {
    let service = {
        let shared = Arc::clone(&shared);
        let pulse = Arc::clone(&pulse);
        service_fn(move |request: Request<Incoming>| {
            let in_flight = InFlight::begin(&pulse);
            let app = shared.app.clone();
            let request = marked(request, &other, &shared.drain, &pulse);
            async move { answer(app, request, in_flight).await }
        })
    };
    let connection = shared.builder.serve_connection_with_upgrades(io, service);
    tokio::pin!(connection);
    let mut ending: Option<tokio::time::Instant> = None;
    loop {
        let stalled = async {
            match ending {
                Some(at) => tokio::time::sleep_until(at).await,
                None => pulse.overdue(&shared.settings).await,
            }
        };
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                }
                return;
            }
            () = shared.abort.cancelled() => return,
            () = shared.drain.cancelled(), if ending.is_none() && !pulse.is_ending() => {
                // What is under way is answered; the bound is the drain's own.
                pulse.end();
                connection.as_mut().graceful_shutdown();
            }
            () = stalled => {
                if ending.is_some() {
                    return;
                }
                ending = Some(tokio::time::Instant::now() + LINGER);
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Adds to a request what handlers may want to know of its connection.
fn marked(
    request: Request<Incoming>,
    other: &Other,
    drain: &CancellationToken,
    pulse: &Arc<Pulse>,
) -> Request<Body> {
    let mut request = request.map(|body| Body::new(Asked::new(body, pulse)));
    let extensions = request.extensions_mut();
    extensions.insert(Peer(other.peer));
    extensions.insert(Draining(drain.clone()));
    if let Some(certificate) = &other.certificate {
        extensions.insert(certificate.clone());
    }
    request
}

/// Hands one request to the router.
async fn answer(
    app: axum::Router,
    request: Request<Body>,
    in_flight: InFlight,
) -> Result<Response<Answered>, Infallible> {
    let response = app.oneshot(request).await?;
    Ok(response.map(|body| Answered::new(body, in_flight)))
}
