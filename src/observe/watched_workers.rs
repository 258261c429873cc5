//! A store of workers that is watched: how long it takes, how often it fails, whether it is away.
//! Changes nothing of what goes through.

use std::sync::Arc;

use async_trait::async_trait;

use super::StoreWatch;
use super::store::Operation;
use crate::base::{Timestamp, WorkerId};
use crate::domain::Worker;
use crate::store::{RefreshOutcome, StoreError, TokenRecord, WorkerStore};

/// See the module.
pub struct WatchedWorkers {
    workers: Arc<dyn WorkerStore>,
    watch: StoreWatch,
}

impl WatchedWorkers {
    /// Watches a store.
    #[must_use]
    pub fn new(workers: Arc<dyn WorkerStore>, watch: StoreWatch) -> Self {
        Self { workers, watch }
    }
}

#[async_trait]
impl WorkerStore for WatchedWorkers {
    async fn put_worker(&self, worker: Worker) -> Result<Worker, StoreError> {
        let call = self.workers.put_worker(worker);
        self.watch.timed(Operation::WorkerPut, call).await
    }

    async fn beat(&self, worker: Worker) -> Result<(), StoreError> {
        let call = self.workers.beat(worker);
        self.watch.timed(Operation::WorkerBeat, call).await
    }

    async fn extend_workers(&self, until: Vec<(WorkerId, Timestamp)>) -> Result<(), StoreError> {
        let call = self.workers.extend_workers(until);
        self.watch.timed(Operation::WorkerExtend, call).await
    }

    async fn list_workers(&self) -> Result<Vec<Worker>, StoreError> {
        let call = self.workers.list_workers();
        self.watch.timed(Operation::WorkerList, call).await
    }

    async fn load_workers(&self, ids: &[WorkerId]) -> Result<Vec<Worker>, StoreError> {
        let call = self.workers.load_workers(ids);
        self.watch.timed(Operation::WorkerList, call).await
    }

    async fn forget_workers(&self, expired_before: Timestamp) -> Result<Vec<WorkerId>, StoreError> {
        let call = self.workers.forget_workers(expired_before);
        self.watch.timed(Operation::WorkerForget, call).await
    }

    async fn adjust_reputation(&self, worker: &WorkerId, delta: f64) -> Result<f64, StoreError> {
        let call = self.workers.adjust_reputation(worker, delta);
        self.watch.timed(Operation::Reputation, call).await
    }

    async fn put_tokens(&self, tokens: Vec<TokenRecord>) -> Result<(), StoreError> {
        let call = self.workers.put_tokens(tokens);
        self.watch.timed(Operation::Tokens, call).await
    }

    async fn find_access_token(&self, hash: &str) -> Result<Option<TokenRecord>, StoreError> {
        let call = self.workers.find_access_token(hash);
        self.watch.timed(Operation::Tokens, call).await
    }

    async fn take_refresh_token(
        &self,
        hash: &str,
        worker: &WorkerId,
        now: Timestamp,
    ) -> Result<RefreshOutcome, StoreError> {
        let call = self.workers.take_refresh_token(hash, worker, now);
        self.watch.timed(Operation::Tokens, call).await
    }

    async fn remember_nonce(
        &self,
        worker: &WorkerId,
        nonce: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let call = self.workers.remember_nonce(worker, nonce, now, until);
        self.watch.timed(Operation::Nonce, call).await
    }

    async fn knows_nonce(
        &self,
        worker: &WorkerId,
        nonce: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let call = self.workers.knows_nonce(worker, nonce, now);
        self.watch.timed(Operation::Nonce, call).await
    }

    async fn purge_secrets(&self, now: Timestamp) -> Result<(), StoreError> {
        let call = self.workers.purge_secrets(now);
        self.watch.timed(Operation::SecretPurge, call).await
    }
}
