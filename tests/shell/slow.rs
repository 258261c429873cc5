//! A store that takes its time with a heartbeat.

use std::sync::Arc;

use async_trait::async_trait;
use avtomatika::base::{Timestamp, WorkerId};
use avtomatika::domain::Worker;
use avtomatika::store::{MemoryStore, RefreshOutcome, StoreError, TokenRecord, WorkerStore};
use tokio::sync::Notify;

/// Holds a heartbeat back until it is let go; does the rest as the memory store does.
pub struct SlowBeats {
    pub inner: Arc<MemoryStore>,
    /// A heartbeat is at the store.
    pub reached: Notify,
    /// Lets it go on.
    pub open: Notify,
}

#[async_trait]
impl WorkerStore for SlowBeats {
    async fn put_worker(&self, worker: Worker) -> Result<Worker, StoreError> {
        self.inner.put_worker(worker).await
    }

    async fn beat(&self, worker: Worker) -> Result<(), StoreError> {
        self.reached.notify_one();
        self.open.notified().await;
        self.inner.beat(worker).await
    }

    async fn extend_workers(&self, until: Vec<(WorkerId, Timestamp)>) -> Result<(), StoreError> {
        self.inner.extend_workers(until).await
    }

    async fn list_workers(&self) -> Result<Vec<Worker>, StoreError> {
        self.inner.list_workers().await
    }

    async fn forget_workers(&self, before: Timestamp) -> Result<Vec<WorkerId>, StoreError> {
        self.inner.forget_workers(before).await
    }

    async fn adjust_reputation(&self, worker: &WorkerId, delta: f64) -> Result<f64, StoreError> {
        self.inner.adjust_reputation(worker, delta).await
    }

    async fn put_tokens(&self, tokens: Vec<TokenRecord>) -> Result<(), StoreError> {
        self.inner.put_tokens(tokens).await
    }

    async fn find_access_token(&self, hash: &str) -> Result<Option<TokenRecord>, StoreError> {
        self.inner.find_access_token(hash).await
    }

    async fn take_refresh_token(
        &self,
        hash: &str,
        worker: &WorkerId,
        now: Timestamp,
    ) -> Result<RefreshOutcome, StoreError> {
        self.inner.take_refresh_token(hash, worker, now).await
    }

    async fn remember_nonce(
        &self,
        worker: &WorkerId,
        nonce: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        self.inner.remember_nonce(worker, nonce, now, until).await
    }

    async fn knows_nonce(
        &self,
        worker: &WorkerId,
        nonce: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.inner.knows_nonce(worker, nonce, now).await
    }

    async fn purge_secrets(&self, now: Timestamp) -> Result<(), StoreError> {
        self.inner.purge_secrets(now).await
    }
}
