//! `webhook-sink`: receives webhooks as a client of the orchestrator would: checks the signature and
//! the time, drops repeats, prints, keeps the last ones and shows them.

mod inbox;
mod page;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{Html, IntoResponse as _, Json, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use inbox::{Inbox, Received};

use super::context::Context;
use super::exit::{Exit, Failure, RoleResult};
use super::printer::{Output, Printer, visible};
use super::probes::{ProbeArgs, Probes, Readiness, Telling};
use super::traces::{Tracing, service};
use crate::api::{ServerSettings, serve};
use crate::base::trace::{TRACEPARENT, TRACESTATE};
use crate::base::{Clock, Secret};
use crate::observe::trace::{Answering, Lap};
use crate::observe::{Receipt, SinkMetrics, Traces};
use crate::protocol::webhook;

/// Largest body that is taken, in bytes; the orchestrator's webhooks are far smaller.
const BODY_BYTES_MAX: usize = 8 << 20;

/// What `webhook-sink` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  avtomatika webhook-sink --secret \"$(avtomatika config webhook-secret vip)\"
  avtomatika webhook-sink --port 9000 -o jsonl > webhooks.jsonl
  curl http://127.0.0.1:9000/
  avtomatika webhook-sink --metrics-addr :9100     figures and probes beside it

POST / receives; GET / shows the last ones as JSON, or as a page in a browser.")]
pub struct Args {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,
    /// Port to listen on, 0 for a free one
    #[arg(long, default_value_t = 9000)]
    pub port: u16,
    /// The client's webhook secret, `whsec_…`; without one signatures are not checked
    #[arg(long, env = "WEBHOOK_SECRET", hide_env_values = true)]
    pub secret: Option<String>,
    /// How many webhooks are kept and shown
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub keep: u32,
    /// Where it tells how it does.
    #[command(flatten)]
    pub probes: ProbeArgs,
}

/// What the sink needs to run.
#[derive(Clone)]
pub struct SinkConfig {
    /// Checks signatures; none takes everything and says so.
    pub secret: Option<Secret>,
    /// How many webhooks are kept.
    pub keep: usize,
    /// Where they are printed; none prints nothing.
    pub printer: Option<Printer>,
    /// The time, for freshness.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: SinkMetrics,
    /// Where spans are recorded.
    pub traces: Traces,
}

/// Runs the role.
pub async fn run(args: Args, context: &Context) -> RoleResult {
    if let Some(secret) = &args.secret {
        webhook::check_secret(secret)
            .map_err(|message| Failure::usage(format!("--secret: {message}")))?;
    } else {
        context
            .printer
            .warn("no --secret: signatures are not checked");
    }
    let metrics = SinkMetrics::new();
    let service = service("avtomatika-webhook-sink");
    let tracing = Tracing::from_environment(&service, metrics.spans())?;
    let address = format!("{}:{}", args.host, args.port);
    let listener = TcpListener::bind(&address)
        .await
        .map_err(|error| Failure::cannot_listen(&address, "--port", &error))?;
    let probes = args.probes.listen().await?;
    if let Ok(local) = listener.local_addr() {
        context
            .printer
            .note(&format!("webhook sink at http://{local}/"));
    }
    let config = SinkConfig {
        secret: args.secret.as_deref().map(Secret::from),
        keep: args.keep as usize,
        printer: Some(context.printer.clone()),
        clock: Arc::clone(&context.clock),
        metrics: metrics.clone(),
        traces: tracing.traces.clone(),
    };
    let inbox = Inbox::new(config.keep);
    let stop = context.stop.clone();
    let serving = serve_sink(config, inbox, listener, stop.clone());
    if let Some(probes) = &probes {
        let line = format!("figures at http://{}/metrics", probes.address());
        context.printer.note(&line);
    }
    let standing = Arc::new(Standing { metrics, stop });
    Probes::beside(probes, standing, serving).await;
    tracing.finish().await;
    Ok(Exit::Ok)
}

/// How the sink does.
struct Standing {
    metrics: SinkMetrics,
    stop: CancellationToken,
}

impl Telling for Standing {
    fn figures(&self) -> String {
        self.metrics.text()
    }

    fn readiness(&self) -> Readiness {
        let is_stopping = self.stop.is_cancelled();
        let state = if is_stopping { "stopping" } else { "ok" };
        Readiness {
            ready: !is_stopping,
            checks: BTreeMap::from([("sink", state.to_owned())]),
        }
    }
}

/// Serves the sink on the listener until told to stop. What arrives can be read from the inbox.
pub async fn serve_sink(
    config: SinkConfig,
    inbox: Inbox,
    listener: TcpListener,
    stop: CancellationToken,
) {
    let settings = ServerSettings {
        connections_max: 256,
        ..ServerSettings::default()
    };
    serve(listener, router(config, inbox), settings, stop).await;
}

/// The sink's routes.
fn router(config: SinkConfig, inbox: Inbox) -> Router {
    Router::new()
        .route("/", get(show).post(receive))
        .route("/health", get(|| async { "OK" }))
        .fallback(get(not_found).post(receive))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Arc::new(Sink { config, inbox }))
}

struct Sink {
    config: SinkConfig,
    inbox: Inbox,
}

async fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "GET / shows what was received\n").into_response()
}

async fn receive(State(sink): State<Arc<Sink>>, headers: HeaderMap, body: Bytes) -> Response {
    let span = sink.begin_span(&headers);
    let metrics = &sink.config.metrics;
    let response = match sink.take(&headers, &body) {
        Ok((event, receipt)) => {
            metrics.received(&event, receipt);
            let is_repeated = receipt == Receipt::Repeated;
            let status = if is_repeated { "repeated" } else { "received" };
            Json(json!({"status": status})).into_response()
        }
        Err((receipt, message)) => {
            metrics.received("", receipt);
            tracing::warn!(reason = message, "webhook refused");
            let status = match receipt {
                Receipt::BadSignature => StatusCode::UNAUTHORIZED,
                _ => StatusCode::BAD_REQUEST,
            };
            (status, Json(json!({"error": message}))).into_response()
        }
    };
    if let Some(span) = span {
        let status = response.status().as_u16();
        sink.config.traces.record(span.ended(status));
    }
    response
}

impl Sink {
    /// Begins a delivery's span, in the trace that it comes with.
    fn begin_span(&self, headers: &HeaderMap) -> Option<Answering> {
        let traceparent = headers.get(TRACEPARENT)?.to_str().ok()?;
        let place = self.config.traces.begin(Some(traceparent))?;
        let lap = Lap::begin(self.config.clock.as_ref());
        let state = headers.get(TRACESTATE);
        let state = state.and_then(|value| value.to_str().ok());
        Some(Answering::begin(place, lap, &Method::POST, "/").state(state))
    }

    /// Judges a delivery; returns its event and what it is. Errors: why it is refused.
    fn take(
        &self,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(String, Receipt), (Receipt, String)> {
        let text = |name: &str| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or("")
        };
        let id = text(webhook::HEADER_ID);
        let now = self.config.clock.now();
        if let Some(secret) = &self.config.secret {
            let refused = |why: &str| (Receipt::BadSignature, why.to_owned());
            if id.is_empty() {
                return Err(refused("the header webhook-id is missing"));
            }
            let sent: i64 = text(webhook::HEADER_TIMESTAMP)
                .parse()
                .map_err(|_| refused("the header webhook-timestamp is missing or no number"))?;
            let signature = text(webhook::HEADER_SIGNATURE);
            webhook::verify(secret, (id, sent, signature), body, now.as_secs())
                .map_err(|error| refused(&error.to_string()))?;
        }
        let body: Value = serde_json::from_slice(body).map_err(|error| {
            let message = format!("the body is not JSON: {error}");
            (Receipt::Unreadable, message)
        })?;
        let event = body["event"].as_str().unwrap_or_default().to_owned();
        let received = Received {
            id: id.to_owned(),
            received_at: now,
            verified: self.config.secret.is_some(),
            body,
        };
        let is_new = self.inbox.put(received.clone());
        if is_new && let Some(printer) = &self.config.printer {
            print(printer, &received);
        }
        let receipt = match (is_new, received.verified) {
            (false, _) => Receipt::Repeated,
            (true, true) => Receipt::Verified,
            (true, false) => Receipt::Unchecked,
        };
        Ok((event, receipt))
    }
}

fn print(printer: &Printer, received: &Received) {
    match printer.output() {
        Output::Text => printer.text(&line(received)),
        // One document for each webhook: an array would never end.
        Output::Json | Output::Jsonl => printer.text(&received.to_json().to_string()),
    }
}

/// Returns the line that stands for a webhook.
fn line(received: &Received) -> String {
    let text = |name: &str| received.body[name].as_str().unwrap_or("-");
    let proof = if received.verified {
        "verified"
    } else {
        "unchecked"
    };
    let mut line = format!(
        "{}  {proof}  {}  job {}  {}",
        received.received_at,
        text("event"),
        text("job_id"),
        text("status"),
    );
    if let Some(error) = received.body["error"].as_str() {
        line.push_str(&format!("  error: {error}"));
    }
    visible(&line)
}

async fn show(State(sink): State<Arc<Sink>>, headers: HeaderMap) -> Response {
    let wants_page = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    let all = sink.inbox.all();
    if wants_page {
        return Html(page::render(&all, sink.inbox.repeats())).into_response();
    }
    let items: Vec<Value> = all.iter().map(Received::to_json).collect();
    Json(json!({"webhooks": items, "repeats_dropped": sink.inbox.repeats()})).into_response()
}

/// Returns the address under which a listener is reached.
pub fn address_of(listener: &TcpListener) -> Result<SocketAddr, Failure> {
    listener
        .local_addr()
        .map_err(|error| Failure::internal(format!("the listener has no address: {error}")))
}
