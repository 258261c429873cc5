//! Floor 6: HTTP. Routes, authentication, limits, and the one form of errors.
//!
//! Everything here turns requests into calls of the [`Runtime`] and its answers into responses;
//! it touches no store and decides nothing about a job. [`router`] is the whole API over one
//! [`ApiState`], [`client_router`] and [`worker_router`] are its halves; [`server::serve`] runs any
//! router.
//!
//! Groups: `/_worker` ([`worker`], [`socket`]), `/_public` ([`public`], [`links`]), and the client
//! routes ([`client`] and its resources), which are mounted per request from the catalog as it is,
//! so that a reloaded blueprint has its endpoint at once.

pub mod approval;
pub mod auth;
pub mod blueprints;
pub mod client;
pub mod conditional;
pub mod contracts;
pub mod create;
pub mod docs;
mod downloads;
pub mod envelope;
pub mod error;
pub mod events;
pub mod files;
pub mod job_view;
pub mod jobs;
pub mod json;
pub mod limits;
pub mod links;
pub mod listing;
pub mod openapi;
mod places;
pub mod public;
pub mod query;
pub mod search;
pub mod server;
pub mod settings;
pub mod socket;
pub mod verify;
pub mod worker;
pub mod workers;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use auth::{ClientBook, WorkerTokens};
pub use error::{ApiError, CODES, Code};
pub use limits::{Rate, RateLimits};
pub use server::{Draining, ServerSettings, serve};
pub use settings::{ApiSettings, FileLinks, WorkerAuthMode};

use crate::base::{ClientId, Timestamp};
use crate::runtime::Runtime;

/// What all handlers share.
pub struct ApiState {
    /// The shell.
    pub runtime: Runtime,
    /// The clients; store a new book to reload them.
    pub clients: ArcSwap<ClientBook>,
    /// The settings.
    pub settings: ApiSettings,
    worker_tokens: Arc<dyn WorkerTokens>,
    buckets: limits::Buckets,
    uploads: places::Places<ClientId>,
    downloads: downloads::Downloads,
    contracts: contracts::Contracts,
    documents: openapi::Documents,
}

impl ApiState {
    /// Puts the parts together.
    pub fn new(
        runtime: Runtime,
        clients: ClientBook,
        worker_tokens: Arc<dyn WorkerTokens>,
        settings: ApiSettings,
    ) -> Self {
        Self {
            runtime,
            clients: ArcSwap::from_pointee(clients),
            settings,
            worker_tokens,
            buckets: limits::Buckets::default(),
            uploads: places::Places::default(),
            downloads: downloads::Downloads::default(),
            contracts: contracts::Contracts::default(),
            documents: openapi::Documents::default(),
        }
    }

    /// Returns the workers' tokens.
    pub fn tokens(&self) -> &dyn WorkerTokens {
        self.worker_tokens.as_ref()
    }

    fn now(&self) -> Timestamp {
        self.runtime.clock().now()
    }
}

/// Those of everybody.
fn public_routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::default()
        .routes(routes!(public::index))
        .routes(routes!(public::status))
        .routes(routes!(public::ready))
        .routes(routes!(public::metrics))
        .routes(routes!(openapi::document))
        .routes(routes!(docs::page))
        .route("/_public/docs/", get(docs::without_slash))
        .routes(routes!(docs::plain::page))
        .routes(routes!(docs::file))
        .routes(routes!(approval::by_token))
        .routes(routes!(links::download, links::upload))
}

/// Those of workers.
fn worker_routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::default()
        .routes(routes!(worker::register))
        .routes(routes!(worker::heartbeat))
        .routes(routes!(worker::next_task))
        .routes(routes!(worker::result))
        .routes(routes!(worker::event::event))
        .routes(routes!(worker::tokens::issue_token))
        .routes(routes!(worker::tokens::refresh_token))
        .routes(routes!(socket::socket))
}

/// Returns the whole API.
pub fn router(state: Arc<ApiState>) -> Router {
    with_clients(public_routes().merge(worker_routes()), state)
}

/// Returns the API without what is for workers, for a port where they do not come.
pub fn client_router(state: Arc<ApiState>) -> Router {
    with_clients(public_routes(), state)
}

/// Returns what is for workers, and whether the server is alive and ready, for a port of theirs.
pub fn worker_router(state: Arc<ApiState>) -> Router {
    let (routes, _) = worker_routes()
        .routes(routes!(public::status))
        .routes(routes!(public::ready))
        .routes(routes!(public::metrics))
        .split_for_parts();
    layered(routes.fallback(envelope::no_such_route), state)
}

fn with_clients(fixed: OpenApiRouter<Arc<ApiState>>, state: Arc<ApiState>) -> Router {
    let dispatch = client::Dispatch::new(Arc::clone(&state));
    let (fixed, _) = fixed.split_for_parts();
    let routes = fixed.fallback(move |request| dispatch.clone().answer(request));
    layered(routes, state)
}

/// Layers, outermost first: envelope (request id, version, panics, error form), compression, request
/// decompression, routes.
fn layered(routes: Router<Arc<ApiState>>, state: Arc<ApiState>) -> Router {
    routes
        .layer(limits::decompression())
        .layer(limits::compression())
        .layer(from_fn_with_state(Arc::clone(&state), envelope::envelope))
        .with_state(state)
}
