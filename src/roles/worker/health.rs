//! `GET /health`, for whoever supervises the process.

use anyhow::Context as _;
use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::error;

/// Takes the port on all addresses.
pub(super) async fn bind(port: u16) -> anyhow::Result<TcpListener> {
    TcpListener::bind(("0.0.0.0", port))
        .await
        .with_context(|| format!("health port {port}"))
}

/// Answers until `stop`.
pub(super) async fn serve(listener: TcpListener, stop: CancellationToken) {
    let app = Router::new().route("/health", get(|| async { "OK" }));
    let serving = axum::serve(listener, app).into_future();
    tokio::select! {
        () = stop.cancelled() => {}
        Err(error) = serving => error!(%error, "health endpoint failed"),
    }
}
