//! A connection's bytes on their way: watched, read ahead of need, and put back.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::parting::{Discard, refusal};
use super::pulse::Pulse;

/// Most bytes that are read at once while it is not known how to read them.
const READ_AHEAD_BYTES: usize = 4 * 1024;

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
    /// What was read before it was known how to read it.
    ahead: Vec<u8>,
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
            ahead: Vec::new(),
            instead: Vec::new(),
            discard: None,
            _held: held,
        }
    }

    /// Reads until it is clear whether the peer begins with these words; they stay to be read.
    ///
    /// It reads as much as there is: what reaches the protocol in crumbs has its buffer grow.
    pub(super) fn begins_with(
        &mut self,
        cx: &mut Context<'_>,
        words: &[u8],
    ) -> Poll<io::Result<bool>> {
        let mut space = [0; READ_AHEAD_BYTES];
        loop {
            let known = self.ahead.len().min(words.len());
            if self.ahead[..known] != words[..known] {
                return Poll::Ready(Ok(false));
            }
            if known == words.len() {
                return Poll::Ready(Ok(true));
            }
            let mut buffer = ReadBuf::new(&mut space);
            ready!(Pin::new(self.stream.inner_mut()).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(false));
            }
            self.pulse.read_some();
            self.ahead.extend_from_slice(buffer.filled());
        }
    }

    /// Puts back what was read: it is read again, before anything else.
    pub(super) fn unread(&mut self, bytes: &[u8]) {
        self.ahead.splice(..0, bytes.iter().copied());
    }

    /// Waits until the peer has gone. What it sends meanwhile is kept, a little of it.
    pub(super) fn gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.ahead.is_empty() {
            return Poll::Pending;
        }
        let mut space = [0; READ_AHEAD_BYTES];
        let mut buffer = ReadBuf::new(&mut space);
        match Pin::new(self.stream.inner_mut()).poll_read(cx, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                self.ahead.extend_from_slice(buffer.filled());
                Poll::Pending
            }
            Poll::Ready(_) => Poll::Ready(()),
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
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buffer.remaining();
        if !self.ahead.is_empty() {
            let count = room.min(self.ahead.len());
            let rest = self.ahead.split_off(count);
            buffer.put_slice(&self.ahead);
            self.ahead = rest;
            return Poll::Ready(Ok(()));
        }
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
        if poll.is_ready() {
            self.pulse.flushed();
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
            if !self.pulse.is_unheard() {
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
