//! Where the API listens: one port for everybody, or one for clients and one for workers alone.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{self, ApiState, ServerSettings};
use crate::config::Settings;
use crate::net::{ListenerFiles, ListenerTls};
use crate::roles::exit::Failure;

/// A bound port and the certificate that it shows.
struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<ListenerTls>>,
}

impl Listener {
    async fn bind(host: &str, port: u16, files: Option<ListenerFiles>) -> anyhow::Result<Self> {
        let tls = files.map(ListenerTls::open).transpose()?.map(Arc::new);
        let socket = TcpListener::bind((host, port))
            .await
            .map_err(|error| Failure::cannot_listen(&format!("{host}:{port}"), "--port", &error))?;
        let address = socket.local_addr()?;
        Ok(Self {
            socket,
            address,
            tls,
        })
    }
}

/// The ports of one orchestrator.
pub(super) struct Listeners {
    /// Of clients; of workers too when they have none of their own.
    clients: Listener,
    workers: Option<Listener>,
}

impl Listeners {
    /// Takes the ports.
    pub(super) async fn bind(settings: &Settings) -> anyhow::Result<Self> {
        let http = &settings.http;
        let host = http.host.as_str();
        let Some(worker_port) = http.worker_port else {
            return Ok(Self {
                clients: Listener::bind(host, http.port, http.tls.clone()).await?,
                workers: None,
            });
        };
        // Clients have tokens and need no certificate: what is said of certificates is said of the
        // workers' port (CQ4).
        let plain = http.tls.clone().map(|files| ListenerFiles {
            client_ca: None,
            requires_client: false,
            ..files
        });
        Ok(Self {
            clients: Listener::bind(host, http.port, plain).await?,
            workers: Some(Listener::bind(host, worker_port, http.tls.clone()).await?),
        })
    }

    /// Returns where clients come.
    pub(super) fn address(&self) -> SocketAddr {
        self.clients.address
    }

    /// Returns where workers come, when that is another place.
    pub(super) fn workers_address(&self) -> Option<SocketAddr> {
        self.workers.as_ref().map(|workers| workers.address)
    }

    /// Returns the certificates, to be read again.
    pub(super) fn certificates(&self) -> Vec<Arc<ListenerTls>> {
        let of_workers = self
            .workers
            .iter()
            .filter_map(|workers| workers.tls.clone());
        self.clients.tls.iter().cloned().chain(of_workers).collect()
    }

    /// Serves until `stop`. Each port has connections of its own, so that clients cannot take the
    /// workers' places.
    pub(super) fn serve(
        self,
        state: &Arc<ApiState>,
        settings: &Settings,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let start = |listener: Listener, app: Router| {
            let server = ServerSettings {
                connections_max: settings.http.connections_max,
                drain_timeout: settings.http.shutdown_timeout,
                tls: listener.tls,
                ..ServerSettings::default()
            };
            tasks.spawn(api::serve(listener.socket, app, server, stop.clone()));
        };
        match self.workers {
            None => start(self.clients, api::router(Arc::clone(state))),
            Some(workers) => {
                start(self.clients, api::client_router(Arc::clone(state)));
                start(workers, api::worker_router(Arc::clone(state)));
            }
        }
    }
}
