//! Who is calling: clients by the hash of their token. Workers are told apart in
//! [`worker::auth`](super::worker::auth).

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;

use super::ApiState;
use super::error::{ApiError, Code};
use crate::base::{Secret, WorkerId, crypto};
use crate::domain::Client;

/// The header that carries a client's token.
pub const CLIENT_TOKEN: &str = "x-client-token";

/// The longest token that is looked at, in bytes.
pub(super) const TOKEN_BYTES_MAX: usize = 4096;

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
