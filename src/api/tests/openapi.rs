//! The description is complete, well-formed, and true of the routes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::fixture::{ALICE, Api};
use crate::api::ApiSettings;
use crate::api::error::CODES;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

#[tokio::test(start_paused = true)]
async fn every_description_is_whole() {
    let api = Api::start().await;
    let document = api.send("GET /_public/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = BTreeSet::new();
    let known: BTreeSet<&str> = CODES.iter().map(|(code, ..)| *code).collect();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            assert!(METHODS.contains(&method.as_str()), "{method} {path}");
            let place = format!("{method} {path}");
            assert!(operation["summary"].is_string(), "{place} has no summary");
            assert!(operation["tags"].is_array(), "{place} has no tag");
            assert!(
                ids.insert(operation["operationId"].to_string()),
                "{place} has no id of its own"
            );
            let declared: BTreeSet<&str> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|parameter| parameter["in"] == "path")
                .filter_map(|parameter| parameter["name"].as_str())
                .collect();
            let used: BTreeSet<&str> = path
                .split('/')
                .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
                .collect();
            assert_eq!(declared, used, "{place}");
            for (status, response) in operation["responses"].as_object().expect("responses") {
                let text = response["description"].as_str().expect("a description");
                if !status.starts_with('4') && !status.starts_with('5') {
                    continue;
                }
                assert!(response["content"].is_object(), "{place} {status}");
                if path == "/_public/ready" {
                    continue;
                }
                let codes = text.split(':').next().unwrap_or_default();
                for code in codes.split(',').map(str::trim) {
                    assert!(
                        known.contains(code),
                        "{place} {status}: `{code}` is no code"
                    );
                }
            }
        }
    }
}

/// Each described route answers, and none that is not described.
#[tokio::test(start_paused = true)]
async fn every_route_is_described_and_every_description_is_a_route() {
    let api = Api::start().await;
    let document = api.send("GET /_public/openapi.json").await.json();
    let paths = document["paths"].as_object().expect("paths");
    for (path, item) in paths {
        let concrete = path.replace(['{', '}'], "");
        let described: BTreeSet<&str> = item
            .as_object()
            .expect("operations")
            .keys()
            .map(String::as_str)
            .collect();
        for method in METHODS {
            let line = format!("{} {concrete}", method.to_uppercase());
            let answer = api.send(&format!("{line}\nX-Client-Token: {ALICE}")).await;
            let is_route =
                answer.status != 405 && !(answer.status == 404 && answer.code() == "not_found");
            // `GET` of a creation path is read as a job's id, as the original has it.
            let is_shadowed = concrete.starts_with("/api/v1/jobs/") && method == "get";
            assert!(
                is_route == described.contains(method) || is_shadowed,
                "{line}: {} {}",
                answer.status,
                answer.body
            );
        }
    }
    for path in [
        "/api/v1/jobs/work",
        "/api/v1/jobs/ask",
        "/api/quick",
        "/api/jobs",
        "/api/v1/jobs",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn input_schemas_are_shown() {
    let api = Api::start().await;
    let document = api.send("GET /_public/openapi.json").await.json();
    let body = &document["paths"]["/api/v1/jobs/work"]["post"]["requestBody"];
    let schema = &body["content"]["application/json"]["schema"]["properties"]["initial_data"];
    assert_eq!(schema["properties"]["n"]["type"], "integer");
    let references = references(&document);
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("local");
        assert!(
            document.pointer(pointer).is_some(),
            "{reference} leads nowhere"
        );
    }
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, member)| match member {
                Value::String(text) if name == "$ref" => vec![text.clone()],
                member => references(member),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn blueprints_are_hidden_from_strangers_when_asked_for() {
    for is_shown in [true, false] {
        let api = Api::with(ApiSettings {
            public_blueprints: is_shown,
            ..ApiSettings::default()
        })
        .await;
        for page in ["/_public/openapi.json", "/_public/docs/plain"] {
            let body = api.send(&format!("GET {page}")).await.body;
            let shows = body.contains("/api/v1/jobs/work");
            assert_eq!(shows, is_shown, "{page} (HQ1)");
        }
        let own = api.get(ALICE, "/api/v1/blueprints").await;
        assert!(own.body.contains("/api/v1/jobs/work"), "clients see them");
    }
}
