//! The blueprints' endpoints: what a job of each takes, what its client gets, and what can be done
//! with it next.

use serde_json::{Value, json};

use super::complete::{Audience, complete};
use super::embed::{local, sample};
use super::{operation_id, parts};
use crate::api::create::{self, members};
use crate::blueprint::Blueprint;
use crate::domain::Object;

/// Where a blueprint's own schemas are.
fn place(blueprint: &Blueprint, what: &str) -> String {
    format!("{}{}", parts::SCHEMAS, name(blueprint, what))
}

fn name(blueprint: &Blueprint, what: &str) -> String {
    format!("{}.{what}", blueprint.name)
}

/// Adds what a blueprint takes and gives to the components' schemas.
pub(super) fn add_schemas(components: &mut Value, blueprint: &Blueprint) {
    for (what, schema) in [("input", &blueprint.input), ("output", &blueprint.output)] {
        if let Some(schema) = schema {
            let place = place(blueprint, what);
            components["schemas"][name(blueprint, what)] = local(schema, &place);
        }
    }
}

/// Describes how a blueprint's jobs are created. The mount is that of the routes by which the job is
/// seen afterwards.
pub(super) fn creation(blueprint: &Blueprint, mount: &str, transitions_max: u32) -> Value {
    let output = blueprint
        .output
        .as_ref()
        .map(|_| place(blueprint, "output"));
    let mut operation = json!({
        "tags": ["jobs"],
        "summary": format!("Creates a job of blueprint {}.", blueprint.name),
        "parameters": headers(),
        "requestBody": {
            "required": true,
            "content": {"application/json": {"schema": body(blueprint, transitions_max)}},
        },
        "responses": {
            "202": {
                "description": "accepted",
                "content": {"application/json": {
                    "schema": {"$ref": "#/components/schemas/JobAccepted"},
                    "example": {
                        "job_id": "01a2077f-ef04-70ed-a54d-b6abff5e0442",
                        "status": "accepted",
                    },
                }},
                "links": links(mount),
            },
            "400": {"description": "invalid_json, invalid_request, invalid_input"},
            "409": {"description": "idempotency_key_reused"},
            "413": {"description": "body_too_large"},
            "429": {"description": "rate_limited, quota_exceeded"},
        },
        "callbacks": {"event": {"{$request.body#/webhook_url}": {"post": webhook(output)}}},
    });
    if let Some(description) = &blueprint.description {
        operation["description"] = json!(description);
    }
    if let Some(example) = example(blueprint) {
        operation["requestBody"]["content"]["application/json"]["example"] = example;
    }
    complete(&mut operation, Audience::Client);
    operation
}

/// The headers that count when a job is created.
fn headers() -> Value {
    let trace = |name: &str, about: &str| {
        json!({
            "name": name, "in": "header", "required": false, "description": about,
            "schema": {"type": "string"},
        })
    };
    json!([
        {
            "name": "Idempotency-Key", "in": "header", "required": false,
            "description": "the same key and body make one job; for example `order-4711`",
            "schema": {
                "type": "string", "minLength": 1, "maxLength": create::KEY_CHARS_MAX,
                "pattern": "^[!-~]([ -~]*[!-~])?$",
            },
        },
        trace("traceparent", "the caller's trace, which the job becomes part of; one that is none, or too long, is left alone"),
        trace("tracestate", "goes on with the job"),
        trace("baggage", "goes on with the job"),
    ])
}

/// What can be done with the job that was created.
fn links(mount: &str) -> Value {
    let links: Object = [
        ("see", "get", ""),
        ("follow", "get", "/events"),
        ("history", "get", "/history"),
        ("explain", "get", "/explain"),
        ("deliveries", "get", "/deliveries"),
        ("files", "get", "/files"),
        ("cancel", "post", "/cancel"),
        ("retry", "post", "/retry"),
        ("approve", "post", "/approve"),
        ("signal", "post", "/events"),
    ]
    .into_iter()
    .map(|(name, method, route)| {
        let operation = operation_id(method, &format!("{mount}/jobs/{{job_id}}{route}"));
        let job = json!({"job_id": "$response.body#/job_id"});
        let link = json!({"operationId": operation, "parameters": job});
        (name.to_owned(), link)
    })
    .collect();
    Value::Object(links)
}

/// The webhooks of the job.
fn webhook(output: Option<String>) -> Value {
    let mut schema = json!({"$ref": "#/components/schemas/WebhookEvent"});
    if let Some(output) = output {
        schema["if"] = json!({"properties": {"event": {"const": "job_finished"}}});
        schema["then"] = json!({"properties": {"result": {"$ref": output}}});
    }
    let header = |name: &str, about: &str| {
        json!({
            "name": name, "in": "header", "required": true, "description": about,
            "schema": {"type": "string"},
        })
    };
    json!({
        "summary": "What happened to the job, until it is answered by 2xx.",
        "parameters": [
            header("webhook-id", "the event's; comes again with each attempt"),
            header("webhook-timestamp", "seconds since 1970"),
            header("webhook-signature", "`v1,` and HMAC-SHA256 in Base64, as Standard Webhooks has it"),
        ],
        "requestBody": {"required": true, "content": {"application/json": {"schema": schema}}},
        "responses": {"2XX": {"description": "taken"}},
    })
}

/// Returns the schema of a creation's body.
fn body(blueprint: &Blueprint, transitions_max: u32) -> Value {
    let nothing = json!({});
    let takes_nothing = blueprint.check_input(&nothing).is_ok();
    let mut data = match &blueprint.input {
        Some(_) => json!({"$ref": place(blueprint, "input")}),
        None => json!({"description": "anything goes"}),
    };
    if takes_nothing && blueprint.input.is_some() {
        // Nothing at all stands for an empty object.
        data = json!({"anyOf": [data, {"type": "null"}]});
    }
    let mut schema = json!({
        "type": "object",
        "properties": {
            "initial_data": data,
            "webhook_url": {
                "type": ["string", "null"], "maxLength": members::URL_CHARS_MAX,
                "pattern": members::WEBHOOK_URL,
                "description": "told of the job's end and of approvals, by http or https",
                "examples": ["https://client.example.org/hook"],
            },
            "dispatch_timeout": seconds("until a worker has taken a task"),
            "result_timeout": seconds("until a task's result is there"),
            "policy": {
                "type": ["object", "null"],
                "description": "goes with every task; its size as compact JSON is limited",
                "properties": {
                    "allowed_skills": {
                        "type": ["array", "null"], "minItems": 1, "items": {"type": "string"},
                    },
                },
            },
            "max_transitions": {
                "type": ["integer", "null"], "minimum": 1, "maximum": transitions_max,
                "description": "states that the job may enter",
            },
            "labels": {
                "type": ["object", "null"], "maxProperties": members::LABELS_MAX,
                "propertyNames": {
                    "minLength": 1, "maxLength": members::LABEL_NAME_CHARS_MAX, "pattern": "^[^:]*$",
                },
                "additionalProperties": {"type": "string", "maxLength": members::LABEL_CHARS_MAX},
                "description": "to find the job by",
            },
            "metadata": {"type": ["object", "null"], "description": "goes with every task and event"},
            "data_metadata": {"type": ["object", "null"], "description": "files among the data"},
            "security": {"description": "goes with every task, as it is"},
        },
    });
    if !takes_nothing {
        schema["required"] = json!(["initial_data"]);
    }
    schema
}

fn seconds(about: &str) -> Value {
    json!({
        "type": ["number", "null"], "exclusiveMinimum": 0, "maximum": members::TIMEOUT_S_MAX,
        "description": format!("seconds {about}"),
    })
}

/// Returns a body that makes a job, made up by the input's schema; none when that does not fit it.
fn example(blueprint: &Blueprint) -> Option<Value> {
    let data = blueprint.input.as_ref().map_or(json!({}), sample);
    let is_good = blueprint.check_input(&data).is_ok();
    is_good.then(|| json!({"initial_data": data}))
}
