//! Where a role that is no orchestrator tells how it does: probes for whoever supervises the process,
//! figures for whoever measures. The routes are there under the orchestrator's names too, so that
//! `health` and a scraper ask every role alike.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Json, Response};
use axum::routing::get;
use serde::Serialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::exit::Failure;
use crate::api::{ServerSettings, serve};
use crate::observe::CONTENT_TYPE;

/// The flag that names the address.
pub const METRICS_ADDR: &str = "--metrics-addr";
/// Whoever asks comes alone and asks for little.
const CONNECTIONS_MAX: usize = 64;
/// Longest time that the end of the process waits for an answer under way.
const DRAIN: Duration = Duration::from_secs(2);

/// Where a role tells how it does.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ProbeArgs {
    /// Serve figures at /metrics and probes at /health and /ready on this address; :PORT is one of
    /// all addresses, port 0 a free one
    #[arg(long, value_name = "HOST:PORT", env = "METRICS_ADDR")]
    pub metrics_addr: Option<String>,
}

impl ProbeArgs {
    /// Takes the address, when there is to be one.
    ///
    /// Errors: it is none, or cannot be listened on.
    pub async fn listen(&self) -> Result<Option<Probes>, Failure> {
        match self.metrics_addr.as_deref() {
            None | Some("") => Ok(None),
            Some(address) => Probes::listen(METRICS_ADDR, address).await.map(Some),
        }
    }
}

/// Whether a role takes work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// It does.
    pub ready: bool,
    /// What was looked at, and what was found.
    pub checks: BTreeMap<&'static str, String>,
}

/// A role that tells how it does. Both answers come from memory.
pub trait Telling: Send + Sync + 'static {
    /// Returns all figures as text.
    fn figures(&self) -> String;
    /// Says whether it takes work.
    fn readiness(&self) -> Readiness;
}

/// An address that has been taken.
#[derive(Debug)]
pub struct Probes {
    listener: TcpListener,
    address: SocketAddr,
}

impl Probes {
    /// Takes an address, which that flag names, and says so in the log.
    ///
    /// Errors: it is none, or cannot be listened on.
    pub async fn listen(flag: &str, address: &str) -> Result<Self, Failure> {
        let is_address = address
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        if !is_address {
            return Err(
                Failure::usage(format!("{flag}: `{address}` is not HOST:PORT")).hint(
                    "127.0.0.1:9100 is one of this machine alone, :9100 one of all addresses",
                ),
            );
        }
        let address = match address.strip_prefix(':') {
            Some(port) => format!("0.0.0.0:{port}"),
            None => address.to_owned(),
        };
        let bound = TcpListener::bind(&address).await;
        let bound = bound.and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (local, listener) =
            bound.map_err(|error| Failure::cannot_listen(&address, flag, &error))?;
        tracing::info!(address = %local, "serving figures and probes");
        Ok(Self {
            listener,
            address: local,
        })
    }

    /// Returns the address.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Works to the end of it, and answers meanwhile where there is an address for that: what
    /// happens in the last moments is told as well.
    pub async fn beside<W: Future>(
        probes: Option<Self>,
        role: Arc<dyn Telling>,
        work: W,
    ) -> W::Output {
        let Some(probes) = probes else {
            return work.await;
        };
        let ended = CancellationToken::new();
        let ending = async {
            let done = work.await;
            ended.cancel();
            done
        };
        tokio::join!(ending, probes.serve(role, ended.clone())).0
    }

    /// Answers until told to stop.
    pub async fn serve(self, role: Arc<dyn Telling>, stop: CancellationToken) {
        let settings = ServerSettings {
            connections_max: CONNECTIONS_MAX,
            drain_timeout: DRAIN,
            ..ServerSettings::default()
        };
        serve(self.listener, router(role), settings, stop).await;
    }
}

/// Where is answered: liveness, readiness and figures, each by its own name and by the orchestrator's.
pub const PATHS: [[&str; 2]; 3] = [
    ["/health", "/_public/status"],
    ["/ready", "/_public/ready"],
    ["/metrics", "/_public/metrics"],
];

/// The routes. `/health` is the original's, of its worker.
fn router(role: Arc<dyn Telling>) -> Router {
    let [[health, status], both_ready, both_metrics] = PATHS;
    let mut routes = Router::new()
        .route(health, get(|| async { "OK" }))
        .route(status, get(|| async { Json(json!({"status": "ok"})) }));
    for path in both_ready {
        routes = routes.route(path, get(ready));
    }
    for path in both_metrics {
        routes = routes.route(path, get(metrics));
    }
    routes.with_state(role)
}

async fn ready(State(role): State<Arc<dyn Telling>>) -> Response {
    let readiness = role.readiness();
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(readiness)).into_response()
}

async fn metrics(State(role): State<Arc<dyn Telling>>) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], role.figures()).into_response()
}
