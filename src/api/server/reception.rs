//! Where a connection's requests are taken in: each gets what handlers may want to know of its
//! connection, and goes to the router.
//!
//! Over HTTP/1 the request under way lies on a desk beside the connection, so that the connection can
//! be taken out of the protocol while the request waits.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::http::{Method, Request, Response, Version, header};
use hyper::body::{Body as _, Incoming};
use hyper::service::Service;
use tower::ServiceExt as _;

use super::bodies::{Answered, Asked};
use super::pulse::{InFlight, Pulse};
use super::{Draining, Other, Patience, Peer, Shared};

/// A request that is being handled.
pub(super) type Handling = Pin<Box<dyn Future<Output = Response<Answered>> + Send>>;

/// What takes in the requests of one connection.
#[derive(Clone)]
pub(super) struct Reception {
    pub(super) shared: Arc<Shared>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) other: Other,
    /// None over HTTP/2, which has many requests at once.
    pub(super) desk: Option<Arc<Desk>>,
}

impl Reception {
    /// Starts to handle a request.
    fn begin(&self, request: Request<Incoming>) -> Handling {
        let in_flight = InFlight::begin(&self.pulse);
        let app = self.shared.app.clone();
        let request = self.marked(request);
        Box::pin(async move {
            let Ok(response) = app.oneshot(request).await;
            response.map(|body| Answered::new(body, in_flight))
        })
    }

    /// Adds to a request what handlers may want to know of its connection.
    fn marked(&self, request: Request<Incoming>) -> Request<Body> {
        let may_wait = self.desk.is_some() && is_repeatable(&request);
        let mut request = request.map(|body| Body::new(Asked::new(body, &self.pulse)));
        let extensions = request.extensions_mut();
        extensions.insert(Peer(self.other.peer));
        extensions.insert(Draining(self.shared.drain.clone()));
        if let Some(certificate) = &self.other.certificate {
            extensions.insert(certificate.clone());
        }
        if may_wait {
            extensions.insert(Patience(Some(Arc::clone(&self.pulse))));
        }
        request
    }
}

/// Tells whether the protocol would treat [`AGAIN`] as it treats this request: it has no body, and
/// says nothing of the connection.
fn is_repeatable(request: &Request<Incoming>) -> bool {
    request.version() == Version::HTTP_11
        && request.method() == Method::GET
        && !request.headers().contains_key(header::CONNECTION)
        && request.body().is_end_stream()
}

/// What stands for a request that was taken out of the protocol, so that its answer can be given in
/// the protocol.
pub(super) const AGAIN: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

/// The same, as the connection's last.
pub(super) const AGAIN_AND_CLOSE: &[u8] = b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n";

impl Service<Request<Incoming>> for Reception {
    type Response = Response<Answered>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        let Some(desk) = &self.desk else {
            return Answering::Own(self.begin(request));
        };
        if !desk.is_answered() {
            *desk.lying() = Lying::Handling(self.begin(request));
        }
        Answering::OnDesk(Arc::clone(desk))
    }
}

/// What lies on a desk.
#[derive(Default)]
enum Lying {
    /// Nothing.
    #[default]
    Nothing,
    /// A request that is being handled.
    Handling(Handling),
    /// An answer, to a request that was taken out of the protocol.
    Answer(Box<Response<Answered>>),
}

/// The place of a connection's request under way.
#[derive(Default)]
pub(super) struct Desk {
    lying: Mutex<Lying>,
}

impl Desk {
    /// Never waits: only the connection's own task comes here.
    fn lying(&self) -> MutexGuard<'_, Lying> {
        self.lying.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_answered(&self) -> bool {
        matches!(*self.lying(), Lying::Answer(_))
    }

    /// Takes away the request that is being handled, if there is one.
    pub(super) fn take(&self) -> Option<Handling> {
        let mut lying = self.lying();
        match std::mem::take(&mut *lying) {
            Lying::Handling(handling) => Some(handling),
            other => {
                *lying = other;
                None
            }
        }
    }

    /// Lays down the answer to the request that comes next.
    pub(super) fn answer(&self, response: Response<Answered>) {
        *self.lying() = Lying::Answer(Box::new(response));
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Response<Answered>> {
        let mut lying = self.lying();
        if let Lying::Handling(handling) = &mut *lying {
            let response = ready!(handling.as_mut().poll(cx));
            *lying = Lying::Nothing;
            return Poll::Ready(response);
        }
        match std::mem::take(&mut *lying) {
            Lying::Answer(response) => Poll::Ready(*response),
            // It has been taken away, and with it what would be waited for.
            _ => Poll::Pending,
        }
    }
}

/// An answer on its way.
pub(super) enum Answering {
    /// To a request that nobody else has to do with.
    Own(Handling),
    /// To the request on the desk.
    OnDesk(Arc<Desk>),
}

impl Future for Answering {
    type Output = Result<Response<Answered>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Own(handling) => handling.as_mut().poll(cx).map(Ok),
            Self::OnDesk(desk) => desk.poll(cx).map(Ok),
        }
    }
}
