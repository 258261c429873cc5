//! The API's description in OpenAPI 3.1: routes from the handlers themselves, bodies from
//! `schemas.yaml` and `wire.yaml`, error codes from [`CODES`], and the blueprints' endpoints from the
//! catalog as it is.
//!
//! It is made once for a set of blueprints, and made again by the first request after a reload.

mod blueprints;
mod complete;
mod embed;
mod parts;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use serde_json::{Value, json};

use super::conditional::{is_known, not_modified};
use super::docs::plain::Plain;
use super::error::ApiError;
use super::{ApiState, client, json as answers, public_routes, worker_routes};
use crate::base::crypto;
use crate::blueprint::{Blueprint, Catalog};
use crate::domain::Object;
use complete::Audience;

/// The groups of routes.
const TAGS: [(&str, &str); 6] = [
    (
        "jobs",
        "A client's jobs: its blueprints' endpoints, and what becomes of a job.",
    ),
    ("files", "A job's files."),
    (
        "blueprints",
        "The blueprints in use. Every client sees all of them.",
    ),
    ("workers", "The workers, as clients and operators see them."),
    (
        "worker",
        "The workers' own protocol. Messages are signed with the worker's token.",
    ),
    (
        "public",
        "What anybody may ask, and what a link or a token lets in.",
    ),
];

/// What stands before everything.
const ABOUT: &str = "Durable jobs on many machines.\n\n\
Errors are `{error, code, request_id}`: the text may change, the code does not. Any route may answer \
404 `not_found` when the path is none, and 405 `method_not_allowed` with `Allow` when the method is \
none of it. Every answer has `X-Request-ID`, by which it is found in the log; a caller may choose it. \
Answers are JSON without members that are null, whatever `Accept` says. Bodies may come packed by \
gzip, deflate or zstd, and answers are packed by what `Accept-Encoding` takes. A `traceparent` makes a \
request part of the caller's trace.";

/// A document, and what it was made for.
pub(super) struct Described {
    catalog: Arc<Catalog>,
    etag: String,
    /// The document as JSON.
    pub(super) body: Bytes,
    /// The document as a page without scripts.
    pub(super) plain: Plain,
}

/// The document that was made last.
#[derive(Default)]
pub(super) struct Documents(ArcSwapOption<Described>);

impl Documents {
    /// Returns the document of the blueprints as they are. Of two that ask at once each may make it.
    pub(super) fn current(&self, state: &ApiState) -> Result<Arc<Described>, ApiError> {
        let catalog = state.runtime.blueprints();
        if let Some(known) = self.0.load_full()
            && Arc::ptr_eq(&known.catalog, &catalog)
        {
            return Ok(known);
        }
        let document = describe(state, &catalog)?;
        // Not in the answers' normal form: in a schema, a null says something.
        let body = serde_json::to_vec(&document).map_err(|error| ApiError::internal(&error))?;
        let digest = crypto::sha256_hex(&body);
        let described = Arc::new(Described {
            catalog,
            // Weak: it may go out packed.
            etag: format!("W/\"{}\"", &digest[..16]),
            body: body.into(),
            plain: Plain::default(),
        });
        self.0.store(Some(Arc::clone(&described)));
        Ok(described)
    }
}

/// Describes this API in OpenAPI 3.1.
#[utoipa::path(
    get, path = "/_public/openapi.json", tag = "public",
    params(("If-None-Match" = Option<String>, Header, description = "the `ETag` of what the caller has")),
    responses(
        (status = 200, description = "the document, with an `ETag`", body = ref("#/components/schemas/AnyObject")),
        (status = 304, description = "the caller has it already"),
    ),
)]
pub async fn document(
    State(state): State<Arc<ApiState>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let described = state.documents.current(&state)?;
    let mut response = if is_known(&headers, &described.etag) {
        not_modified(&described.etag)?
    } else {
        let mut response = Response::new(Body::from(described.body.clone()));
        let etag = HeaderValue::from_str(&described.etag);
        let etag = etag.map_err(|error| ApiError::internal(&error))?;
        response.headers_mut().insert(header::ETAG, etag);
        let json = HeaderValue::from_static(answers::CONTENT_TYPE);
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    };
    // To be kept, and asked about before each use.
    let keep = HeaderValue::from_static("no-cache");
    response.headers_mut().insert(header::CACHE_CONTROL, keep);
    Ok(response)
}

fn describe(state: &ApiState, catalog: &Catalog) -> Result<Value, ApiError> {
    let is_shown = state.settings.public_blueprints && state.settings.client_api;
    let shown = catalog.iter().filter(|_| is_shown);
    Outline {
        mounts: client::mounts(state),
        endpoints: shown
            .filter_map(|blueprint| Some((client::endpoint_path(state, blueprint)?, blueprint)))
            .map(|(path, blueprint)| (path, blueprint.as_ref()))
            .collect(),
        public_url: state.settings.public_url.as_deref(),
        transitions_max: state.settings.transitions_max,
        upload_bytes_max: state.settings.upload_bytes_max,
    }
    .document()
}

/// What a document is about, besides the routes that are always there.
#[derive(Debug, Default)]
pub struct Outline<'a> {
    /// Where the client routes are.
    pub mounts: Vec<String>,
    /// The blueprints' endpoints, by their paths.
    pub endpoints: Vec<(String, &'a Blueprint)>,
    /// Where clients reach the server.
    pub public_url: Option<&'a str>,
    /// Most state entries that a request may ask for.
    pub transitions_max: u32,
    /// Largest file of a job, in bytes.
    pub upload_bytes_max: u64,
}

/// Says how large the file of a link may be.
fn bound_uploads(paths: &mut Object, bytes_max: u64) {
    let link = paths.get_mut("/jobs/{job_id}/files/upload");
    let parameters = link.and_then(|link| link["get"]["parameters"].as_array_mut());
    for parameter in parameters.into_iter().flatten() {
        if parameter["name"] == "size" {
            parameter["schema"]["maximum"] = bytes_max.into();
        }
    }
}

impl Outline<'_> {
    /// Makes the document.
    pub fn document(&self) -> Result<Value, ApiError> {
        let mut components = parts::components()?;
        let mut paths = self.paths(&mut components)?;
        name_operations(&mut paths);
        // The first is what a page shows: that of the documentation may ask its own server alone.
        let own = self.public_url.map(|url| json!({"url": url}));
        let here = json!({"url": "/", "description": "where this document came from"});
        let servers: Vec<Value> = [here].into_iter().chain(own).collect();
        Ok(json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Avtomatika",
                "description": ABOUT,
                "version": env!("CARGO_PKG_VERSION"),
                "license": {"name": "MPL-2.0", "identifier": "MPL-2.0"},
            },
            "servers": servers,
            "tags": TAGS.map(|(name, about)| json!({"name": name, "description": about})),
            "paths": paths,
            "components": components,
        }))
    }

    fn paths(&self, components: &mut Value) -> Result<Object, ApiError> {
        let mut paths = Object::new();
        for (path, blueprint) in &self.endpoints {
            // The longest is where it lies: `/api/v1/jobs` belongs to `/api/v1`, not to `/api`.
            let mounts = self.mounts.iter().filter(|mount| path.starts_with(*mount));
            let mount = mounts.max_by_key(|mount| mount.len());
            let mount = mount.map_or("", String::as_str);
            let operation = blueprints::creation(blueprint, mount, self.transitions_max);
            paths.insert(path.clone(), json!({"post": operation}));
            blueprints::add_schemas(components, blueprint);
        }
        let mut common = complete::paths(&client::routes().into_openapi(), Audience::Client)?;
        bound_uploads(&mut common, self.upload_bytes_max);
        for mount in &self.mounts {
            for (path, item) in &common {
                let entry = paths.entry(format!("{mount}{path}"));
                let known = entry.or_insert_with(|| json!({}));
                for (method, operation) in item.as_object().into_iter().flatten() {
                    // A blueprint's endpoint goes before a route of the same place.
                    if known.get(method).is_none() {
                        known[method] = operation.clone();
                    }
                }
            }
        }
        for (routes, audience) in [
            (worker_routes(), Audience::Worker),
            (public_routes(), Audience::Public),
        ] {
            paths.extend(complete::paths(&routes.into_openapi(), audience)?);
        }
        Ok(paths)
    }
}

/// Names every operation by its method and path: the handlers' own names repeat, and so does each
/// route under every mount.
fn name_operations(paths: &mut Object) {
    for (path, item) in paths {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            operation["operationId"] = json!(operation_id(method, path));
        }
    }
}

/// Returns the name of an operation.
fn operation_id(method: &str, path: &str) -> String {
    let words = path.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    format!("{method}_{}", words.join("_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page may ask its own server alone, so that one is what Swagger UI shows first.
    #[test]
    fn the_first_server_is_the_one_that_was_asked() {
        let outline = Outline {
            public_url: Some("https://jobs.example.org"),
            ..Outline::default()
        };
        let document = outline.document().expect("a document");
        let servers = document["servers"].as_array().expect("servers").iter();
        let urls: Vec<&Value> = servers.map(|server| &server["url"]).collect();
        assert_eq!(urls, ["/", "https://jobs.example.org"]);
    }
}
