//! The accept loop: connections within bounds, HTTP/1.1 and HTTP/2 on one port, plain or in TLS, and
//! a drain that loses no answer.
//!
//! Knows nothing of routes: whoever serves hands in a router. A connection that sends nothing, half
//! a request or never reads its answer is closed by its `Pulse`, so that a slot
//! always comes back.

mod bodies;
mod metered;
mod parting;
mod pulse;
mod reception;
mod spoken;
#[cfg(test)]
mod tests;
mod tls;

use std::convert::Infallible;
use std::future::{Future as _, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::Response;
use axum::http::request::Parts;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::net::{ClientCertificate, ListenerTls};
use bodies::Answered;
use metered::{Held, Metered, Wire};
use pulse::{Pulse, Turn};
use reception::{AGAIN, AGAIN_AND_CLOSE, Desk, Handling, Reception};
use spoken::{Protocols, Spoken};

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

/// Lets a request that waits for long say so, among a request's extensions: its connection gives its
/// buffers back until there is an answer. Where that is not possible, saying so has no effect.
#[derive(Debug, Clone, Default)]
pub struct Patience(Option<Arc<Pulse>>);

impl Patience {
    /// Never ends. Tells that the request is going to wait: once it has waited for a second or, when
    /// the connection's last request did, at once. To put a connection aside for less does not pay.
    pub async fn wait(&self) -> Infallible {
        if let Some(pulse) = &self.0 {
            if !pulse.has_waited() {
                tokio::time::sleep(LONG).await;
            }
            pulse.wait_long();
        }
        std::future::pending().await
    }
}

impl<S: Sync> FromRequestParts<S> for Patience {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

/// What counts as a long wait.
const LONG: Duration = Duration::from_secs(1);

/// How long a connection that has been told to end may still take before it is dropped.
const LINGER: Duration = Duration::from_secs(2);

/// Pause after an `accept` that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What every connection of one server shares.
struct Shared {
    app: axum::Router,
    settings: ServerSettings,
    protocols: Protocols,
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
        protocols: Protocols::new(&settings),
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
    // On the heap, which has it back afterwards: a connection without TLS does not carry its size.
    let handshake = Box::pin(tls::handshake(stream, tls.config(), limit, peer));
    let opened = tokio::select! {
        biased;
        () = shared.drain.cancelled() => None,
        opened = handshake => opened,
    };
    opened.map(|(stream, certificate)| (Either::Right(Box::new(stream)), certificate))
}

/// Speaks HTTP on an open connection until its end.
async fn talk(shared: Arc<Shared>, io: Metered, pulse: Arc<Pulse>, other: Other) {
    let desk = Arc::new(Desk::default());
    let reception = Reception {
        shared: Arc::clone(&shared),
        pulse: Arc::clone(&pulse),
        other,
        desk: Some(Arc::clone(&desk)),
    };
    let begun = tokio::select! {
        biased;
        spoken = shared.protocols.speak(io, reception.clone()) => spoken,
        () = shared.drain.cancelled() => return,
        _ = pulse.turn(&shared.settings) => return,
    };
    let Ok(mut spoken) = begun else {
        return;
    };
    while let Left::Waiting = converse(&shared, &pulse, &mut spoken).await {
        let Some(handling) = desk.take() else {
            // It has just been answered.
            continue;
        };
        let Some(mut io) = spoken.leave() else {
            return;
        };
        let since = tokio::time::Instant::now();
        let Some(answer) = aside(&shared, &mut io, handling).await else {
            return;
        };
        pulse.waited(since.elapsed());
        desk.answer(answer);
        let is_last = shared.drain.is_cancelled();
        io.unread(if is_last { AGAIN_AND_CLOSE } else { AGAIN });
        spoken = shared.protocols.speak_http1(io, reception.clone());
        // It reads the request and has the answer before anything can end it.
        let first = poll_fn(|cx| Poll::Ready(Pin::new(&mut spoken).poll(cx)));
        if first.await.is_ready() {
            return;
        }
    }
}

/// How a conversation was left.
enum Left {
    /// The connection is over.
    Over,
    /// A request waits, and its connection may be put aside meanwhile.
    Waiting,
}

/// Speaks until the connection's end, or until a request waits for long.
async fn converse(shared: &Shared, pulse: &Pulse, spoken: &mut Spoken) -> Left {
    let mut ending: Option<tokio::time::Instant> = None;
    loop {
        let turn = async {
            match ending {
                Some(at) => {
                    tokio::time::sleep_until(at).await;
                    Turn::Overdue
                }
                None => pulse.turn(&shared.settings).await,
            }
        };
        // The drain is first, so that what it has answered says that no more will come. The turn is
        // last: it looks at what the others have changed.
        tokio::select! {
            biased;
            () = shared.drain.cancelled(), if ending.is_none() && !pulse.is_ending() => {
                // What is under way is answered; the bound is the drain's own.
                pulse.end();
                spoken.end();
            }
            ended = &mut *spoken => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                }
                return Left::Over;
            }
            () = shared.abort.cancelled() => return Left::Over,
            turn = turn => match turn {
                Turn::Waits if pulse.is_sent() && !pulse.is_ending() => return Left::Waiting,
                Turn::Waits => {}
                Turn::Overdue if ending.is_some() => return Left::Over,
                Turn::Overdue => {
                    ending = Some(tokio::time::Instant::now() + LINGER);
                    spoken.end();
                }
            }
        }
    }
}

/// Waits for a request's answer beside the protocol, whose buffers are larger than everything else
/// that a waiting request takes; nothing when nobody waits for the answer any more.
async fn aside(
    shared: &Shared,
    io: &mut Metered,
    handling: Handling,
) -> Option<Response<Answered>> {
    tokio::select! {
        biased;
        answer = handling => Some(answer),
        () = poll_fn(|cx| io.gone(cx)) => None,
        () = shared.abort.cancelled() => None,
    }
}
