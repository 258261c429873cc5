//! `docs/api.md`: the description of the API as a page, every route of it.

use avtomatika::api::openapi::Outline;
use avtomatika::blueprint::load;
use serde_json::{Map, Value};

use super::{check, put};

/// Stands for all blueprints, whose endpoints are as this one's.
const GREET: &str = "blueprint: greet
version: v1
endpoint: /jobs/greet
description: Stands for every blueprint's endpoint, each with its own input.
input: { type: object, required: [name], properties: { name: { type: string, examples: [Ada] } } }
output: { type: object, properties: { greeting: { type: string } } }
start: done
states:
  done: { end: finished, result: { greeting: \"Hello, {{ initial_data.name }}\" } }
";

const INTRODUCTION: &str = "# API

Written by `UPDATE_DOCS=1 cargo test --test codes` from the description that the server gives of itself
at `/_public/openapi.json`; the same test compares it with the code. A running server shows the same for
its own blueprints, to be tried out, at `/_public/docs`.

The client routes are shown under `/api/v1`: `/api` is the setting `CLIENT_API_PREFIX`, and they are there
once for each version that blueprints name. The endpoint of the blueprint `greet` stands for those of
all. The examples' token and address are those of `avtomatika dev --port 8080`.
";

#[test]
fn the_reference_of_the_api_is_that_of_the_code() {
    let loaded = load("greet.yaml", GREET);
    let blueprint = loaded.blueprint.expect("a good blueprint");
    let outline = Outline {
        mounts: vec!["/api/v1".to_owned()],
        endpoints: vec![("/api/v1/jobs/greet".to_owned(), &blueprint)],
        public_url: None,
        transitions_max: 100,
        upload_bytes_max: 5 << 30,
    };
    let document = outline.document().expect("a document");
    let text = page(&document);
    let routes = document["paths"].as_object().expect("paths");
    let count: usize = routes
        .values()
        .map(|item| item.as_object().map_or(0, Map::len))
        .sum();
    assert_eq!(
        text.matches("\n```text\ncurl ").count(),
        count,
        "one command for each route"
    );
    check("api.md", &text);
}

/// One route.
struct Route<'a> {
    method: &'a str,
    path: &'a str,
    said: &'a Value,
}

fn page(document: &Value) -> String {
    let mut out = INTRODUCTION.to_owned();
    put(
        &mut out,
        format_args!("\n{}\n", text(&document["info"]["description"])),
    );
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, said) in item.as_object().expect("operations") {
            routes.push(Route { method, path, said });
        }
    }
    let tags = document["tags"].as_array().expect("tags");
    out.push_str("\n| Route | |\n|---|---|\n");
    for tag in tags {
        for route in routes
            .iter()
            .filter(|route| route.said["tags"][0] == tag["name"])
        {
            let (name, anchor) = (title(route), anchor(&title(route)));
            let about = text(&route.said["summary"]);
            put(
                &mut out,
                format_args!("| [`{name}`](#{anchor}) | {about} |\n"),
            );
        }
    }
    for tag in tags {
        let (name, about) = (text(&tag["name"]), text(&tag["description"]));
        put(&mut out, format_args!("\n## Routes: {name}\n\n{about}\n"));
        for route in routes
            .iter()
            .filter(|route| route.said["tags"][0] == tag["name"])
        {
            write_route(&mut out, route, document);
        }
    }
    out.push_str("\n## Schemas\n");
    for (name, schema) in document["components"]["schemas"]
        .as_object()
        .expect("schemas")
    {
        write_schema(&mut out, name, schema);
    }
    out.push_str(
        "\n## Error codes\n\nWhat each code means: [codes.md](codes.md#error-codes-of-the-api).\n",
    );
    out
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn title(route: &Route<'_>) -> String {
    format!("{} {}", route.method.to_uppercase(), route.path)
}

/// Returns a heading's anchor, as it is made from the heading's text.
fn anchor(title: &str) -> String {
    let kept = title
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| {
        if c == ' ' {
            '-'
        } else {
            c.to_ascii_lowercase()
        }
    })
    .collect()
}

fn write_route(out: &mut String, route: &Route<'_>, document: &Value) {
    let said = route.said;
    put(
        out,
        format_args!("\n### `{}`\n\n{}\n", title(route), text(&said["summary"])),
    );
    if let Some(more) = said["description"].as_str() {
        put(out, format_args!("\n{more}\n"));
    }
    let token = match text(
        &said["security"][0]
            .as_object()
            .map_or(Value::Null, first_key),
    ) {
        "client" => "a client's, in `X-Client-Token`",
        "worker" => "a worker's, in `X-Worker-Token`",
        _ => "none",
    };
    put(out, format_args!("\nToken: {token}.\n"));
    if let Some(parameters) = said["parameters"].as_array().filter(|all| !all.is_empty()) {
        out.push_str("\n| Parameter | In | Type | |\n|---|---|---|---|\n");
        for one in parameters {
            let needed = if one["required"] == true {
                ", needed"
            } else {
                ""
            };
            let (name, place) = (text(&one["name"]), text(&one["in"]));
            let (kind, about) = (kind(&one["schema"]), text(&one["description"]));
            put(
                out,
                format_args!("| `{name}` | {place}{needed} | {kind} | {about} |\n"),
            );
        }
    }
    if let Some((media, body)) = said["requestBody"]["content"].as_object().and_then(first) {
        let about = text(&said["requestBody"]["description"]);
        let about = if about.is_empty() {
            String::new()
        } else {
            format!(": {about}")
        };
        put(
            out,
            format_args!("\nBody, `{media}`, {}{about}.\n", kind(&body["schema"])),
        );
        if body["schema"]["properties"].is_object() {
            members(out, &body["schema"], "needed");
        }
    }
    if said["callbacks"].is_object() {
        out.push_str("\nWhat happens to the job is sent to its `webhook_url`: [WebhookEvent](#webhookevent).\n");
    }
    out.push_str("\n| Answer | Type | |\n|--:|---|---|\n");
    for (status, answer) in said["responses"].as_object().expect("responses") {
        write_answer(out, status, answer);
    }
    if let Some(example) = shown(said) {
        put(out, format_args!("\n```json\n{example}\n```\n"));
    }
    put(
        out,
        format_args!("\n```text\n{}\n```\n", command(route, document)),
    );
}

fn first_key(members: &Map<String, Value>) -> Value {
    members
        .keys()
        .next()
        .map_or(Value::Null, |name| Value::from(name.as_str()))
}

fn first(members: &Map<String, Value>) -> Option<(&str, &Value)> {
    members
        .iter()
        .next()
        .map(|(name, value)| (name.as_str(), value))
}

fn write_answer(out: &mut String, status: &str, answer: &Value) {
    let about = text(&answer["description"]);
    let codes = answer.pointer("/content/application~1json/schema/properties/code/enum");
    let Some(codes) = codes.and_then(Value::as_array) else {
        let content = answer["content"].as_object();
        let kind = content
            .and_then(first)
            .map_or(String::new(), |(media, said)| {
                let media = media.split(';').next().unwrap_or_default();
                let kind = kind(&said["schema"]);
                if media == "application/json" {
                    kind
                } else {
                    format!("{kind}, `{media}`")
                }
            });
        put(out, format_args!("| {status} | {kind} | {about} |\n"));
        return;
    };
    let codes: Vec<String> = codes
        .iter()
        .map(|code| format!("`{}`", text(code)))
        .collect();
    let more = about
        .split_once(": ")
        .map_or(String::new(), |(_, more)| format!(": {more}"));
    put(
        out,
        format_args!(
            "| {status} | [Error](#error) | {}{more} |\n",
            codes.join(", ")
        ),
    );
}

/// Returns the example of the good answer.
fn shown(said: &Value) -> Option<String> {
    let answers = said["responses"].as_object()?;
    let (_, good) = answers.iter().find(|(status, _)| status.starts_with('2'))?;
    let content = good["content"]["application/json"].get("example")?;
    serde_json::to_string_pretty(content).ok()
}

/// Returns a type in few words.
fn kind(schema: &Value) -> String {
    if let Some(place) = schema["$ref"].as_str() {
        let name = place.rsplit('/').next().unwrap_or_default();
        return format!("[{name}](#{})", anchor(name));
    }
    for several in ["anyOf", "allOf"] {
        if let Some(all) = schema[several].as_array() {
            let all: Vec<String> = all.iter().map(kind).collect();
            return all.join(if several == "anyOf" { " or " } else { " and " });
        }
    }
    let words = |all: &Vec<Value>| {
        let all: Vec<String> = all.iter().map(|one| format!("`{}`", plain(one))).collect();
        all.join(", ")
    };
    if let Some(only) = schema.get("const") {
        return format!("`{}`", plain(only));
    }
    if let Some(all) = schema["enum"].as_array() {
        return words(all);
    }
    let kind = match &schema["type"] {
        Value::Array(all) => all.iter().map(text).collect::<Vec<_>>().join(" or "),
        Value::String(kind) if kind == "array" => {
            format!("array of {}", self::kind(&schema["items"]))
        }
        Value::String(kind) => kind.clone(),
        _ => "anything".to_owned(),
    };
    let mut bounds = Vec::new();
    for (name, word) in [
        ("minimum", "from"),
        ("exclusiveMinimum", "above"),
        ("maximum", "to"),
    ] {
        // What only says which numbers there are is no bound that a reader cares for.
        if let Some(bound) = schema[name].as_f64().filter(|bound| bound.abs() < 1e15) {
            bounds.push(format!("{word} {bound}"));
        }
    }
    for (name, what) in [("maxLength", "characters"), ("maxProperties", "members")] {
        if let Some(bound) = schema.get(name) {
            bounds.push(format!("at most {bound} {what}"));
        }
    }
    let comma = if bounds.is_empty() { "" } else { ", " };
    format!("{kind}{comma}{}", bounds.join(" "))
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn members(out: &mut String, schema: &Value, word: &str) {
    let required = schema["required"].as_array();
    out.push_str("\n| Member | Type | |\n|---|---|---|\n");
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let is_needed = required.is_some_and(|all| all.iter().any(|one| one == name));
        let needed = if is_needed {
            format!(", {word}")
        } else {
            String::new()
        };
        let about = text(&member["description"]);
        put(
            out,
            format_args!("| `{name}` | {}{needed} | {about} |\n", kind(member)),
        );
    }
}

fn write_schema(out: &mut String, name: &str, schema: &Value) {
    put(out, format_args!("\n### {name}\n"));
    if let Some(about) = schema["description"].as_str() {
        put(out, format_args!("\n{about}\n"));
    }
    if schema["properties"].is_object() && name != "Error" {
        members(out, schema, "always");
    } else if name == "Error" {
        out.push_str("\n`error` is a text for people, `code` is stable, `request_id` finds the request in the log.\n");
    } else {
        put(out, format_args!("\n{}\n", kind(schema)));
    }
}

/// Returns one command that asks the route.
fn command(route: &Route<'_>, document: &Value) -> String {
    let said = route.said;
    let mut path = route.path.to_owned();
    let mut query = Vec::new();
    let mut words = vec!["curl -s".to_owned()];
    if route.method != "get" {
        words.push(format!("-X {}", route.method.to_uppercase()));
    }
    let mut headers = Vec::new();
    for (scheme, value) in [
        ("client", "user_token_vip"),
        ("worker", "secure-worker-token"),
    ] {
        if said["security"][0].get(scheme).is_some() {
            let header = text(&document["components"]["securitySchemes"][scheme]["name"]);
            headers.push(format!("-H '{header}: {value}'"));
        }
    }
    for one in said["parameters"].as_array().into_iter().flatten() {
        let (name, example) = (text(&one["name"]), plain(&one["example"]));
        match text(&one["in"]) {
            "path" => path = path.replace(&format!("{{{name}}}"), &example),
            "query" if one["required"] == true => query.push(format!("{name}={example}")),
            "header" if one["required"] == true && !one["example"].is_null() => {
                headers.push(format!("-H '{name}: {example}'"));
            }
            _ => {}
        }
    }
    let mark = if query.is_empty() { "" } else { "?" };
    words.push(format!(
        "'http://127.0.0.1:8080{path}{mark}{}'",
        query.join("&")
    ));
    words.extend(headers);
    if let Some((media, body)) = said["requestBody"]["content"].as_object().and_then(first) {
        words.push(format!("-H 'Content-Type: {media}'"));
        words.push(format!("-d '{}'", plain(&body["example"])));
    }
    words.join(" ")
}
