//! A task on its way to a worker: delivered when its last byte has been taken, given back when not.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use serde_json::Value;

use crate::api::json::CONTENT_TYPE;
use crate::protocol::to_wire_bytes;
use crate::runtime::Handout;

/// The body of a poll's answer.
///
/// A handout that is dropped gives its lease back at once, so a connection that goes before the
/// task was written costs the task nothing (WQ17). What the network loses after that the
/// worker's next poll names as lost, or else the lease's end finds: heartbeats do not name the task.
pub struct HandoutBody {
    bytes: Option<Bytes>,
    handout: Option<Handout>,
}

impl HandoutBody {
    /// Answers a poll with the task's message.
    pub fn answer(message: &Value, handout: Handout) -> Response {
        let bytes = Bytes::from(to_wire_bytes(message));
        let body = Self {
            bytes: Some(bytes),
            handout: Some(handout),
        };
        let mut response = Response::new(Body::new(body));
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        response
    }

    fn delivered(&mut self) {
        if let Some(handout) = self.handout.take() {
            handout.delivered();
        }
    }
}

impl hyper::body::Body for HandoutBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(bytes) = self.bytes.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        self.delivered();
        Poll::Ready(None)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

impl Drop for HandoutBody {
    fn drop(&mut self) {
        // A server that knows the length does not ask for the end.
        if self.bytes.is_none() {
            self.delivered();
        }
    }
}
