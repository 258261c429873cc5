//! What anybody may ask: whether the server lives, and whether it can take work.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::{ApiState, json as answers};
use crate::observe::CONTENT_TYPE;
use crate::protocol::headers::PROTOCOL_VERSION;

/// Says what this is and where to go on.
#[utoipa::path(
    get, path = "/", tag = "public",
    responses((status = 200, description = "name, versions and links", body = ref("#/components/schemas/Index"))),
)]
pub async fn index() -> Response {
    answers::ok(&json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "protocol": PROTOCOL_VERSION,
        "links": {
            "status": "/_public/status",
            "ready": "/_public/ready",
            "metrics": "/_public/metrics",
            "openapi": "/_public/openapi.json",
            "docs": "/_public/docs",
        },
    }))
}

/// Says that the process lives. Looks at nothing else, so that a restart is asked for only when
/// one would help.
#[utoipa::path(
    get, path = "/_public/status", tag = "public",
    responses((status = 200, description = "alive", body = ref("#/components/schemas/Alive"))),
)]
pub async fn status() -> Response {
    answers::ok(&json!({"status": "ok"}))
}

/// Says whether work can be accepted, and what stands in the way.
#[utoipa::path(
    get, path = "/_public/ready", tag = "public",
    responses(
        (status = 200, description = "ready", body = ref("#/components/schemas/Readiness")),
        (status = 503, description = "not ready; `checks` says what is wrong", body = ref("#/components/schemas/Readiness")),
    ),
)]
pub async fn ready(State(state): State<Arc<ApiState>>) -> Result<Response, super::ApiError> {
    let readiness = state.runtime.readiness().await;
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    Ok(answers::reply(status, &answers::value_of(&readiness)?))
}

/// Returns the figures of this process and of all that it knows, for Prometheus and its like. Every
/// orchestrator has figures of its own.
#[utoipa::path(
    get, path = "/_public/metrics", tag = "public",
    responses((
        status = 200, description = "Prometheus' text format, version 0.0.4",
        body = String, content_type = "text/plain; version=0.0.4; charset=utf-8",
        example = "# TYPE orchestrator_open_polls gauge\norchestrator_open_polls 3\n",
    )),
)]
pub async fn metrics(State(state): State<Arc<ApiState>>) -> Response {
    let text = state.runtime.scrape().await;
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response()
}
