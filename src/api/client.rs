//! The client routes: where they are mounted, who may enter, how often.
//!
//! They lie under `/{prefix}[/{version}]`, once for each version that the catalog's blueprints
//! name just now. The common routes are the same under every version. Source: http-api §1.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::uri::PathAndQuery;
use axum::http::{Method, Uri, header};
use axum::response::{IntoResponse as _, Response};
use tower::ServiceExt as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Caller, client_of};
use super::error::{ApiError, Code};
use super::limits::too_many;
use super::server::Peer;
use super::{
    ApiState, approval, blueprints, create, envelope, events, files, jobs, listing, search, workers,
};
use crate::blueprint::Blueprint;

/// The common routes, relative to their mount, with their descriptions.
pub(super) fn routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::default()
        .routes(routes!(listing::list))
        .routes(routes!(listing::quarantined))
        .routes(routes!(search::search))
        .routes(routes!(jobs::get))
        .routes(routes!(jobs::cancel))
        .routes(routes!(jobs::retry))
        .routes(routes!(jobs::history))
        .routes(routes!(jobs::explain))
        .routes(routes!(jobs::deliveries))
        .routes(routes!(approval::by_owner))
        .routes(routes!(events::stream, events::publish))
        .routes(routes!(files::list))
        .routes(routes!(files::upload_link))
        .routes(routes!(files::upload))
        .routes(routes!(files::download))
        .routes(routes!(blueprints::list))
        .routes(routes!(blueprints::show))
        .routes(routes!(blueprints::schema))
        .routes(routes!(blueprints::graph))
        .routes(routes!(workers::list))
        .routes(routes!(workers::catalog))
        .routes(routes!(workers::show))
        .routes(routes!(workers::reload))
        .routes(routes!(workers::dashboard))
}

/// Returns the mounts of the client routes just now, each without its last slash: the prefix with
/// every version, and without one when a blueprint has none. `v1` is always there, so that operators
/// reach their jobs whatever the blueprints are.
pub(super) fn mounts(state: &ApiState) -> Vec<String> {
    if !state.settings.client_api {
        return Vec::new();
    }
    let catalog = state.runtime.blueprints();
    let mut versions: BTreeSet<Option<String>> = catalog
        .iter()
        .filter(|blueprint| blueprint.endpoint.is_some())
        .map(|blueprint| blueprint.version.clone())
        .collect();
    // Tools ask there without knowing the blueprints, and files come and go while they do.
    versions.insert(Some("v1".to_owned()));
    versions
        .into_iter()
        .map(|version| mount(state, version.as_deref()))
        .collect()
}

fn mount(state: &ApiState, version: Option<&str>) -> String {
    let prefix = state.settings.client_prefix.trim_matches('/');
    let mut path = String::new();
    for part in [Some(prefix).filter(|prefix| !prefix.is_empty()), version]
        .into_iter()
        .flatten()
    {
        path.push('/');
        path.push_str(part);
    }
    path
}

/// Returns where a blueprint's jobs are created, if anywhere.
pub(super) fn endpoint_path(state: &ApiState, blueprint: &Blueprint) -> Option<String> {
    let endpoint = blueprint.endpoint.as_deref()?;
    let slash = if endpoint.starts_with('/') { "" } else { "/" };
    Some(format!(
        "{}{slash}{endpoint}",
        mount(state, blueprint.version.as_deref())
    ))
}

/// Answers every path that is not one of the fixed routes.
#[derive(Clone)]
pub(super) struct Dispatch {
    state: Arc<ApiState>,
    routes: Router,
    /// Common routes without parameters.
    literal: Arc<BTreeSet<String>>,
}

impl Dispatch {
    pub(super) fn new(state: Arc<ApiState>) -> Self {
        let (routes, described) = routes().split_for_parts();
        let paths = described.paths.paths.into_keys();
        let routes = routes.with_state(Arc::clone(&state));
        Self {
            state,
            routes: routes.fallback(envelope::no_such_route),
            literal: Arc::new(paths.filter(|path| !path.contains('{')).collect()),
        }
    }

    /// Finds the mount, lets the client in, and hands on to a blueprint's endpoint or a common
    /// route.
    pub(super) async fn answer(self, mut request: Request) -> Response {
        let path = request.uri().path().to_owned();
        // The longest mount that fits: `/api/v1/jobs` belongs to `/api/v1`, not to `/api`.
        let mount = mounts(&self.state)
            .into_iter()
            .filter(|mount| {
                path.strip_prefix(mount.as_str())
                    .is_some_and(|rest| rest.starts_with('/'))
            })
            .max_by_key(String::len);
        let Some(mount) = mount else {
            return envelope::no_such_route().await.into_response();
        };
        let caller = match enter(&self.state, &request, &path) {
            Ok(caller) => caller,
            Err(error) => return error.into_response(),
        };
        let blueprint = self.created_at(&path);
        if request.method() == Method::POST
            && let Some(blueprint) = &blueprint
        {
            return create::create(&self.state, &caller, blueprint, request)
                .await
                .into_response();
        }
        let route = path.get(mount.len()..).unwrap_or_default();
        if blueprint.is_some() && !self.literal.contains(route) {
            // Else `GET` would take the endpoint's name for a job's id.
            return creation_only();
        }
        request.extensions_mut().insert(caller);
        match relative(request.uri(), mount.len()) {
            Some(uri) => *request.uri_mut() = uri,
            None => return envelope::no_such_route().await.into_response(),
        }
        match self.routes.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// Returns the name of the blueprint whose jobs are created at the path.
    fn created_at(&self, path: &str) -> Option<String> {
        let catalog = self.state.runtime.blueprints();
        catalog
            .iter()
            .find(|blueprint| endpoint_path(&self.state, blueprint).as_deref() == Some(path))
            .map(|blueprint| blueprint.name.clone())
    }
}

/// Answers any other method at a blueprint's endpoint.
fn creation_only() -> Response {
    let error = ApiError::new(Code::MethodNotAllowed, "Method Not Allowed");
    ([(header::ALLOW, "POST")], error).into_response()
}

/// Returns the URI without its first bytes, which are a mount.
fn relative(uri: &Uri, mount_bytes: usize) -> Option<Uri> {
    let whole = uri.path_and_query()?.as_str();
    let rest: PathAndQuery = whole.get(mount_bytes..)?.parse().ok()?;
    Some(Uri::from(rest))
}

/// Authenticates the client and counts the request against its rate; strangers are counted by
/// their address. Fixes HQ16.
fn enter(state: &ApiState, request: &Request, path: &str) -> Result<Caller, ApiError> {
    let client = client_of(state, request.headers());
    if let Some(limits) = &state.settings.rate_limits {
        let address = request
            .extensions()
            .get::<Peer>()
            .map(|peer| peer.0.ip().to_string());
        let (who, name) = match &client {
            Ok(client) => ("client", client.id.as_str()),
            Err(_) => ("address", address.as_deref().unwrap_or("unknown")),
        };
        let key = state
            .buckets
            .key(&[who, name, request.method().as_str(), path]);
        state
            .buckets
            .take(key, limits.client, state.now())
            .map_err(|wait_ms| too_many(Code::RateLimited, wait_ms))?;
    }
    client.map(Caller)
}
