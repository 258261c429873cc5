//! The other ports behind the gate: workers, history, blobs, webhooks and their secrets.

use std::sync::Arc;

use async_trait::async_trait;
use avtomatika::base::{ClientId, JobId, Secret, Timestamp, WorkerId};
use avtomatika::domain::{Event, Worker};
use avtomatika::runtime::{SendFailure, WebhookRequest, WebhookSecrets, WebhookSender};
use avtomatika::store::{
    BlobBody, BlobError, BlobInfo, BlobStore, HistoryStore, RefreshOutcome, StoreError,
    TokenRecord, WorkerStore,
};

use crate::ports::{Ports, through};
use crate::seen::Seen;
use crate::world::SIGNING_MARK;

#[async_trait]
impl WorkerStore for Ports {
    async fn put_worker(&self, worker: Worker) -> Result<Worker, StoreError> {
        through!(self, "put worker", |world, _gate| world
            .store
            .put_worker(worker)
            .await)
    }

    async fn beat(&self, worker: Worker) -> Result<(), StoreError> {
        through!(self, "beat", |world, _gate| world.store.beat(worker).await)
    }

    async fn extend_workers(&self, until: Vec<(WorkerId, Timestamp)>) -> Result<(), StoreError> {
        through!(self, "extend workers", |world, _gate| {
            world.store.extend_workers(until).await
        })
    }

    async fn list_workers(&self) -> Result<Vec<Worker>, StoreError> {
        through!(self, "list workers", |world, _gate| world
            .store
            .list_workers()
            .await)
    }

    async fn forget_workers(&self, expired_before: Timestamp) -> Result<Vec<WorkerId>, StoreError> {
        through!(self, "forget workers", |world, _gate| {
            world.store.forget_workers(expired_before).await
        })
    }

    async fn adjust_reputation(&self, worker: &WorkerId, delta: f64) -> Result<f64, StoreError> {
        let worker = worker.clone();
        through!(self, "adjust reputation", |world, _gate| {
            world.store.adjust_reputation(&worker, delta).await
        })
    }

    async fn put_tokens(&self, tokens: Vec<TokenRecord>) -> Result<(), StoreError> {
        through!(self, "put tokens", |world, _gate| world
            .store
            .put_tokens(tokens)
            .await)
    }

    async fn find_access_token(&self, hash: &str) -> Result<Option<TokenRecord>, StoreError> {
        let hash = hash.to_owned();
        through!(self, "find token", |world, _gate| world
            .store
            .find_access_token(&hash)
            .await)
    }

    async fn take_refresh_token(
        &self,
        hash: &str,
        worker: &WorkerId,
        now: Timestamp,
    ) -> Result<RefreshOutcome, StoreError> {
        let (hash, worker) = (hash.to_owned(), worker.clone());
        through!(self, "take token", |world, _gate| {
            world.store.take_refresh_token(&hash, &worker, now).await
        })
    }

    async fn remember_nonce(
        &self,
        worker: &WorkerId,
        nonce: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let (worker, nonce) = (worker.clone(), nonce.to_owned());
        through!(self, "nonce", |world, _gate| {
            world
                .store
                .remember_nonce(&worker, &nonce, now, until)
                .await
        })
    }

    async fn knows_nonce(
        &self,
        worker: &WorkerId,
        nonce: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (worker, nonce) = (worker.clone(), nonce.to_owned());
        through!(self, "find nonce", |world, _gate| {
            world.store.knows_nonce(&worker, &nonce, now).await
        })
    }

    async fn purge_secrets(&self, now: Timestamp) -> Result<(), StoreError> {
        through!(self, "purge secrets", |world, _gate| world
            .store
            .purge_secrets(now)
            .await)
    }
}

#[async_trait]
impl HistoryStore for Ports {
    async fn append(&self, events: Vec<Event>) -> Result<(), StoreError> {
        through!(self, "append", |world, gate| {
            world.store.append(events.clone()).await?;
            gate.see(Seen::Recorded { events });
            Ok(())
        })
    }

    async fn by_job(
        &self,
        job: JobId,
        after: Option<(u64, u32)>,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        through!(self, "history", |world, _gate| world
            .store
            .by_job(job, after, limit)
            .await)
    }
}

/// A world without files.
pub struct NoBlobs;

#[async_trait]
impl BlobStore for NoBlobs {
    async fn put(&self, key: &str, _: BlobBody, _: u64) -> Result<BlobInfo, BlobError> {
        Err(BlobError::InvalidKey(key.to_owned()))
    }

    async fn get(&self, _: &str) -> Result<Option<(BlobInfo, BlobBody)>, BlobError> {
        Ok(None)
    }

    async fn list(&self, _: &str) -> Result<Vec<BlobInfo>, BlobError> {
        Ok(Vec::new())
    }

    async fn folders(&self, _: &str) -> Result<Vec<String>, BlobError> {
        Ok(Vec::new())
    }

    async fn delete_prefix(&self, _: &str) -> Result<(), BlobError> {
        Ok(())
    }

    fn uri(&self, key: &str) -> String {
        format!("nowhere:{key}")
    }
}

#[async_trait]
impl WebhookSender for Ports {
    async fn send(&self, request: WebhookRequest) -> Result<(), SendFailure> {
        let gate = &self.gate;
        let world = &gate.world;
        let failure = |reason: &str| SendFailure {
            is_final: false,
            reason: reason.to_owned(),
        };
        let calm = world.is_calm();
        let refused = !calm && gate.chance(world.plan.webhook_refused);
        gate.wait(if calm { 1 } else { 40 }).await;
        if refused && gate.chance(500) {
            return Err(failure("no connection"));
        }
        let header = |name: &str| {
            let found = request.headers.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        if !world.saboteur.swallows_webhook() {
            gate.see(Seen::Webhook {
                id: header("webhook-id"),
                headers: format!("{:?}", request.headers),
                body: String::from_utf8_lossy(&request.body).into_owned(),
            });
        }
        gate.wait(1).await;
        if refused {
            return Err(failure("the receiver said 503"));
        }
        Ok(())
    }
}

impl WebhookSecrets for Ports {
    fn secret(&self, _: &ClientId) -> Option<Secret> {
        Some(Secret::from(SIGNING_MARK))
    }
}

/// Assembles what an incarnation of an orchestrator is given.
pub fn assemble(
    ports: &Ports,
    clock: Arc<dyn avtomatika::base::Clock>,
    entropy: Arc<dyn avtomatika::base::Entropy>,
) -> avtomatika::runtime::Ports {
    avtomatika::runtime::Ports {
        jobs: Arc::new(ports.clone()),
        workers: Arc::new(ports.clone()),
        history: Arc::new(ports.clone()),
        export: None,
        blobs: Arc::new(NoBlobs),
        clock,
        entropy,
        webhooks: Arc::new(ports.clone()),
        secrets: Arc::new(ports.clone()),
        metrics: avtomatika::observe::Metrics::new(),
        traces: avtomatika::observe::Traces::default(),
    }
}
