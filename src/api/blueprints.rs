//! The blueprints in use: what there is, what it takes, how it goes.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::auth::Caller;
use super::client::endpoint_path;
use super::error::{ApiError, Code};
use super::jobs::Answer;
use super::query::Parameters;
use super::{ApiState, json as answers};
use crate::blueprint::{Blueprint, graph as drawing};

fn found(state: &ApiState, name: &str) -> Result<Arc<Blueprint>, ApiError> {
    state
        .runtime
        .blueprints()
        .get(name)
        .cloned()
        .ok_or_else(|| ApiError::new(Code::BlueprintNotFound, "Blueprint not found"))
}

fn summary(state: &ApiState, blueprint: &Blueprint) -> Value {
    json!({
        "name": blueprint.name,
        "version": blueprint.version,
        "endpoint": blueprint.endpoint,
        "path": endpoint_path(state, blueprint),
        "description": blueprint.description,
        "revision": blueprint.revision,
    })
}

/// Lists the blueprints, by name.
#[utoipa::path(
    get, path = "/blueprints", tag = "blueprints",
    responses(
        (status = 200, description = "all of them, by name", body = ref("#/components/schemas/Blueprints")),
        (status = 401, description = "unauthorized"),
    ),
)]
pub async fn list(State(state): State<Arc<ApiState>>, _caller: Caller) -> Answer {
    let catalog = state.runtime.blueprints();
    Ok(answers::ok(
        &catalog
            .iter()
            .map(|blueprint| summary(&state, blueprint))
            .collect(),
    ))
}

/// Shows a blueprint with its states and its text.
#[utoipa::path(
    get, path = "/blueprints/{name}", tag = "blueprints",
    params(("name" = String, Path, description = "the blueprint")),
    responses(
        (status = 200, description = "the blueprint", body = ref("#/components/schemas/Blueprint")),
        (status = 401, description = "unauthorized"),
        (status = 404, description = "blueprint_not_found"),
    ),
)]
pub async fn show(
    State(state): State<Arc<ApiState>>,
    _caller: Caller,
    Path(name): Path<String>,
) -> Answer {
    let blueprint = found(&state, &name)?;
    let mut view = summary(&state, &blueprint);
    view["start"] = json!(blueprint.start);
    view["states"] = blueprint
        .states
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    view["source"] = json!(blueprint.source);
    Ok(answers::ok(&view))
}

/// Shows what a blueprint takes and gives, as JSON Schemas.
#[utoipa::path(
    get, path = "/blueprints/{name}/schema", tag = "blueprints",
    params(("name" = String, Path, description = "the blueprint")),
    responses(
        (status = 200, description = "the schemas; none where anything goes", body = ref("#/components/schemas/BlueprintSchemas")),
        (status = 401, description = "unauthorized"),
        (status = 404, description = "blueprint_not_found"),
    ),
)]
pub async fn schema(
    State(state): State<Arc<ApiState>>,
    _caller: Caller,
    Path(name): Path<String>,
) -> Answer {
    let blueprint = found(&state, &name)?;
    Ok(answers::ok(&json!({
        "name": blueprint.name,
        "revision": blueprint.revision,
        "input": blueprint.input,
        "output": blueprint.output,
        "events": blueprint.events,
    })))
}

/// How a graph is wanted.
#[derive(Debug, Deserialize)]
pub struct GraphQuery {
    format: Option<String>,
}

/// Draws a blueprint's states and the ways between them.
#[utoipa::path(
    get, path = "/blueprints/{name}/graph", tag = "blueprints",
    params(
        ("name" = String, Path, description = "the blueprint"),
        ("format" = Option<String>, Query, description = "by default dot"),
    ),
    responses(
        (status = 200, description = "the graph", content(
            (ref("#/components/schemas/Graph") = "text/vnd.graphviz; charset=utf-8"),
            (ref("#/components/schemas/Graph") = "text/vnd.mermaid; charset=utf-8"),
            (ref("#/components/schemas/Graph") = "image/svg+xml"),
        )),
        (status = 400, description = "invalid_query"),
        (status = 401, description = "unauthorized"),
        (status = 404, description = "blueprint_not_found"),
    ),
)]
pub async fn graph(
    State(state): State<Arc<ApiState>>,
    _caller: Caller,
    Path(name): Path<String>,
    Parameters(query): Parameters<GraphQuery>,
) -> Answer {
    let blueprint = found(&state, &name)?;
    let (text, content_type) = match query.format.as_deref().unwrap_or("dot") {
        "dot" => (drawing::dot(&blueprint), "text/vnd.graphviz; charset=utf-8"),
        "mermaid" => (
            drawing::mermaid(&blueprint),
            "text/vnd.mermaid; charset=utf-8",
        ),
        "svg" => (drawing::svg(&blueprint), "image/svg+xml"),
        _ => {
            return Err(ApiError::new(
                Code::InvalidQuery,
                "format must be dot, mermaid or svg",
            ));
        }
    };
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    // Opened in a browser, a drawing stays a drawing.
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'"),
    );
    Ok(response)
}
