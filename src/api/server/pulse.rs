//! What a connection is doing, and how long it may go on doing it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::parting::{Discard, refusal};
use super::{LINGER, ServerSettings};

/// What one connection is doing. Times are ms since its start, plus one; 0 is "not now".
#[derive(Debug)]
pub(super) struct Pulse {
    start: Instant,
    in_flight: AtomicUsize,
    /// Since when a request's header has been coming in.
    head_since: AtomicU64,
    /// Since when nothing has been under way.
    idle_since: AtomicU64,
    /// Since when the peer has taken nothing of what is to be sent.
    stuck_since: AtomicU64,
    /// Since when the peer has been told that no more will come, while it still sends.
    parting_since: AtomicU64,
    /// An answer of ours is, or may be, still to be written.
    answered: AtomicBool,
    /// The peer was not heard out.
    unheard: AtomicBool,
    ending: AtomicBool,
    changed: Notify,
}

impl Pulse {
    /// Starts idle.
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            in_flight: AtomicUsize::new(0),
            head_since: AtomicU64::new(0),
            idle_since: AtomicU64::new(1),
            stuck_since: AtomicU64::new(0),
            parting_since: AtomicU64::new(0),
            answered: AtomicBool::new(false),
            unheard: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    /// Notes that the connection has been told to end.
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Tells whether the connection has been told to end.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// Notes that what the peer sends will not be read to its end.
    pub(super) fn leave_unheard(&self) {
        self.unheard.store(true, Ordering::Relaxed);
    }

    /// Tells whether nothing of ours is under way or still to be written: what is written then, the
    /// protocol has written by itself.
    fn is_silent(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) == 0 && !self.answered.load(Ordering::Relaxed)
    }

    fn part(&self) {
        self.parting_since.store(self.mark(), Ordering::Relaxed);
        self.changed.notify_one();
    }

    fn mark(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    /// Returns when the connection is to be closed unless it moves on.
    fn deadline(&self, settings: &ServerSettings) -> Option<Instant> {
        let at = |since: &AtomicU64, limit: Duration| match since.load(Ordering::Relaxed) {
            0 => None,
            mark => Some(self.start + Duration::from_millis(mark - 1) + limit),
        };
        if let Some(parted) = at(&self.parting_since, LINGER) {
            return Some(parted);
        }
        let waiting = if self.in_flight.load(Ordering::Relaxed) > 0 {
            None
        } else {
            at(&self.head_since, settings.header_timeout)
                .or_else(|| at(&self.idle_since, settings.idle_timeout))
        };
        let stuck = at(&self.stuck_since, settings.write_timeout);
        match (waiting, stuck) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Waits until the connection has done one thing for too long.
    pub(super) async fn overdue(&self, settings: &ServerSettings) {
        loop {
            let changed = self.changed.notified();
            match self.deadline(settings) {
                Some(at) if at <= Instant::now() => return,
                Some(at) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                // A request is under way: its handler and the body's reader have bounds of their
                // own; the next change wakes this.
                None => changed.await,
            }
        }
    }

    fn read_some(&self) {
        if self.in_flight.load(Ordering::Relaxed) == 0
            && self.head_since.load(Ordering::Relaxed) == 0
        {
            self.head_since.store(self.mark(), Ordering::Relaxed);
            self.changed.notify_one();
        }
    }

    fn write_pending(&self) {
        if self.stuck_since.load(Ordering::Relaxed) == 0 {
            self.stuck_since.store(self.mark(), Ordering::Relaxed);
            self.changed.notify_one();
        }
    }

    fn written(&self) {
        if self.stuck_since.swap(0, Ordering::Relaxed) != 0 {
            self.changed.notify_one();
        }
    }
}

/// A request under way, from its header to the end of its answer's body.
pub(super) struct InFlight(Arc<Pulse>);

impl InFlight {
    /// Begins one.
    pub(super) fn begin(pulse: &Arc<Pulse>) -> Self {
        pulse.in_flight.fetch_add(1, Ordering::Relaxed);
        pulse.head_since.store(0, Ordering::Relaxed);
        pulse.answered.store(true, Ordering::Relaxed);
        // There is a next request, so the one before was passed over in whole.
        pulse.unheard.store(false, Ordering::Relaxed);
        pulse.changed.notify_one();
        Self(Arc::clone(pulse))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.idle_since.store(self.0.mark(), Ordering::Relaxed);
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.0.changed.notify_one();
    }
}

/// What a connection holds until its socket is really closed: its slot, and its place among those
/// that a drain waits for.
pub(super) struct Held {
    _slot: OwnedSemaphorePermit,
    _token: TaskTrackerToken,
}

impl Held {
    /// Takes both.
    pub(super) fn new(slot: OwnedSemaphorePermit, token: TaskTrackerToken) -> Self {
        Self {
            _slot: slot,
            _token: token,
        }
    }
}

/// A connection's bytes as HTTP has them: plain, or taken out of TLS.
pub(super) type Wire = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// A connection's bytes, watched. Keeps what the connection holds also after an upgrade has taken it
/// out of the server's hands.
pub(super) struct Metered {
    stream: TokioIo<Wire>,
    pulse: Arc<Pulse>,
    /// What goes out in place of what the protocol wrote.
    instead: Vec<u8>,
    discard: Option<Discard>,
    _held: Held,
}

impl Metered {
    /// Watches the stream.
    pub(super) fn new(stream: Wire, pulse: Arc<Pulse>, held: Held) -> Self {
        Self {
            stream: TokioIo::new(stream),
            pulse,
            instead: Vec::new(),
            discard: None,
            _held: held,
        }
    }

    /// Takes over what the protocol refuses a peer with, to say it in our words.
    fn reword(&mut self, bytes: &[u8]) -> bool {
        let reworded = self.pulse.is_silent().then(|| refusal(bytes)).flatten();
        if let Some(reworded) = reworded {
            self.pulse.leave_unheard();
            self.instead = reworded;
            return true;
        }
        false
    }

    /// Sends what goes out in place of something else.
    fn send_instead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.instead.is_empty() {
            let poll = Pin::new(&mut self.stream).poll_write(cx, &self.instead);
            let count = ready!(self.note(poll))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.instead.drain(..count);
        }
        Poll::Ready(Ok(()))
    }

    fn note<T>(&self, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &poll {
            Poll::Pending => self.pulse.write_pending(),
            Poll::Ready(_) => self.pulse.written(),
        }
        poll
    }
}

impl Read for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buffer.remaining();
        // The cursor is consumed by the read, so what has come is seen by its outcome only: a
        // reader with room that is ready has either bytes or the end, and after the end it matters
        // no more.
        let poll = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if room > 0 && matches!(poll, Poll::Ready(Ok(()))) {
            self.pulse.read_some();
        }
        poll
    }
}

impl Write for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.send_instead(cx))?;
        if self.reword(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let poll = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.send_instead(cx))?;
        // A refusal has no body: it comes in one piece.
        if let [only] = bytes
            && self.reword(only)
        {
            return Poll::Ready(Ok(only.len()));
        }
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.note(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.send_instead(cx))?;
        let poll = Pin::new(&mut self.stream).poll_flush(cx);
        if poll.is_ready() && self.pulse.in_flight.load(Ordering::Relaxed) == 0 {
            self.pulse.answered.store(false, Ordering::Relaxed);
        }
        match self.stream.inner() {
            // Flushing a TCP stream is always ready: it says nothing of the peer.
            Either::Left(_) => poll,
            // TLS keeps bytes of its own, which go when the peer takes them.
            Either::Right(_) => self.note(poll),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.send_instead(cx))?;
        if self.discard.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            if !self.pulse.unheard.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
            self.pulse.part();
        }
        let Self {
            stream, discard, ..
        } = &mut *self;
        discard.get_or_insert_default().poll(stream.inner_mut(), cx)
    }
}
