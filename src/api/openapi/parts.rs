//! What the operations refer to: schemas, parameters, headers, an example of every error, and how
//! callers show who they are.

use serde_json::{Value, json};

use crate::api::error::{ApiError, CODES};
use crate::domain::Object;

/// Where schemas are, up to their names.
pub(super) const SCHEMAS: &str = "#/components/schemas/";

fn read(text: &str) -> Result<Object, ApiError> {
    serde_saphyr::from_str(text).map_err(|error| ApiError::internal(&error))
}

/// Returns the schemas of all bodies, by name.
pub(super) fn schemas() -> Result<Object, ApiError> {
    let mut schemas = read(include_str!("schemas.yaml"))?;
    schemas.extend(read(include_str!("wire.yaml"))?);
    schemas.insert("Error".to_owned(), error());
    Ok(schemas)
}

/// Returns what parameters of a name may be, wherever they are.
pub(super) fn parameters() -> Result<Object, ApiError> {
    read(include_str!("parameters.yaml"))
}

fn error() -> Value {
    let codes: Vec<&str> = CODES.iter().map(|(code, ..)| *code).collect();
    json!({
        "type": "object",
        "required": ["error", "code"],
        "properties": {
            "error": {"type": "string", "description": "for people"},
            "code": {"type": "string", "enum": codes, "description": "stable"},
            "request_id": {"type": "string", "description": "finds the request in the log"},
        },
        "examples": [example_of(CODES[0].0, CODES[0].2)],
    })
}

fn example_of(code: &str, meaning: &str) -> Value {
    json!({
        "error": meaning.trim_end_matches('.').replace('`', ""),
        "code": code,
        "request_id": "01a2077f-ef04-70ed-a54d-b6abff5e0442",
    })
}

/// Returns the components without those of the blueprints.
pub(super) fn components() -> Result<Value, ApiError> {
    let examples: Object = CODES
        .iter()
        .map(|(code, status, meaning)| {
            let summary = format!("{status} {code}");
            let value = example_of(code, meaning);
            let example = json!({"summary": summary, "description": meaning, "value": value});
            ((*code).to_owned(), example)
        })
        .collect();
    Ok(json!({
        "schemas": schemas()?,
        "examples": examples,
        "headers": {
            "RequestId": {
                "description": "finds the request in the log; the caller's own when it was short and printable",
                "schema": {"type": "string", "minLength": 1, "maxLength": 128},
            },
            "RetryAfter": {
                "description": "seconds after which the same request may go through",
                "schema": {"type": "integer", "minimum": 1},
            },
        },
        "securitySchemes": {
            "client": {
                "type": "apiKey", "in": "header", "name": "X-Client-Token",
                "description": "A client's token, as clients.toml has it.",
            },
            "worker": {
                "type": "apiKey", "in": "header", "name": "X-Worker-Token",
                "description": "A worker's own token, the global one, or an access token.",
            },
        },
    }))
}
