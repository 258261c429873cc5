//! The API's description as a page: one file, no script, nothing from elsewhere.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use serde_json::Value;

use crate::api::ApiState;
use crate::api::error::{ApiError, CODES};

/// What the page looks like.
const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;\
padding:0 1rem;color:#1f2328;background:#fff}code{background:#f6f8fa;padding:.1em .3em}\
section{border-top:1px solid #d0d7de;margin-top:1rem}table{border-collapse:collapse}\
td{padding:.1rem .6rem .1rem 0;vertical-align:top}pre{background:#f6f8fa;padding:.6rem;\
overflow:auto}@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}\
code,pre{background:#161b22}section{border-color:#30363d}a{color:#58a6ff}}";

/// The page of one document, which is made when somebody first asks for it: anybody may, and often.
#[derive(Default)]
pub struct Plain(OnceLock<Bytes>);

impl Plain {
    /// Returns the page of the document, which is the same each time.
    fn of(&self, document: &[u8]) -> serde_json::Result<Bytes> {
        if let Some(known) = self.0.get() {
            return Ok(known.clone());
        }
        let page = render(&serde_json::from_slice(document)?);
        Ok(self.0.get_or_init(|| page.into()).clone())
    }
}

/// Shows every route, the blueprints' endpoints with their schemas, and every error code on a page
/// without scripts.
#[utoipa::path(
    get, path = "/_public/docs/plain", tag = "public",
    responses((status = 200, description = "the page", content_type = "text/html; charset=utf-8", body = String)),
)]
pub async fn page(State(state): State<Arc<ApiState>>) -> Result<Response, ApiError> {
    let described = state.documents.current(&state)?;
    let html = described.plain.of(&described.body);
    let html = html.map_err(|error| ApiError::internal(&error))?;
    let mut response = Response::new(Body::from(html));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ),
    );
    Ok(response)
}

/// Text as HTML text.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn text(value: &Value) -> String {
    escaped(value.as_str().unwrap_or_default())
}

/// Code spans of a description, which is written with backticks.
fn marked(value: &Value) -> String {
    let mut out = String::new();
    for (index, part) in text(value).split('`').enumerate() {
        if index > 0 {
            out.push_str(if index % 2 == 1 { "<code>" } else { "</code>" });
        }
        out.push_str(part);
    }
    out
}

fn render(document: &Value) -> String {
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Avtomatika API</title>\
         <style>{STYLE}</style><h1>Avtomatika {}</h1><p>{} The same \
         <a href=\"../docs\">to try it out</a>, and as <a href=\"../openapi.json\">data</a>.</p>",
        text(&document["info"]["version"]),
        marked(&document["info"]["description"]),
    );
    let paths = document["paths"].as_object();
    for tag in document["tags"].as_array().into_iter().flatten() {
        // Writing to a string cannot fail.
        let _ = write!(out, "<h2>{}</h2>", text(&tag["name"]));
        for (path, item) in paths.into_iter().flatten() {
            for (method, operation) in item.as_object().into_iter().flatten() {
                if operation["tags"][0] == tag["name"] {
                    write_operation(&mut out, (method, path), operation);
                }
            }
        }
    }
    write_schemas(&mut out, &document["components"]["schemas"]);
    out.push_str("<h2>Errors</h2><table>");
    for (code, status, meaning) in CODES {
        let meaning = marked(&Value::from(*meaning));
        let _ = write!(out, "<tr><td>{status}<td><code>{code}</code><td>{meaning}");
    }
    out.push_str("</table></html>");
    out
}

fn write_operation(out: &mut String, (method, path): (&str, &str), operation: &Value) {
    let _ = write!(
        out,
        "<section><h3>{} <code>{}</code></h3><p>{}</p>",
        method.to_uppercase(),
        escaped(path),
        marked(&operation["summary"]),
    );
    if operation["description"].is_string() {
        let _ = write!(out, "<p>{}</p>", marked(&operation["description"]));
    }
    out.push_str("<table>");
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let (name, place) = (text(&parameter["name"]), text(&parameter["in"]));
        let about = marked(&parameter["description"]);
        let _ = write!(out, "<tr><td><code>{name}</code><td>{place}<td>{about}");
    }
    let body = &operation["requestBody"];
    if body["description"].is_string() {
        let about = marked(&body["description"]);
        let _ = write!(out, "<tr><td>body<td><td>{about}");
    }
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        let about = marked(&response["description"]);
        let _ = write!(out, "<tr><td>{}<td><td>{about}", escaped(status));
    }
    out.push_str("</table>");
    let schema = &body["content"]["application/json"]["schema"];
    if schema.is_object() {
        write_schema(out, ("body", "Body"), schema);
    }
    out.push_str("</section>");
}

/// Writes the schemas that bodies refer to, those of blueprints' inputs among them.
fn write_schemas(out: &mut String, schemas: &Value) {
    out.push_str("<h2>Schemas</h2>");
    for (name, schema) in schemas.as_object().into_iter().flatten() {
        write_schema(out, ("schema", name), schema);
    }
}

fn write_schema(out: &mut String, (kind, name): (&str, &str), schema: &Value) {
    let (name, schema) = (escaped(name), format!("{schema:#}"));
    let _ = write!(
        out,
        "<details class=\"{kind}\"><summary>{name}</summary><pre>{}</pre></details>",
        escaped(&schema)
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_page_is_made_once() {
        let plain = Plain::default();
        assert!(plain.of(b"{").is_err());
        let first = plain
            .of(b"{\"info\": {\"version\": \"1.2\"}}")
            .expect("a page");
        assert!(first.starts_with(b"<!doctype html>"));
        let second = plain
            .of(b"{\"info\": {\"version\": \"1.3\"}}")
            .expect("a page");
        assert_eq!(first.as_ptr(), second.as_ptr());
    }

    #[test]
    fn nothing_that_a_blueprint_says_becomes_markup() {
        let evil = "<script>alert(`1`)</script>&\"";
        let page = render(&json!({
            "components": {"schemas": {evil: {"description": evil}}},
            "info": {"version": "1", "description": evil},
            "tags": [{"name": "jobs"}],
            "paths": {evil: {"post": {
                "tags": ["jobs"], "summary": evil, "description": evil,
                "parameters": [{"name": evil, "in": "query", "description": evil}],
                "requestBody": {"content": {"application/json": {"schema": {"properties": {evil: {}}}}}},
                "responses": {"200": {"description": evil}},
            }}},
        }));
        assert!(!page.contains("<script"), "{page}");
        assert!(
            page.contains("&lt;script&gt;alert(<code>1</code>)"),
            "{page}"
        );
    }
}
