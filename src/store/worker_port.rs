//! The port to what is known of workers: records, reputation, short-lived tokens, nonces.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::StoreError;
use crate::base::{Timestamp, WorkerId};
use crate::domain::Worker;

/// The kind of a short-lived worker token. Source: wire-protocol §3.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// Authenticates requests.
    Access,
    /// Buys a new pair, once.
    Refresh,
}

/// A short-lived worker token, by the hash of its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// SHA-256 of the token as hex.
    pub hash: String,
    /// Which kind.
    pub kind: TokenKind,
    /// Whose.
    pub worker: WorkerId,
    /// The pairs that stem from one issue; a reused refresh token revokes them all.
    pub family: Uuid,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// What became of a refresh token that was presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// It was good, and is used up now.
    Taken(TokenRecord),
    /// It was used before: its whole family is revoked now.
    Reused,
    /// Unknown or past its time.
    Unknown,
}

/// Workers, their reputation, their short-lived tokens and the nonces of their messages.
#[async_trait]
pub trait WorkerStore: Send + Sync + 'static {
    /// Stores a registration; keeps the reputation that an earlier one has earned. Returns the
    /// record as stored.
    async fn put_worker(&self, worker: Worker) -> Result<Worker, StoreError>;

    /// Stores what a heartbeat changes: everything but registration time and reputation. A worker
    /// that is not known stays unknown.
    async fn beat(&self, worker: Worker) -> Result<(), StoreError>;

    /// Lets workers live until later, all at once, and changes nothing else of them. One that lives
    /// longer already, or is not known, stays as it is.
    async fn extend_workers(&self, until: Vec<(WorkerId, Timestamp)>) -> Result<(), StoreError>;

    /// Returns every worker, by id, the expired ones included.
    async fn list_workers(&self) -> Result<Vec<Worker>, StoreError>;

    /// Returns those of the workers that are known, by id.
    async fn load_workers(&self, ids: &[WorkerId]) -> Result<Vec<Worker>, StoreError> {
        let mut workers = self.list_workers().await?;
        workers.retain(|worker| ids.contains(&worker.id));
        Ok(workers)
    }

    /// Forgets workers that expired before the time; their reputation is kept for their return, until
    /// [`REPUTATION_KEPT_MS`](super::rules::REPUTATION_KEPT_MS) are over.
    async fn forget_workers(&self, expired_before: Timestamp) -> Result<Vec<WorkerId>, StoreError>;

    /// Changes a worker's reputation within 0 to 1; returns the new one. A worker that was never
    /// known starts from 1.
    async fn adjust_reputation(&self, worker: &WorkerId, delta: f64) -> Result<f64, StoreError>;

    /// Stores short-lived tokens; those of a family that is revoked are not stored.
    async fn put_tokens(&self, tokens: Vec<TokenRecord>) -> Result<(), StoreError>;

    /// Returns the access token's record, expired ones included: their holder is told to refresh.
    async fn find_access_token(&self, hash: &str) -> Result<Option<TokenRecord>, StoreError>;

    /// Uses up a refresh token of the worker's.
    async fn take_refresh_token(
        &self,
        hash: &str,
        worker: &WorkerId,
        now: Timestamp,
    ) -> Result<RefreshOutcome, StoreError>;

    /// Remembers a nonce until the time; false when it is known already.
    async fn remember_nonce(
        &self,
        worker: &WorkerId,
        nonce: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Tells whether a nonce is remembered just now, without remembering it.
    async fn knows_nonce(
        &self,
        worker: &WorkerId,
        nonce: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Forgets tokens and nonces that are past their time.
    async fn purge_secrets(&self, now: Timestamp) -> Result<(), StoreError>;
}
