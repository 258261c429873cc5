//! HTTP's side of spans: names without ids, and the attributes of the semantic conventions.

use hyper::Method;
use uuid::Uuid;

use super::span::whole;
use super::{Kind, Lap, Place, Span};
use crate::observe::Moved;

/// A request that is being answered.
#[derive(Debug, Clone)]
pub struct Answering {
    place: Place,
    lap: Lap,
    method: Method,
    route: String,
    state: Option<String>,
}

impl Answering {
    /// Begins. Ids in the path do not become part of the name; of a trace that is not recorded nobody
    /// will see one.
    #[must_use]
    pub fn begin(place: Place, lap: Lap, method: &Method, path: &str) -> Self {
        let is_seen = place.context.is_sampled();
        Self {
            place,
            lap,
            method: method.clone(),
            route: if is_seen {
                route_of(path)
            } else {
                String::new()
            },
            state: None,
        }
    }

    /// Adds the `tracestate` that came with the request, unless nobody will see it.
    #[must_use]
    pub fn state(mut self, tracestate: Option<&str>) -> Self {
        let is_seen = self.place.context.is_sampled();
        self.state = tracestate.filter(|_| is_seen).map(str::to_owned);
        self
    }

    /// Returns the span's place.
    #[must_use]
    pub const fn place(&self) -> Place {
        self.place
    }

    /// Returns the `tracestate` that came with the request.
    #[must_use]
    pub fn tracestate(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// Ends with an answer's status.
    #[must_use]
    pub fn ended(self, status: u16) -> Span {
        let name = format!("{} {}", self.method, self.route);
        let span = Span::ended(name, self.place, &self.lap)
            .state(self.state.as_deref())
            .kind(Kind::Server)
            .with("http.request.method", self.method.as_str().to_owned())
            .with("http.route", self.route)
            .with("http.response.status_code", whole(status));
        if status >= 500 {
            return span.failed(status.to_string());
        }
        span
    }
}

/// Adds what is known of a request that was made: the host and not the path, in which strangers
/// keep their secrets.
#[must_use]
pub fn asking(span: Span, method: &'static str, url: &str) -> Span {
    let uri = url.parse::<hyper::Uri>().unwrap_or_default();
    let default = if uri.scheme_str() == Some("https") {
        443
    } else {
        80
    };
    span.kind(Kind::Client)
        .with("http.request.method", method)
        .with_some("server.address", uri.host().map(str::to_owned))
        .with("server.port", whole(uri.port_u16().unwrap_or(default)))
}

/// Makes the span of a file's transfer, to or from an address on S3. Name and attributes are those
/// that the original's worker has.
#[must_use]
pub fn transfer_span(
    moved: Moved,
    uri: &str,
    (place, lap): (Place, &Lap),
    failed: Option<&str>,
) -> Span {
    let span = Span::ended(format!("s3.{}", moved.as_str()), place, lap)
        .kind(Kind::Client)
        .with("s3.operation", moved.as_str())
        .with("s3.uri", uri.to_owned());
    match failed {
        Some(code) => span.failed(code),
        None => span,
    }
}

/// Returns a path with its ids left out.
fn route_of(path: &str) -> String {
    let parts = path.split('/').map(|part| {
        let is_id = Uuid::try_parse(part).is_ok();
        if is_id { "{id}" } else { part }
    });
    parts.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_have_no_ids() {
        for (path, route) in [
            ("/api/v1/jobs/full_showcase", "/api/v1/jobs/full_showcase"),
            (
                "/api/v1/jobs/0192f0c1-2b3c-7d4e-8f90-123456789abc/cancel",
                "/api/v1/jobs/{id}/cancel",
            ),
            ("/", "/"),
        ] {
            assert_eq!(route_of(path), route);
        }
    }
}
