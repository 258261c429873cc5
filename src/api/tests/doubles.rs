//! Stand-ins for what lies outside: time, chance, blobs, tokens, receivers of webhooks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::Notify;

use super::fixture::{OTHER, WORKER};
use crate::api::auth::WorkerTokens;
use crate::base::{ClientId, Clock, Entropy, JobId, Secret, Timestamp, WorkerId, crypto};
use crate::domain::Event;
use crate::runtime::{SendFailure, WebhookRequest, WebhookSecrets, WebhookSender};
use crate::store::{
    BlobBody, BlobError, BlobInfo, BlobStore, HistoryStore, MemoryStore, StoreError,
};

/// A clock that stands still until it is moved.
pub(super) struct StillClock(pub(super) AtomicI64);

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

/// Chance that is counted.
pub(super) struct CountedEntropy(pub(super) AtomicU64);

impl Entropy for CountedEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(32) {
            let count = self.0.fetch_add(1, Ordering::Relaxed);
            let digest = crypto::sha256(&[&count.to_be_bytes()]);
            chunk.copy_from_slice(&digest[..chunk.len()]);
        }
    }
}

/// Takes every webhook and signs none.
pub(super) struct NoWebhooks;

#[async_trait]
impl WebhookSender for NoWebhooks {
    async fn send(&self, _: WebhookRequest) -> Result<(), SendFailure> {
        Ok(())
    }
}

impl WebhookSecrets for NoWebhooks {
    fn secret(&self, _: &ClientId) -> Option<Secret> {
        None
    }
}

/// A history whose next empty page is held back, so that something can happen between its reading
/// and its answer.
pub(super) struct GatedHistory {
    inner: Arc<MemoryStore>,
    is_armed: AtomicBool,
    /// An empty page was read.
    pub(super) reached: Notify,
    /// Lets it go.
    pub(super) open: Notify,
}

impl GatedHistory {
    pub(super) fn new(inner: Arc<MemoryStore>) -> Self {
        Self {
            inner,
            is_armed: AtomicBool::new(false),
            reached: Notify::new(),
            open: Notify::new(),
        }
    }

    /// Holds back the next empty page.
    pub(super) fn arm(&self) {
        self.is_armed.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl HistoryStore for GatedHistory {
    async fn append(&self, events: Vec<Event>) -> Result<(), StoreError> {
        self.inner.append(events).await
    }

    async fn by_job(
        &self,
        job: JobId,
        after: Option<(u64, u32)>,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let page = self.inner.by_job(job, after, limit).await?;
        if page.is_empty() && self.is_armed.swap(false, Ordering::Relaxed) {
            self.reached.notify_one();
            self.open.notified().await;
        }
        Ok(page)
    }
}

/// Blobs in memory.
#[derive(Default)]
pub(super) struct Blobs(Mutex<BTreeMap<String, Bytes>>);

impl Blobs {
    fn info(key: &str, bytes: &Bytes) -> BlobInfo {
        BlobInfo {
            key: key.to_owned(),
            bytes: bytes.len() as u64,
            sha256: Some(crypto::sha256_hex(bytes)),
        }
    }
}

#[async_trait]
impl BlobStore for Blobs {
    async fn put(
        &self,
        key: &str,
        mut body: BlobBody,
        bytes_max: u64,
    ) -> Result<BlobInfo, BlobError> {
        let mut all = Vec::new();
        while let Some(piece) = body.next().await {
            all.extend_from_slice(&piece?);
            if all.len() as u64 > bytes_max {
                return Err(BlobError::TooLarge { limit: bytes_max });
            }
        }
        let bytes = Bytes::from(all);
        let info = Self::info(key, &bytes);
        self.0.lock().unwrap().insert(key.to_owned(), bytes);
        Ok(info)
    }

    fn uploads_max(&self) -> Option<usize> {
        Some(8)
    }

    async fn get(&self, key: &str) -> Result<Option<(BlobInfo, BlobBody)>, BlobError> {
        let found = self.0.lock().unwrap().get(key).cloned();
        Ok(found.map(|bytes| {
            let info = Self::info(key, &bytes);
            (info, futures::stream::iter([Ok(bytes)]).boxed())
        }))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<BlobInfo>, BlobError> {
        let blobs = self.0.lock().unwrap();
        let found = blobs.iter().filter(|(key, _)| key.starts_with(prefix));
        Ok(found.map(|(key, bytes)| Self::info(key, bytes)).collect())
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, BlobError> {
        let blobs = self.0.lock().unwrap();
        let below = blobs.keys().filter_map(|key| key.strip_prefix(prefix));
        let mut names: Vec<String> = below
            .filter_map(|key| Some(key.split_once('/')?.0.to_owned()))
            .collect();
        names.dedup();
        Ok(names)
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<(), BlobError> {
        self.0
            .lock()
            .unwrap()
            .retain(|key, _| !key.starts_with(prefix));
        Ok(())
    }

    fn uri(&self, key: &str) -> String {
        format!("memory://{key}")
    }
}

/// The workers' tokens, until they are taken away.
#[derive(Default)]
pub(super) struct Tokens {
    pub(super) are_gone: AtomicBool,
}

impl WorkerTokens for Tokens {
    fn token(&self, worker: &WorkerId) -> Option<Secret> {
        match worker.as_str() {
            _ if self.are_gone.load(Ordering::Relaxed) => None,
            "gpu-01" => Some(Secret::from(WORKER.1)),
            // The recorded run's.
            "gpu-worker-01" => Some(Secret::from("super-secret-gpu-worker-token")),
            _ => None,
        }
    }

    fn global(&self) -> Option<Secret> {
        let is_there = !self.are_gone.load(Ordering::Relaxed);
        is_there.then(|| Secret::from(OTHER.1))
    }
}
