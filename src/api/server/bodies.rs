//! Bodies that tell the connection's pulse how they end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};

use super::pulse::{InFlight, Pulse};

/// A request's body, which tells when it was not read to its end.
pub(super) struct Asked {
    body: Incoming,
    has_ended: bool,
    pulse: Arc<Pulse>,
}

impl Asked {
    /// Watches the body.
    pub(super) fn new(body: Incoming, pulse: &Arc<Pulse>) -> Self {
        Self {
            has_ended: body.is_end_stream(),
            body,
            pulse: Arc::clone(pulse),
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.has_ended && !self.body.is_end_stream() {
            self.pulse.leave_unheard();
        }
    }
}

impl hyper::body::Body for Asked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let poll = Pin::new(&mut self.body).poll_frame(cx);
        self.has_ended |= matches!(poll, Poll::Ready(None));
        poll
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body; its request is under way until this is dropped.
pub(super) struct Answered {
    body: Body,
    _in_flight: InFlight,
}

impl Answered {
    /// Holds the request for as long as the body is there.
    pub(super) fn new(body: Body, in_flight: InFlight) -> Self {
        Self {
            body,
            _in_flight: in_flight,
        }
    }
}

impl hyper::body::Body for Answered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
