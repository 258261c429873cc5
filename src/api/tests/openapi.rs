//! The description is complete, well-formed, and true of the routes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::fixture::{ALICE, Api, request};
use crate::api::ApiSettings;
use crate::api::error::CODES;
use crate::blueprint::Schema;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

#[tokio::test(start_paused = true)]
async fn every_description_is_whole() {
    let api = Api::start().await;
    let document = api.send("GET /_public/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = BTreeSet::new();
    let mut seen = BTreeSet::new();
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
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let name = &parameter["name"];
                assert!(parameter["schema"].is_object(), "{place} {name}");
                assert!(parameter["description"].is_string(), "{place} {name}");
                // Swagger UI would fill it in.
                let is_needed = parameter["required"] == true;
                assert!(
                    is_needed || parameter["example"].is_null(),
                    "{place} {name}"
                );
            }
            let body = &operation["requestBody"];
            if body.is_object() {
                assert!(body["required"].is_boolean(), "{place}");
                shown(&body["content"], &place);
            }
            for (status, response) in operation["responses"].as_object().expect("responses") {
                let place = format!("{place} {status}");
                assert!(response["description"].is_string(), "{place}");
                assert!(response["headers"]["X-Request-ID"].is_object(), "{place}");
                if !matches!(status.as_str(), "101" | "204" | "302" | "304") {
                    shown(&response["content"], &place);
                }
                let is_error = status.starts_with('4') || status.starts_with('5');
                if !is_error || path == "/_public/ready" && status == "503" {
                    continue;
                }
                seen.extend(codes_of(response, status, &place));
            }
        }
    }
    // The first of these two is any other path's, the second any other method's.
    seen.extend(["not_found", "method_not_allowed"].map(str::to_owned));
    for (code, ..) in CODES {
        assert!(
            seen.contains(*code),
            "no route says that it answers `{code}`"
        );
        assert!(
            document["components"]["examples"][code].is_object(),
            "{code}"
        );
    }
}

/// Returns the codes of an answer: each one of its status, listed in the schema, with an example.
fn codes_of(response: &Value, status: &str, place: &str) -> Vec<String> {
    let text = response["description"].as_str().unwrap_or_default();
    let content = &response["content"]["application/json"];
    let listed = &content["schema"]["properties"]["code"]["enum"];
    let listed = listed.as_array().expect("codes");
    let codes = text.split(':').next().unwrap_or_default();
    let codes: Vec<String> = codes
        .split(',')
        .map(|code| code.trim().to_owned())
        .collect();
    for code in &codes {
        let known = CODES.iter().find(|(known, ..)| known == code);
        let (_, known, _) = known.unwrap_or_else(|| panic!("{place}: `{code}`?"));
        assert_eq!(known.to_string(), status, "{place}: `{code}`");
        assert!(listed.iter().any(|one| one == code), "{place}: `{code}`");
        assert!(content["examples"][code].is_object(), "{place}: `{code}`");
    }
    codes
}

/// A body has a schema and an example, whatever its type; a page or a script only a schema.
fn shown(content: &Value, place: &str) {
    let content = content
        .as_object()
        .unwrap_or_else(|| panic!("{place}: no content"));
    assert!(!content.is_empty(), "{place}");
    for (media, said) in content {
        assert!(said["schema"].is_object(), "{place} {media}");
        let is_page = media.starts_with("text/html") || media.starts_with("text/javascript");
        let has_example = said["example"] != Value::Null || said["examples"].is_object();
        assert!(has_example || is_page, "{place} {media}: no example");
    }
}

/// Every example is one of what it is an example of.
#[tokio::test(start_paused = true)]
async fn examples_are_good() {
    let api = Api::start().await;
    let document = api.send("GET /_public/openapi.json").await.json();
    let mut compiled = BTreeMap::new();
    let mut count = 0;
    let mut check = |place: &str, schema: &Value, example: &Value| {
        let fits = compiled.entry(schema.to_string()).or_insert_with(|| {
            let mut whole = schema.clone();
            whole["components"] = document["components"].clone();
            Schema::compile(&whole).unwrap_or_else(|error| panic!("{place}: {error}"))
        });
        if let Err(error) = fits.check(example) {
            panic!("{place}: {error}: {example}");
        }
        count += 1;
    };
    for (name, schema) in document["components"]["schemas"].as_object().expect("some") {
        for example in schema["examples"].as_array().into_iter().flatten() {
            check(name, schema, example);
        }
    }
    let error = json!({"$ref": "#/components/schemas/Error"});
    for (code, example) in document["components"]["examples"]
        .as_object()
        .expect("some")
    {
        check(code, &error, &example["value"]);
    }
    let paths = document["paths"].as_object().expect("paths").iter();
    let operations = paths.flat_map(|(path, item)| {
        let item = item.as_object().expect("operations").iter();
        item.map(move |(method, operation)| (format!("{method} {path}"), operation))
    });
    for (place, operation) in operations {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            if let Some(example) = parameter.get("example") {
                check(&place, &parameter["schema"], example);
            }
        }
        let answers = operation["responses"]
            .as_object()
            .expect("responses")
            .values();
        for said in answers.chain(operation.get("requestBody")) {
            for media in said["content"]
                .as_object()
                .into_iter()
                .flat_map(|all| all.values())
            {
                if let Some(example) = media.get("example") {
                    check(&place, &media["schema"], example);
                }
            }
        }
    }
    assert!(count > 150, "the examples were found: {count}");
}

/// It is made once, told by its tag, and made anew when the blueprints are others.
#[tokio::test(start_paused = true)]
async fn the_document_is_that_of_the_blueprints_in_use() {
    let api = Api::start().await;
    let ask = |tag: String| {
        let api = &api;
        async move {
            let line = format!("GET /_public/openapi.json\nIf-None-Match: {tag}");
            let answer = api.call(request(&line)).await;
            let tag = answer.headers().get("etag").expect("a tag").to_str();
            let tag = tag.expect("text").to_owned();
            (answer.status().as_u16(), tag)
        }
    };
    let (status, first) = ask("\"another\"".to_owned()).await;
    assert_eq!(status, 200);
    assert_eq!(ask(first.clone()).await, (304, first.clone()));
    let made = api.state.documents.current(&api.state).expect("made");
    let again = api.state.documents.current(&api.state).expect("made");
    assert!(Arc::ptr_eq(&made, &again), "made once");
    let text = "blueprint: late\nversion: v1\nendpoint: /jobs/late\nstart: done\n\
                states:\n  done: { end: finished }\n";
    api.load(&[("late.yaml", text)]).await;
    let (status, second) = ask(first.clone()).await;
    assert_eq!(status, 200);
    assert_ne!(first, second);
    let page = api.send("GET /_public/docs/plain").await.body;
    assert!(page.contains("/api/v1/jobs/late"));
    assert!(!page.contains("/api/v1/jobs/work"));
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
            assert!(
                is_route == described.contains(method),
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
    let body = &body["content"]["application/json"];
    let schema = &body["schema"]["properties"]["initial_data"]["anyOf"][0];
    assert_eq!(schema["$ref"], "#/components/schemas/work.input");
    let input = &document["components"]["schemas"]["work.input"];
    assert_eq!(input["properties"]["n"]["type"], "integer");
    assert_eq!(body["example"], json!({"initial_data": {}}));
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
