//! Who is calling: clients by the hash of their token, workers by a token of their own, the global
//! one, or a short-lived access token.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;

use super::ApiState;
use super::error::{ApiError, Code};
use crate::base::ids::is_identifier;
use crate::base::{Secret, WorkerId, crypto};
use crate::domain::Client;
use crate::protocol::headers::{WORKER_ID, WORKER_TOKEN};
use crate::runtime::TokenCheck;

/// The header that carries a client's token.
pub const CLIENT_TOKEN: &str = "x-client-token";

/// The longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 4096;

/// The clients by the SHA-256 of their tokens.
///
/// The lookup is by the hash of what was presented, so its time tells nothing of the tokens that
/// are there.
#[derive(Debug, Default)]
pub struct ClientBook {
    by_hash: HashMap<String, Arc<Client>>,
}

impl ClientBook {
    /// Collects clients; of two with the same token the first stays.
    pub fn new(clients: impl IntoIterator<Item = Client>) -> Self {
        let mut by_hash = HashMap::new();
        for client in clients {
            by_hash
                .entry(client.token_hash.clone())
                .or_insert_with(|| Arc::new(client));
        }
        Self { by_hash }
    }

    /// Returns the client whose token this is.
    #[must_use]
    pub fn find(&self, token: &str) -> Option<Arc<Client>> {
        if token.is_empty() || token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let hash = crypto::sha256_hex(token.as_bytes());
        let client = self.by_hash.get(&hash)?;
        crypto::constant_time_eq(hash.as_bytes(), client.token_hash.as_bytes())
            .then(|| Arc::clone(client))
    }

    /// Tells whether a client that was let in would be let in again.
    #[must_use]
    pub fn has(&self, client: &Client) -> bool {
        let known = self.by_hash.get(&client.token_hash);
        known.is_some_and(|known| known.id == client.id)
    }
}

/// Returns the client that the header names.
pub fn client_of(state: &ApiState, headers: &HeaderMap) -> Result<Arc<Client>, ApiError> {
    let Some(token) = headers.get(CLIENT_TOKEN) else {
        return Err(ApiError::new(
            Code::Unauthorized,
            "Missing X-Client-Token header",
        ));
    };
    token
        .to_str()
        .ok()
        .and_then(|token| state.clients.load().find(token))
        .ok_or_else(|| ApiError::new(Code::Unauthorized, "Unauthorized: Invalid token"))
}

/// The client that was authenticated for a request of the client API.
#[derive(Debug, Clone)]
pub struct Caller(pub Arc<Client>);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| ApiError::internal(&"a client route without authentication"))
    }
}

/// The tokens that workers are configured with. They are kept in the clear because they are also
/// the workers' signing keys.
pub trait WorkerTokens: Send + Sync + 'static {
    /// Returns the worker's own token: by its exact id, else by the first pattern that fits.
    fn token(&self, worker: &WorkerId) -> Option<Secret>;

    /// Returns the token that any worker without one of its own may use, if there is one (CQ2).
    fn global(&self) -> Option<Secret>;

    /// Reads the tokens anew, replacing the whole set (HQ13). False when there is no file to read;
    /// the text says what is wrong with it, and the old set stays.
    fn reload(&self) -> Result<bool, String> {
        Ok(false)
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
}

fn refused(message: &str) -> ApiError {
    ApiError::new(Code::WorkerUnauthorized, format!("Unauthorized: {message}"))
}

/// Returns the id that a worker's header claims.
pub fn claimed_id(headers: &HeaderMap) -> Option<&str> {
    headers
        .get(WORKER_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| !id.is_empty())
}

/// Authenticates a worker. `hint` is the id that it claims: from the path, else from its header.
///
/// The worker's own token comes first, then access tokens; the global token is no way around a
/// token of the worker's own. Source: wire-protocol §3.2, with WQ3 and WQ4 fixed.
pub async fn worker_of(
    state: &ApiState,
    headers: &HeaderMap,
    hint: Option<&str>,
) -> Result<WorkerCaller, ApiError> {
    let presented = headers
        .get(WORKER_TOKEN)
        .and_then(|value| value.to_str().ok())
        .filter(|token| !token.is_empty() && token.len() <= TOKEN_BYTES_MAX)
        .map(Secret::new)
        .ok_or_else(|| refused("Missing X-Worker-Token header"))?;
    if let Some(id) = hint {
        if !is_identifier(id) {
            return Err(ApiError::new(Code::InvalidMessage, "invalid worker id"));
        }
        let id = WorkerId::new(id);
        if let Some(key) = configured(state, &id)
            && key == presented
        {
            return Ok(WorkerCaller {
                id,
                keys: vec![key],
            });
        }
    }
    match state.runtime.access_token(presented.expose()).await? {
        TokenCheck::Valid(owner) => {
            if hint.is_some_and(|hint| hint != owner.as_str()) {
                return Err(refused("the token is another worker's"));
            }
            // A worker that has been taken out of the configuration is out at once, whatever it was
            // issued before.
            let key = configured(state, &owner).ok_or_else(|| refused("Invalid token"))?;
            let keys = vec![key, presented];
            Ok(WorkerCaller { id: owner, keys })
        }
        TokenCheck::Expired(owner) if hint.is_none_or(|hint| hint == owner.as_str()) => {
            Err(ApiError::new(
                Code::TokenExpired,
                "Unauthorized: the access token has expired",
            ))
        }
        TokenCheck::Expired(_) => Err(refused("the token is another worker's")),
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

/// Tells whether the worker may come in at all, whatever it shows.
pub fn is_configured(state: &ApiState, worker: &WorkerId) -> bool {
    configured(state, worker).is_some()
}

/// Returns the token that the worker is configured with: its own, else the global one.
fn configured(state: &ApiState, worker: &WorkerId) -> Option<Secret> {
    let tokens = state.tokens();
    tokens
        .token(worker)
        .or_else(|| tokens.global())
        .filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ClientId;

    fn client(id: &str, token: &str) -> Client {
        Client {
            id: ClientId::from(id),
            token_hash: Secret::from(token).hash(),
            plan: "premium".to_owned(),
            params: crate::domain::Object::new(),
            monthly_attempts: None,
            webhook_secret: None,
            admin: false,
        }
    }

    #[test]
    fn clients_are_found_by_their_token_only() {
        let book = ClientBook::new([client("a", "token-a"), client("b", "token-b")]);
        for (token, found) in [
            ("token-a", Some("a")),
            ("token-b", Some("b")),
            ("token-c", None),
            ("", None),
            (&"x".repeat(5000), None),
            (&Secret::from("token-a").hash(), None),
        ] {
            let id = book.find(token).map(|client| client.id.to_string());
            assert_eq!(id.as_deref(), found, "{token}");
        }
    }
}
