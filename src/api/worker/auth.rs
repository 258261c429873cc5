//! Which worker is calling: by its certificate, by a short-lived access token, by a token of its own
//! or the global one. Source: wire-protocol §3, with WQ1, WQ3 and WQ4 fixed.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;

use crate::api::auth::TOKEN_BYTES_MAX;
use crate::api::error::{ApiError, Code};
use crate::api::{ApiState, WorkerAuthMode};
use crate::base::ids::is_identifier;
use crate::base::{Secret, WorkerId};
use crate::net::ClientCertificate;
use crate::protocol::headers::{WORKER_ID, WORKER_TOKEN};
use crate::runtime::TokenCheck;

/// What a worker shows of itself with a request.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// The request's headers.
    pub headers: HeaderMap,
    /// The certificate of its connection.
    pub certificate: Option<ClientCertificate>,
}

impl<S: Sync> FromRequestParts<S> for Shown {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self {
            headers: parts.headers.clone(),
            certificate: parts.extensions.get().cloned(),
        })
    }
}

impl Shown {
    /// Returns the id that the header claims.
    pub fn claimed_id(&self) -> Option<&str> {
        self.headers
            .get(WORKER_ID)
            .and_then(|value| value.to_str().ok())
            .filter(|id| !id.is_empty())
    }

    fn token(&self) -> Option<Secret> {
        self.headers
            .get(WORKER_TOKEN)
            .and_then(|value| value.to_str().ok())
            .filter(|token| !token.is_empty() && token.len() <= TOKEN_BYTES_MAX)
            .map(Secret::new)
    }

    /// Returns the name that its certificate gives, where certificates count.
    fn common_name(&self, mode: WorkerAuthMode) -> Option<&str> {
        let certificate = match mode {
            WorkerAuthMode::TokenOnly => None,
            WorkerAuthMode::Mixed | WorkerAuthMode::MtlsOnly => self.certificate.as_ref(),
        };
        certificate?.common_name.as_deref()
    }
}

/// A worker that has shown who it is.
#[derive(Debug, Clone)]
pub struct WorkerCaller {
    /// Its id.
    pub id: WorkerId,
    /// What its messages may be signed with (WQ1): its static or the global token, and the access
    /// token that it presented.
    pub keys: Vec<Secret>,
    /// Whether the access token that it presented beside its certificate has expired. What is
    /// signed with it asks for a new one.
    pub has_expired_token: bool,
}

fn refused(message: &str) -> ApiError {
    ApiError::new(Code::WorkerUnauthorized, format!("Unauthorized: {message}"))
}

/// The answer to what an expired access token was used for: the worker fetches a new one.
pub fn token_expired() -> ApiError {
    ApiError::new(
        Code::TokenExpired,
        "Unauthorized: the access token has expired",
    )
}

/// Authenticates a worker. `hint` is the id that it claims: from the path, else from its header.
///
/// A certificate comes first and needs no token beside it. Without one the worker's own token comes
/// first, then access tokens; the global token is no way around a token of the worker's own.
pub async fn worker_of(
    state: &ApiState,
    shown: &Shown,
    hint: Option<&str>,
) -> Result<WorkerCaller, ApiError> {
    if hint.is_some_and(|id| !is_identifier(id)) {
        return Err(ApiError::new(Code::InvalidMessage, "invalid worker id"));
    }
    match shown.common_name(state.settings.worker_auth) {
        Some(name) => by_certificate(state, shown, name, hint).await,
        None => by_token(state, shown, hint).await,
    }
}

/// Takes the certificate's word, and gathers the keys that the worker may sign with: a certificate
/// says who speaks on this connection and does not sign messages. Source: wire-protocol §3.4.
async fn by_certificate(
    state: &ApiState,
    shown: &Shown,
    name: &str,
    hint: Option<&str>,
) -> Result<WorkerCaller, ApiError> {
    if !is_identifier(name) {
        let message =
            "the certificate's common name is not a worker id: 1 to 128 of A-Z a-z 0-9 _ -";
        return Err(refused(message));
    }
    if hint.is_some_and(|hint| hint != name) {
        return Err(refused("the certificate is another worker's"));
    }
    let mut caller = WorkerCaller {
        id: WorkerId::new(name),
        keys: Vec::new(),
        has_expired_token: false,
    };
    caller.keys.extend(configured(state, &caller.id));
    if let Some(token) = shown.token()
        && !caller.keys.contains(&token)
    {
        match state.runtime.access_token(token.expose()).await? {
            TokenCheck::Valid(owner) if owner == caller.id => caller.keys.push(token),
            TokenCheck::Expired(owner) => caller.has_expired_token = owner == caller.id,
            // Not needed: who speaks is known.
            TokenCheck::Valid(_) | TokenCheck::Unknown => {}
        }
    }
    Ok(caller)
}

async fn by_token(
    state: &ApiState,
    shown: &Shown,
    hint: Option<&str>,
) -> Result<WorkerCaller, ApiError> {
    let Some(presented) = shown.token() else {
        return Err(refused(missing_proof(state, shown)));
    };
    let takes_static = state.settings.worker_auth != WorkerAuthMode::MtlsOnly;
    if let Some(id) = hint.filter(|_| takes_static) {
        let id = WorkerId::new(id);
        if let Some(key) = configured(state, &id)
            && key == presented
        {
            return Ok(WorkerCaller {
                id,
                keys: vec![key],
                has_expired_token: false,
            });
        }
    }
    match state.runtime.access_token(presented.expose()).await? {
        TokenCheck::Valid(owner) => {
            if hint.is_some_and(|hint| hint != owner.as_str()) {
                return Err(refused("the token is another worker's"));
            }
            let mut keys = vec![presented];
            keys.extend(configured(state, &owner));
            // A worker that has been taken out of the configuration is out at once, whatever it was
            // issued before. Where certificates alone let workers in, the configuration has none.
            if keys.len() == 1 && takes_static {
                return Err(refused("Invalid token"));
            }
            Ok(WorkerCaller {
                id: owner,
                keys,
                has_expired_token: false,
            })
        }
        TokenCheck::Expired(owner) if hint.is_none_or(|hint| hint == owner.as_str()) => {
            Err(token_expired())
        }
        TokenCheck::Expired(_) => Err(refused("the token is another worker's")),
        TokenCheck::Unknown if !takes_static => Err(refused(missing_proof(state, shown))),
        TokenCheck::Unknown if hint.is_none() && state.tokens().global() == Some(presented) => {
            // Without an id there is nobody to be authenticated as (WQ3).
            Err(ApiError::new(
                Code::InvalidMessage,
                "Missing X-Worker-ID header",
            ))
        }
        TokenCheck::Unknown => Err(refused("Invalid token")),
    }
}

/// Says what a worker should have shown.
fn missing_proof(state: &ApiState, shown: &Shown) -> &'static str {
    match state.settings.worker_auth {
        WorkerAuthMode::Mixed | WorkerAuthMode::TokenOnly => "Missing X-Worker-Token header",
        WorkerAuthMode::MtlsOnly if shown.certificate.is_some() => {
            "the certificate's subject has no common name, which would be the worker's id"
        }
        WorkerAuthMode::MtlsOnly => {
            "a client certificate is needed here (WORKER_AUTH_MODE=mtls-only)"
        }
    }
}

/// Tells whether the worker may exchange a refresh token. The token itself proves who it is (step 8
/// of wire-protocol §3.2); this is about whether that worker may still come in.
///
/// Where certificates alone let workers in, it has to show its own: tokens that were got by a static
/// one, before the mode was set, end within the hour.
pub fn may_refresh(state: &ApiState, shown: &Shown, worker: &WorkerId) -> bool {
    let mode = state.settings.worker_auth;
    let is_certified = shown.common_name(mode) == Some(worker.as_str());
    let is_configured = mode != WorkerAuthMode::MtlsOnly && configured(state, worker).is_some();
    is_certified || is_configured
}

/// Returns the token that the worker is configured with: its own, else the global one.
fn configured(state: &ApiState, worker: &WorkerId) -> Option<Secret> {
    let tokens = state.tokens();
    tokens
        .token(worker)
        .or_else(|| tokens.global())
        .filter(|token| !token.is_empty())
}
