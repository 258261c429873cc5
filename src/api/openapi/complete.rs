//! Completes the operations as the handlers declare them: what every route of a kind has, the schema
//! and the examples of each error, what parameters may be, who may call.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

use super::parts;
use crate::api::error::{ApiError, CODES};
use crate::api::json as answers;
use crate::domain::Object;

/// Whom routes are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    Public,
    Client,
    Worker,
}

/// What a body's description says when there need be none.
const OPTIONAL: &str = "may be left out";

/// Returns the paths of a generated document, each operation complete.
pub(super) fn paths(document: &OpenApi, audience: Audience) -> Result<Object, ApiError> {
    let Value::Object(mut document) = answers::value_of(document)? else {
        return Err(ApiError::internal(&"the document is no object"));
    };
    let Some(Value::Object(mut paths)) = document.remove("paths") else {
        return Err(ApiError::internal(&"the document has no paths"));
    };
    let schemas = parts::schemas()?;
    let parameters = parts::parameters()?;
    for (path, item) in &mut paths {
        for operation in item.as_object_mut().into_iter().flat_map(Map::values_mut) {
            let kind = match (audience, path.as_str()) {
                // The token is in the body.
                (_, "/_worker/auth/token/refresh") => Audience::Public,
                _ => audience,
            };
            complete(operation, kind);
            complete_parameters(operation, &parameters);
            add_examples(operation, &schemas);
        }
    }
    Ok(paths)
}

/// Adds what every operation for these callers has.
pub(super) fn complete(operation: &mut Value, audience: Audience) {
    let is_there = |value: &Value| !value.is_null();
    let has_body = is_there(&operation["requestBody"]);
    let places = operation["parameters"].as_array();
    let has_place = places.is_some_and(|all| all.iter().any(|one| one["in"] == "path"));
    if let Some(summary) = operation["summary"].as_str() {
        // One line, however the handler's comment is broken.
        operation["summary"] = json!(summary.replace('\n', " "));
    }
    if has_body {
        let body = &mut operation["requestBody"];
        let about = body["description"].as_str().unwrap_or_default();
        body["required"] = json!(!about.contains(OPTIONAL));
    }
    match audience {
        Audience::Public => {}
        Audience::Client => {
            operation["security"] = json!([{"client": []}]);
            add_errors(operation, 401, &["unauthorized"]);
            add_errors(operation, 429, &["rate_limited"]);
            add_errors(
                operation,
                503,
                &["store_unavailable", "busy", "shutting_down"],
            );
        }
        Audience::Worker => {
            operation["security"] = json!([{"worker": []}]);
            add_errors(operation, 400, &["invalid_message"]);
            add_errors(operation, 401, &["token_expired"]);
            add_errors(operation, 403, &["worker_unauthorized"]);
            add_errors(operation, 429, &["LIMIT_EXCEEDED_ERROR"]);
            add_errors(
                operation,
                503,
                &["store_unavailable", "busy", "shutting_down"],
            );
        }
    }
    if has_place {
        // A part of the path that is no UTF-8.
        add_errors(operation, 400, &["invalid_request"]);
    }
    if has_body {
        add_errors(operation, 408, &["request_timeout"]);
        add_errors(operation, 413, &["body_too_large"]);
        add_errors(operation, 415, &["unsupported_encoding"]);
    }
    add_errors(operation, 431, &["header_too_large"]);
    add_errors(operation, 500, &["internal_error"]);
    complete_answers(operation);
    if let Some(Value::Object(answers)) = operation.get_mut("responses") {
        answers.sort_keys();
    }
}

/// Adds codes to an answer, which says them at the beginning of its description.
fn add_errors(operation: &mut Value, status: u16, codes: &[&str]) {
    let answer = &mut operation["responses"][status.to_string()];
    let text = answer["description"].as_str().unwrap_or_default();
    let (known, more) = text.split_once(':').unwrap_or((text, ""));
    let known: Vec<&str> = known.split(',').map(str::trim).collect();
    let all = known
        .iter()
        .chain(codes.iter().filter(|code| !known.contains(code)));
    let all: Vec<&str> = all.copied().filter(|code| !code.is_empty()).collect();
    let more = more.trim();
    let colon = if more.is_empty() { "" } else { ": " };
    answer["description"] = json!(format!("{}{colon}{more}", all.join(", ")));
}

/// Returns the codes that an answer's description begins with.
fn codes_of(answer: &Value) -> Vec<&str> {
    let text = answer["description"].as_str().unwrap_or_default();
    let codes = text.split(':').next().unwrap_or_default();
    let known: BTreeSet<&str> = CODES.iter().map(|(code, ..)| *code).collect();
    let codes = codes.split(',').map(str::trim);
    codes.filter(|code| known.contains(code)).collect()
}

/// Gives every answer its headers, and every error its schema and examples.
fn complete_answers(operation: &mut Value) {
    let Some(Value::Object(all)) = operation.get_mut("responses") else {
        return;
    };
    for (status, answer) in all {
        let header = |name: &str| json!({"$ref": format!("#/components/headers/{name}")});
        answer["headers"]["X-Request-ID"] = header("RequestId");
        if status == "429" || status == "503" {
            answer["headers"]["Retry-After"] = header("RetryAfter");
        }
        let codes = codes_of(answer);
        if codes.is_empty() {
            continue;
        }
        let examples: Object = codes
            .iter()
            .map(|code| {
                let place = format!("#/components/examples/{code}");
                ((*code).to_owned(), json!({"$ref": place}))
            })
            .collect();
        answer["content"] = json!({"application/json": {
            "schema": {
                "$ref": "#/components/schemas/Error",
                "properties": {"code": {"enum": codes}},
            },
            "examples": examples,
        }});
    }
}

/// Says of every parameter what it may be: by its declaration, or as the table has it.
fn complete_parameters(operation: &mut Value, table: &Object) {
    let all = operation
        .get_mut("parameters")
        .and_then(Value::as_array_mut);
    for parameter in all.into_iter().flatten() {
        // A parameter that is not there is not there; none is sent as null.
        if let Some(Value::Array(types)) = parameter.pointer_mut("/schema/type") {
            types.retain(|kind| kind != "null");
            if let [only] = types.as_slice() {
                parameter["schema"]["type"] = only.clone();
            }
        }
        let known = parameter["name"].as_str().and_then(|name| table.get(name));
        let known = known.and_then(Value::as_object).cloned();
        for (member, value) in known.iter().flatten() {
            match (parameter.get_mut(member), value) {
                (Some(Value::Object(own)), Value::Object(more)) if is_said(own) => {
                    let missing = more.iter().filter(|(name, _)| !own.contains_key(*name));
                    let missing: Vec<_> = missing.map(|(n, v)| (n.clone(), v.clone())).collect();
                    own.extend(missing);
                }
                _ => parameter[member] = value.clone(),
            }
        }
        if parameter["required"] != true {
            name_example(parameter);
        }
    }
}

/// Names the example of a parameter that may be left out in its description only: what tries routes out
/// fills examples in, and would ask for what nobody wants.
fn name_example(parameter: &mut Value) {
    let example = parameter
        .as_object_mut()
        .and_then(|all| all.remove("example"));
    let words: Vec<String> = match example {
        None => return,
        Some(Value::Array(all)) => all.iter().map(code).collect(),
        Some(one) => vec![code(&one)],
    };
    let about = parameter["description"].as_str().unwrap_or_default();
    parameter["description"] = json!(format!("{about}; for example {}", words.join(" and ")));
}

fn code(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| format!("`{value}`"), |text| format!("`{text}`"))
}

/// Tells whether a handler says more of a parameter than its type.
fn is_said(schema: &Object) -> bool {
    ["minimum", "pattern"]
        .iter()
        .any(|name| schema.contains_key(*name))
}

/// Shows an example of every body whose schema has one.
fn add_examples(operation: &mut Value, schemas: &Object) {
    let mut contents = Vec::new();
    for (name, said) in operation.as_object_mut().into_iter().flatten() {
        match (name.as_str(), said) {
            ("requestBody", body) => contents.extend(body.get_mut("content")),
            ("responses", Value::Object(answers)) => {
                let answers = answers.values_mut();
                contents.extend(answers.filter_map(|answer| answer.get_mut("content")));
            }
            _ => {}
        }
    }
    let media = contents.into_iter().filter_map(Value::as_object_mut);
    for media in media.flat_map(Map::values_mut) {
        let name = media["schema"]["$ref"].as_str();
        let name = name.and_then(|place| place.strip_prefix(parts::SCHEMAS));
        let example = name.and_then(|name| schemas.get(name)?["examples"].get(0));
        let is_bare = media.get("examples").is_none() && media.get("example").is_none();
        if let Some(example) = example.filter(|_| is_bare) {
            media["example"] = example.clone();
        }
    }
}
