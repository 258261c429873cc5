//! Workers, tokens and nonces in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use uuid::Uuid;

use super::MemoryStore;
use crate::base::{Timestamp, WorkerId};
use crate::domain::Worker;
use crate::store::rules::{self, REPUTATION_START};
use crate::store::{RefreshOutcome, StoreError, TokenKind, TokenRecord, WorkerStore};

#[derive(Debug)]
struct Token {
    record: TokenRecord,
    is_used: bool,
}

/// What is known of workers.
#[derive(Debug, Default)]
pub(super) struct Workers {
    by_id: BTreeMap<WorkerId, Worker>,
    /// Outlives the worker's record.
    reputation: BTreeMap<WorkerId, f64>,
    /// Until when those lived that have gone since and have a reputation.
    gone: BTreeMap<WorkerId, Timestamp>,
    /// By the hash of their text.
    tokens: BTreeMap<String, Token>,
    /// Families whose tokens are worth nothing, until when any of them could have been worth
    /// something.
    revoked: BTreeMap<Uuid, Timestamp>,
    nonces: BTreeMap<(WorkerId, String), Timestamp>,
}

impl Workers {
    fn take_refresh(&mut self, hash: &str, worker: &WorkerId, now: Timestamp) -> RefreshOutcome {
        let Some(token) = self.tokens.get_mut(hash) else {
            return RefreshOutcome::Unknown;
        };
        let record = &token.record;
        let is_good = record.kind == TokenKind::Refresh && record.expires_at > now;
        if !is_good || record.worker != *worker {
            return RefreshOutcome::Unknown;
        }
        if !token.is_used {
            token.is_used = true;
            return RefreshOutcome::Taken(token.record.clone());
        }
        let (family, until) = (record.family, record.expires_at);
        self.tokens.retain(|_, token| token.record.family != family);
        self.revoked.insert(family, until);
        RefreshOutcome::Reused
    }
}

#[async_trait]
impl WorkerStore for MemoryStore {
    async fn put_worker(&self, mut worker: Worker) -> Result<Worker, StoreError> {
        let mut state = self.state()?;
        let workers = &mut state.workers;
        let earned = workers
            .reputation
            .entry(worker.id.clone())
            .or_insert(worker.reputation);
        worker.reputation = *earned;
        workers.gone.remove(&worker.id);
        workers.by_id.insert(worker.id.clone(), worker.clone());
        Ok(worker)
    }

    async fn beat(&self, mut worker: Worker) -> Result<(), StoreError> {
        let mut state = self.state()?;
        if let Some(known) = state.workers.by_id.get_mut(&worker.id) {
            worker.registered_at = known.registered_at;
            worker.reputation = known.reputation;
            *known = worker;
        }
        Ok(())
    }

    async fn extend_workers(&self, until: Vec<(WorkerId, Timestamp)>) -> Result<(), StoreError> {
        let mut state = self.state()?;
        for (id, until) in until {
            if let Some(known) = state.workers.by_id.get_mut(&id) {
                known.expires_at = known.expires_at.max(until);
            }
        }
        Ok(())
    }

    async fn list_workers(&self) -> Result<Vec<Worker>, StoreError> {
        Ok(self.state()?.workers.by_id.values().cloned().collect())
    }

    async fn forget_workers(&self, expired_before: Timestamp) -> Result<Vec<WorkerId>, StoreError> {
        let mut state = self.state()?;
        let workers = &mut state.workers;
        let gone: Vec<(WorkerId, Timestamp)> = workers
            .by_id
            .extract_if(.., |_, worker| worker.expires_at < expired_before)
            .map(|(id, worker)| (id, worker.expires_at))
            .collect();
        workers.gone.extend(gone.iter().cloned());
        let long_before = rules::reputations_gone_before(expired_before);
        for (id, _) in workers.gone.extract_if(.., |_, at| *at < long_before) {
            workers.reputation.remove(&id);
        }
        Ok(gone.into_iter().map(|(id, _)| id).collect())
    }

    async fn adjust_reputation(&self, worker: &WorkerId, delta: f64) -> Result<f64, StoreError> {
        let mut state = self.state()?;
        let workers = &mut state.workers;
        let reputation = workers
            .reputation
            .entry(worker.clone())
            .or_insert(REPUTATION_START);
        *reputation = rules::adjusted_reputation(*reputation, delta);
        if let Some(known) = workers.by_id.get_mut(worker) {
            known.reputation = *reputation;
        }
        Ok(*reputation)
    }

    async fn put_tokens(&self, tokens: Vec<TokenRecord>) -> Result<(), StoreError> {
        let mut state = self.state()?;
        for record in tokens {
            if !state.workers.revoked.contains_key(&record.family) {
                let token = Token {
                    record,
                    is_used: false,
                };
                state
                    .workers
                    .tokens
                    .insert(token.record.hash.clone(), token);
            }
        }
        Ok(())
    }

    async fn find_access_token(&self, hash: &str) -> Result<Option<TokenRecord>, StoreError> {
        let state = self.state()?;
        let found = state.workers.tokens.get(hash).map(|token| &token.record);
        Ok(found
            .filter(|record| record.kind == TokenKind::Access)
            .cloned())
    }

    async fn take_refresh_token(
        &self,
        hash: &str,
        worker: &WorkerId,
        now: Timestamp,
    ) -> Result<RefreshOutcome, StoreError> {
        Ok(self.state()?.workers.take_refresh(hash, worker, now))
    }

    async fn remember_nonce(
        &self,
        worker: &WorkerId,
        nonce: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut state = self.state()?;
        let key = (worker.clone(), nonce.to_owned());
        if state
            .workers
            .nonces
            .get(&key)
            .is_some_and(|known| *known > now)
        {
            return Ok(false);
        }
        state.workers.nonces.insert(key, until);
        Ok(true)
    }

    async fn knows_nonce(
        &self,
        worker: &WorkerId,
        nonce: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let state = self.state()?;
        let key = (worker.clone(), nonce.to_owned());
        Ok(state
            .workers
            .nonces
            .get(&key)
            .is_some_and(|until| *until > now))
    }

    async fn purge_secrets(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut state = self.state()?;
        state
            .workers
            .tokens
            .retain(|_, token| token.record.expires_at > now);
        state.workers.revoked.retain(|_, until| *until > now);
        state.workers.nonces.retain(|_, until| *until > now);
        Ok(())
    }
}
