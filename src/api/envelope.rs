//! What every answer has in common: a request id, the protocol version, and the one error form,
//! also when a handler panics or no route matches.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use futures::FutureExt as _;
use tracing::Instrument as _;

use super::ApiState;
use super::error::{ApiError, Code};
use crate::base::TraceContext;
use crate::base::trace::{TRACEPARENT, TRACESTATE};
use crate::observe::trace::{self, Answering, Lap};
use crate::observe::{Audience, Refusal};
use crate::protocol::headers::{PROTOCOL_VERSION, RXON_VERSION};

/// The header by which a request is found in the log.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest request id that is taken over from a caller.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// The header that names the trace in which a request is made.
pub const PARENT: HeaderName = HeaderName::from_static(TRACEPARENT);

/// A request's id, among its extensions.
#[derive(Debug, Clone)]
pub struct RequestId(pub Arc<str>);

/// The place of a request's span, among its extensions: what the request starts is below it, or does
/// not belong to what is recorded either. A request of no trace that is not recorded has none.
#[derive(Debug, Clone, Copy)]
pub struct Below(pub TraceContext);

/// Runs the rest of the request and gives its answer the common form.
pub async fn envelope(
    State(state): State<Arc<ApiState>>,
    mut request: Request,
    next: Next,
) -> Response {
    name_host(&mut request);
    let id = request_id(&state, &request);
    request.extensions_mut().insert(RequestId(Arc::clone(&id)));
    let method = request.method().clone();
    // The path without its query, which may hold what no log should.
    let path = request.uri().path().to_owned();
    let span = begin_span(&state, &mut request);
    let run = AssertUnwindSafe(next.run(request)).catch_unwind();
    let outcome = match &span {
        None => run.await,
        // On the heap, so that requests that are not recorded do not carry its size.
        Some(span) => {
            let trace_id = span.place().context.trace_id_text();
            let log = tracing::error_span!("request", request.id = %id, trace.id = trace_id);
            Box::pin(trace::scope(span, run).instrument(log)).await
        }
    };
    let mut response = if let Ok(response) = outcome {
        uniform(response, &id)
    } else {
        tracing::error!(request.id = %id, %method, path, "a handler panicked");
        framed(
            &ApiError::new(Code::InternalError, "Internal server error"),
            &id,
        )
    };
    let status = response.status();
    count(&state, &path, &response);
    if let Some(span) = span.filter(|_| is_let_in(status)) {
        state.runtime.traces().record(span.ended(status.as_u16()));
    }
    if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE {
        tracing::error!(request.id = %id, %method, path, status = status.as_u16(), "request failed");
    } else {
        tracing::debug!(request.id = %id, %method, path, status = status.as_u16(), "request");
    }
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(
        HeaderName::from_static(RXON_VERSION),
        HeaderValue::from_static(PROTOCOL_VERSION),
    );
    // What may be kept says so itself.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

/// Over HTTP/2 the address that the client used stands beside the headers; from here on it is where
/// HTTP/1.1 has it. Source: RFC 9113 §8.3.1.
fn name_host(request: &mut Request) {
    if request.headers().contains_key(header::HOST) {
        return;
    }
    // Without a user's name, which a `Host` never has.
    let authority = request.uri().authority();
    let address = authority.and_then(|known| known.as_str().rsplit('@').next());
    if let Some(host) = address.and_then(|text| HeaderValue::from_str(text).ok()) {
        request.headers_mut().insert(header::HOST, host);
    }
}

/// Takes over the caller's id when it is short and printable, else mints one.
fn request_id(state: &ApiState, request: &Request) -> Arc<str> {
    let given = request
        .headers()
        .get(&REQUEST_ID)
        .and_then(|value| value.to_str().ok());
    match given {
        Some(id)
            if (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            id.into()
        }
        _ => state.runtime.entropy().uuid().to_string().into(),
    }
}

/// Writes errors in the one form: ours again with the request id, the framework's anew.
fn uniform(mut response: Response, id: &str) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let error = match response.extensions_mut().remove::<ApiError>() {
        Some(error) => error,
        None if is_json(&response) => return response,
        None => foreign(status),
    };
    let mut uniform = framed(&error, id);
    for (name, value) in response.headers() {
        if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
            uniform.headers_mut().append(name, value.clone());
        }
    }
    if uniform
        .headers()
        .get_all(header::RETRY_AFTER)
        .iter()
        .count()
        > 1
    {
        let last = response.headers().get(header::RETRY_AFTER).cloned();
        if let Some(last) = last {
            uniform.headers_mut().insert(header::RETRY_AFTER, last);
        }
    }
    uniform
}

/// Renders an error and notes its code, to be counted.
fn framed(error: &ApiError, id: &str) -> Response {
    let code = error.code();
    let mut response = error.render(Some(id));
    response.extensions_mut().insert(code);
    response
}

/// Begins a request's span: when its caller is in a trace, and when a client changes something, which
/// begins one. What only looks or asks for work would begin a trace every few seconds. What everybody
/// may ask for has none: strangers shall not fill the collector. Nothing for one that is not recorded:
/// the decision of whoever has made it is handed on, and that is all there is to it.
fn begin_span(state: &ApiState, request: &mut Request) -> Option<Answering> {
    let traces = state.runtime.traces();
    if !traces.is_on() {
        return None;
    }
    let (method, path) = (request.method(), request.uri().path());
    let given = request.headers().get(PARENT);
    let traceparent = given.and_then(|value| value.to_str().ok());
    let is_traced = match traceparent {
        Some(_) => audience(path) != Audience::Public,
        None => method == Method::POST && audience(path) == Audience::Client,
    };
    if !is_traced {
        return None;
    }
    let place = traces.begin(traceparent)?;
    if traceparent.is_none() && !place.context.is_sampled() {
        return None;
    }
    let span = place.context.is_sampled().then(|| {
        let lap = Lap::begin(state.runtime.clock().as_ref());
        let state = request.headers().get(TRACESTATE);
        let state = state.and_then(|value| value.to_str().ok());
        Answering::begin(place, lap, method, path).state(state)
    });
    request.extensions_mut().insert(Below(place.context));
    span
}

/// Tells whether an answer says that its caller is known and what it asks for is there: strangers
/// shall not fill the collector, nor name its spans.
fn is_let_in(status: StatusCode) -> bool {
    !matches!(status.as_u16(), 401 | 403 | 404 | 405 | 429)
}

/// Returns whom a path is for.
fn audience(path: &str) -> Audience {
    let is_below = |first: &str| {
        let rest = path.strip_prefix(first);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if is_below("/_worker") {
        Audience::Worker
    } else if is_below("/_public") {
        Audience::Public
    } else {
        Audience::Client
    }
}

fn count(state: &ApiState, path: &str, response: &Response) {
    let audience = audience(path);
    let metrics = state.runtime.metrics();
    metrics.answered(audience, response.status().as_u16());
    if let Some(code) = response.extensions().get::<Code>() {
        let refusal = match code {
            Code::RateLimited | Code::LimitExceeded => Refusal::TooMany,
            Code::Unauthorized
            | Code::TokenExpired
            | Code::WorkerUnauthorized
            | Code::InvalidSignature
            | Code::LinkInvalid => Refusal::Unknown,
            _ => Refusal::Other,
        };
        metrics.refused(audience, code.as_str(), refusal);
    }
}

fn is_json(response: &Response) -> bool {
    response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/json"))
}

/// Words for an answer that the framework made by itself.
fn foreign(status: StatusCode) -> ApiError {
    match status {
        StatusCode::NOT_FOUND => ApiError::new(Code::NotFound, "Not Found"),
        StatusCode::METHOD_NOT_ALLOWED => {
            ApiError::new(Code::MethodNotAllowed, "Method Not Allowed")
        }
        StatusCode::PAYLOAD_TOO_LARGE => {
            ApiError::new(Code::BodyTooLarge, "the body is larger than allowed")
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ApiError::new(
            Code::UnsupportedEncoding,
            "the body's encoding is not supported",
        ),
        StatusCode::UPGRADE_REQUIRED | StatusCode::BAD_REQUEST => {
            ApiError::invalid("the request cannot be understood")
        }
        status if status.is_client_error() => ApiError::invalid(
            status
                .canonical_reason()
                .unwrap_or("the request cannot be understood"),
        ),
        status => ApiError::internal(&status),
    }
}

/// Answers for paths that no route matches.
pub async fn no_such_route() -> ApiError {
    ApiError::new(Code::NotFound, "Not Found")
}
