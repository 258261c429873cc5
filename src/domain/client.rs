//! Clients: who may submit jobs, and what of them a job remembers.

use serde::{Deserialize, Serialize};

use super::Object;
use crate::base::{ClientId, Secret};

/// A client as `clients.toml` describes it.
#[derive(Debug, Clone)]
pub struct Client {
    /// The table's name. Jobs are owned by this id, never by the token.
    pub id: ClientId,
    /// SHA-256 of the token as lower-case hex.
    pub token_hash: String,
    /// Free text that blueprints see as `client.plan`.
    pub plan: String,
    /// Free table that blueprints see as `client.params`.
    pub params: Object,
    /// Jobs that the client may create in a calendar month (UTC); none is no limit.
    pub monthly_attempts: Option<u64>,
    /// Signs this client's webhooks; none and they go out unsigned.
    pub webhook_secret: Option<Secret>,
    /// May call the operator's routes (worker internals, reload).
    pub admin: bool,
}

/// The id that owns scheduled jobs and other work that no client asked for.
pub const SYSTEM_CLIENT: &str = "system";

/// What a job keeps of its client: no token, no secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientRef {
    /// The owner.
    pub id: ClientId,
    /// As `client.plan` in expressions.
    pub plan: String,
    /// As `client.params` in expressions.
    #[serde(default)]
    pub params: Object,
}

impl From<&Client> for ClientRef {
    fn from(client: &Client) -> Self {
        Self {
            id: client.id.clone(),
            plan: client.plan.clone(),
            params: client.params.clone(),
        }
    }
}
