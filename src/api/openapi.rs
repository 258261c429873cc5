//! The API's description, generated from the handlers and the catalog as it is.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

use super::error::{ApiError, CODES};
use super::{ApiState, client, fixed_routes, json as answers};
use crate::blueprint::Blueprint;
use crate::domain::Object;

/// The groups of routes.
const TAGS: [&str; 6] = ["public", "jobs", "files", "blueprints", "workers", "worker"];

/// Describes this API in OpenAPI 3.1.
#[utoipa::path(
    get, path = "/_public/openapi.json", tag = "public",
    responses((status = 200, description = "the document", body = Object)),
)]
pub async fn document(State(state): State<Arc<ApiState>>) -> Result<Response, ApiError> {
    Ok(answers::ok(&describe(&state)?))
}

/// Builds the document: fixed routes, the client routes under each mount, and the blueprints'
/// endpoints with their input schemas.
pub fn describe(state: &ApiState) -> Result<Value, ApiError> {
    let mut paths = paths_of(&fixed_routes().into_openapi())?;
    let common = paths_of(&client::routes().into_openapi())?;
    for mount in client::mounts(state) {
        for (path, item) in &common {
            paths.insert(format!("{mount}{path}"), protected(item.clone()));
        }
    }
    if state.settings.public_blueprints && state.settings.client_api {
        let catalog = state.runtime.blueprints();
        for blueprint in catalog.iter() {
            if let Some(path) = client::endpoint_path(state, blueprint) {
                let item = paths.entry(path).or_insert_with(|| json!({}));
                item["post"] = creation(blueprint);
            }
        }
    }
    name_operations(&mut paths);
    Ok(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Avtomatika",
            "description": "Durable jobs on many machines. Errors are `{error, code, request_id}`.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "MPL-2.0", "identifier": "MPL-2.0"},
        },
        "servers": state.settings.public_url.as_ref().map(|url| json!([{"url": url}])),
        "tags": TAGS.map(|name| json!({"name": name})),
        "paths": paths,
        "components": {
            "schemas": {"Error": error_schema()},
            "securitySchemes": {
                "client": {"type": "apiKey", "in": "header", "name": "X-Client-Token"},
                "worker": {"type": "apiKey", "in": "header", "name": "X-Worker-Token"},
            },
        },
    }))
}

/// Returns the paths of a generated document, with every error answer in the one form.
fn paths_of(document: &OpenApi) -> Result<Object, ApiError> {
    let Value::Object(mut document) = answers::value_of(document)? else {
        return Err(ApiError::internal(&"the document is no object"));
    };
    let Some(Value::Object(mut paths)) = document.remove("paths") else {
        return Err(ApiError::internal(&"the document has no paths"));
    };
    for (path, item) in &mut paths {
        let is_worker = path.starts_with("/_worker/") && path != "/_worker/auth/token/refresh";
        for operation in item.as_object_mut().into_iter().flat_map(Map::values_mut) {
            if is_worker {
                operation["security"] = json!([{"worker": []}]);
            }
            with_error_form(operation);
        }
    }
    Ok(paths)
}

/// Names every operation by its method and path: the handlers' own names repeat, and so does each
/// route under every mount.
fn name_operations(paths: &mut Object) {
    for (path, item) in paths {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            let words = path.split(|c: char| !c.is_ascii_alphanumeric());
            let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
            operation["operationId"] = json!(format!("{method}_{}", words.join("_")));
        }
    }
}

fn with_error_form(operation: &mut Value) {
    let Some(responses) = operation
        .get_mut("responses")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    for (status, response) in responses {
        if status.starts_with('4') || status.starts_with('5') {
            response["content"] =
                json!({"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}});
        }
    }
}

/// Adds that a client's token is needed, and the answers that every such route can give.
fn protected(mut item: Value) -> Value {
    for operation in item.as_object_mut().into_iter().flat_map(Map::values_mut) {
        operation["security"] = json!([{"client": []}]);
        operation["responses"]["429"] = json!({"description": "rate_limited"});
        operation["responses"]["503"] =
            json!({"description": "store_unavailable, busy, shutting_down"});
        with_error_form(operation);
    }
    item
}

fn error_schema() -> Value {
    json!({
        "type": "object",
        "required": ["error", "code"],
        "properties": {
            "error": {"type": "string", "description": "for people"},
            "code": {"type": "string", "enum": CODES.iter().map(|(code, ..)| code).collect::<Vec<_>>()},
            "request_id": {"type": "string", "description": "finds the request in the log"},
        },
    })
}

/// Describes how a blueprint's jobs are created.
fn creation(blueprint: &Blueprint) -> Value {
    let input = blueprint.input.clone().unwrap_or_else(|| json!({}));
    let operation = json!({
        "tags": ["jobs"],
        "summary": format!("Creates a job of blueprint `{}`.", blueprint.name),
        "description": blueprint.description,
        "parameters": [{
            "name": "Idempotency-Key", "in": "header", "required": false,
            "description": "the same key and body make one job",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        }],
        "requestBody": {
            "required": true,
            "content": {"application/json": {"schema": creation_schema(&input)}},
        },
        "responses": {
            "202": {
                "description": "accepted",
                "content": {"application/json": {"schema": {
                    "type": "object",
                    "required": ["job_id", "status"],
                    "properties": {
                        "job_id": {"type": "string", "format": "uuid"},
                        "status": {"const": "accepted"},
                    },
                }}},
            },
            "400": {"description": "invalid_json, invalid_request, invalid_input"},
            "401": {"description": "unauthorized"},
            "408": {"description": "request_timeout"},
            "409": {"description": "idempotency_key_reused"},
            "413": {"description": "body_too_large"},
            "429": {"description": "rate_limited, quota_exceeded"},
        },
    });
    let item = protected(json!({"post": operation}));
    item["post"].clone()
}

fn creation_schema(input: &Value) -> Value {
    json!({
        "type": "object",
        "properties": {
            "initial_data": input,
            "webhook_url": {"type": "string", "format": "uri", "maxLength": 2048},
            "dispatch_timeout": {"type": "number", "exclusiveMinimum": 0, "description": "seconds"},
            "result_timeout": {"type": "number", "exclusiveMinimum": 0, "description": "seconds"},
            "policy": {
                "type": "object",
                "properties": {
                    "allowed_skills": {
                        "type": "array", "minItems": 1, "items": {"type": "string"},
                    },
                },
            },
            "max_transitions": {"type": "integer", "minimum": 1},
            "labels": {
                "type": "object", "maxProperties": 64,
                "additionalProperties": {"type": "string", "maxLength": 256},
            },
            "metadata": {"type": "object"},
            "data_metadata": {"type": "object"},
            "security": {},
        },
    })
}
