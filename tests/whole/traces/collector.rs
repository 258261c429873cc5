//! A collector of OpenTelemetry, as real as a test needs it: it takes spans over both protocols and
//! shows a trace as a tree, without what differs from run to run.

use std::sync::Arc;

use avtomatika::api::ServerSettings;
use avtomatika::net::{ListenerFiles, ListenerTls};
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;

use crate::process::PATIENCE;

/// How a collector is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoken {
    Http,
    Grpc,
}

/// A span as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) service: String,
    pub(crate) span: Span,
}

impl Seen {
    /// Returns an attribute as text.
    pub(crate) fn attribute(&self, name: &str) -> Option<String> {
        text_of(&self.span.attributes, name)
    }
}

fn text_of(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|one| one.key == name)?;
    shown(found.value.as_ref()?)
}

fn shown(value: &AnyValue) -> Option<String> {
    Some(match value.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(is) => is.to_string(),
        other => format!("{other:?}"),
    })
}

/// What has come, for who waits for it.
#[derive(Clone)]
struct Kept(Arc<watch::Sender<Vec<Seen>>>);

impl Kept {
    fn take(&self, request: ExportTraceServiceRequest) {
        let mut seen = Vec::new();
        for of_resource in request.resource_spans {
            let resource = of_resource.resource.unwrap_or_default();
            let service = text_of(&resource.attributes, "service.name").unwrap_or_default();
            for span in of_resource
                .scope_spans
                .into_iter()
                .flat_map(|one| one.spans)
            {
                let service = service.clone();
                seen.push(Seen { service, span });
            }
        }
        self.0.send_modify(|all| all.extend(seen));
    }
}

#[tonic::async_trait]
impl TraceService for Kept {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        if request
            .metadata()
            .get("api-key")
            .is_none_or(|key| key != KEY)
        {
            return Err(tonic::Status::unauthenticated("no key"));
        }
        self.take(request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

/// The key without which a collector takes nothing.
pub(crate) const KEY: &str = "key-of-the-collector";

/// A running collector; it ends when it is dropped.
pub(crate) struct Collector {
    pub(crate) endpoint: String,
    seen: watch::Receiver<Vec<Seen>>,
    _serving: JoinSet<()>,
}

impl Collector {
    /// Starts one on a free port.
    pub(crate) async fn start(spoken: Spoken) -> Self {
        Self::start_behind(spoken, None).await
    }

    /// Starts one, behind TLS where there is a certificate for it.
    pub(crate) async fn start_behind(spoken: Spoken, files: Option<ListenerFiles>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (sender, seen) = watch::channel(Vec::new());
        let kept = Kept(Arc::new(sender));
        let app = match spoken {
            Spoken::Grpc => {
                let service = TraceServiceServer::new(kept);
                let service = service.accept_compressed(CompressionEncoding::Gzip);
                tonic::service::Routes::new(service).into_axum_router()
            }
            Spoken::Http => {
                let take = move |headers: axum::http::HeaderMap, body: Bytes| async move {
                    if headers.get("api-key").is_none_or(|key| key != KEY) {
                        return StatusCode::UNAUTHORIZED.into_response();
                    }
                    let request = ExportTraceServiceRequest::decode(body).expect("OTLP");
                    kept.take(request);
                    let answer = ExportTraceServiceResponse::default();
                    answer.encode_to_vec().into_response()
                };
                axum::Router::new().route("/v1/traces", axum::routing::post(take))
            }
        };
        let scheme = if files.is_some() { "https" } else { "http" };
        let tls = files.map(|files| Arc::new(ListenerTls::open(files).expect("good files")));
        let settings = ServerSettings {
            tls,
            ..ServerSettings::default()
        };
        let never = CancellationToken::new();
        let mut serving = JoinSet::new();
        serving.spawn(avtomatika::api::serve(listener, app, settings, never));
        Self {
            endpoint: format!("{scheme}://{address}"),
            seen,
            _serving: serving,
        }
    }

    /// Waits until what has come is enough, and returns it.
    pub(crate) async fn until(&self, is_enough: impl Fn(&[Seen]) -> bool) -> Vec<Seen> {
        let mut seen = self.seen.clone();
        let wait = seen.wait_for(|seen| is_enough(seen));
        let has_come = tokio::time::timeout(PATIENCE, wait).await.is_ok();
        let all = self.so_far();
        assert!(has_come, "this is not enough:\n{}", tree(&all));
        all
    }

    /// Returns what has come so far.
    pub(crate) fn so_far(&self) -> Vec<Seen> {
        self.seen.borrow().clone()
    }
}

/// Shows spans as trees: service and name, children below their parents in the order of their text.
/// Parents that have not come are named by their absence.
pub(crate) fn tree(all: &[Seen]) -> String {
    let ids: Vec<&[u8]> = all
        .iter()
        .map(|seen| seen.span.span_id.as_slice())
        .collect();
    let mut roots = Vec::new();
    for seen in all {
        let parent = seen.span.parent_span_id.as_slice();
        if parent.is_empty() {
            roots.push(branch(seen, "", all));
        } else if !ids.contains(&parent) {
            roots.push(format!("(parent missing) {}", branch(seen, "", all)));
        }
    }
    roots.sort();
    roots.concat()
}

fn branch(seen: &Seen, indent: &str, all: &[Seen]) -> String {
    let inner = format!("{indent}  ");
    let mut children: Vec<String> = all
        .iter()
        .filter(|child| child.span.parent_span_id == seen.span.span_id)
        .map(|child| branch(child, &inner, all))
        .collect();
    children.sort();
    format!(
        "{indent}{} [{}]\n{}",
        seen.span.name,
        seen.service,
        children.concat()
    )
}
