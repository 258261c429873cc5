//! A worker's short-lived tokens, and the nonces of its messages. Source: wire-protocol §3.3, §7.

use super::{Inner, Runtime, RuntimeError};
use crate::base::{Secret, WorkerId};
use crate::store::{RefreshOutcome, TokenKind, TokenRecord};

/// A fresh pair of tokens. Only hashes of them are kept.
#[derive(Debug, Clone)]
pub struct TokenPair {
    /// Authenticates requests.
    pub access: Secret,
    /// Buys the next pair, once.
    pub refresh: Secret,
    /// Lifetime of the access token, in seconds.
    pub expires_in: u64,
    /// Whose.
    pub worker: WorkerId,
}

/// What an access token is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenCheck {
    /// It is this worker's.
    Valid(WorkerId),
    /// It was this worker's: refresh.
    Expired(WorkerId),
    /// It is none.
    Unknown,
}

impl Runtime {
    /// Issues a pair to an authenticated worker.
    pub async fn issue_tokens(&self, worker: &WorkerId) -> Result<TokenPair, RuntimeError> {
        let family = self.inner.ports.entropy.uuid();
        self.mint(worker, family).await
    }

    /// Exchanges a refresh token; nothing when it is unknown, expired, another worker's or was
    /// used before, which revokes its whole family (fixes WQ2).
    pub async fn refresh_tokens(
        &self,
        refresh: &str,
        worker: &WorkerId,
    ) -> Result<Option<TokenPair>, RuntimeError> {
        let now = self.inner.ports.clock.now();
        let hash = Secret::from(refresh).hash();
        match self
            .inner
            .ports
            .workers
            .take_refresh_token(&hash, worker, now)
            .await?
        {
            RefreshOutcome::Taken(record) => self.mint(worker, record.family).await.map(Some),
            RefreshOutcome::Reused => {
                tracing::warn!(worker.id = %worker, "a used refresh token came again: its family is revoked");
                Ok(None)
            }
            RefreshOutcome::Unknown => Ok(None),
        }
    }

    async fn mint(&self, worker: &WorkerId, family: uuid::Uuid) -> Result<TokenPair, RuntimeError> {
        let (ports, settings) = (&self.inner.ports, &self.inner.settings);
        let now = ports.clock.now();
        let pair = TokenPair {
            access: Secret::new(ports.entropy.token()),
            refresh: Secret::new(ports.entropy.token()),
            expires_in: settings.access_token_ms / 1000,
            worker: worker.clone(),
        };
        let record = |secret: &Secret, kind, lifetime_ms| TokenRecord {
            hash: secret.hash(),
            kind,
            worker: worker.clone(),
            family,
            expires_at: now.after_ms(lifetime_ms),
        };
        let records = vec![
            record(&pair.access, TokenKind::Access, settings.access_token_ms),
            record(&pair.refresh, TokenKind::Refresh, settings.refresh_token_ms),
        ];
        ports.workers.put_tokens(records).await?;
        Ok(pair)
    }

    /// Looks an access token up.
    pub async fn access_token(&self, token: &str) -> Result<TokenCheck, RuntimeError> {
        let hash = Secret::from(token).hash();
        let now = self.inner.ports.clock.now();
        Ok(
            match self.inner.ports.workers.find_access_token(&hash).await? {
                Some(record) if record.expires_at > now => TokenCheck::Valid(record.worker),
                Some(record) => TokenCheck::Expired(record.worker),
                None => TokenCheck::Unknown,
            },
        )
    }
}

impl Inner {
    /// Tells whether a message came before.
    pub(super) async fn came_before(
        &self,
        worker: &WorkerId,
        nonce: &str,
    ) -> Result<bool, RuntimeError> {
        let now = self.ports.clock.now();
        Ok(self.ports.workers.knows_nonce(worker, nonce, now).await?)
    }

    /// Remembers a message that has been dealt with. What is not remembered may be dealt with
    /// again, which is better than not at all: the failure goes to the log only.
    pub(super) async fn remember(&self, worker: &WorkerId, nonce: &str) {
        let now = self.ports.clock.now();
        let until = now.after_ms(self.settings.nonce_ms);
        let workers = &self.ports.workers;
        if let Err(error) = workers.remember_nonce(worker, nonce, now, until).await {
            warn_of!(error, worker.id = %worker, "a message is not remembered");
        }
    }
}
