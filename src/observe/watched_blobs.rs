//! A blob store whose transfers are counted.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::{Metrics, Standing};
use crate::store::{BlobBody, BlobError, BlobInfo, BlobRight, BlobStore};

/// See the module.
pub struct WatchedBlobs {
    blobs: Arc<dyn BlobStore>,
    metrics: Metrics,
}

impl WatchedBlobs {
    /// Counts what goes into a blob store and comes out of it.
    #[must_use]
    pub fn new(blobs: Arc<dyn BlobStore>, metrics: Metrics) -> Self {
        Self { blobs, metrics }
    }
}

#[async_trait]
impl BlobStore for WatchedBlobs {
    async fn put(&self, key: &str, body: BlobBody, bytes_max: u64) -> Result<BlobInfo, BlobError> {
        let began = Instant::now();
        let stored = self.blobs.put(key, body, bytes_max).await;
        let took = stored.is_ok().then(|| began.elapsed());
        self.metrics.transferred("upload", took);
        stored
    }

    async fn get(&self, key: &str) -> Result<Option<(BlobInfo, BlobBody)>, BlobError> {
        let began = Instant::now();
        let found = self.blobs.get(key).await;
        let took = found.is_ok().then(|| began.elapsed());
        self.metrics.transferred("download", took);
        found
    }

    async fn head(&self, key: &str) -> Result<Option<BlobInfo>, BlobError> {
        self.blobs.head(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<BlobInfo>, BlobError> {
        self.blobs.list(prefix).await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, BlobError> {
        self.blobs.folders(prefix).await
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<(), BlobError> {
        self.blobs.delete_prefix(prefix).await
    }

    async fn presign(
        &self,
        right: BlobRight,
        key: &str,
        lifetime: Duration,
    ) -> Result<Option<String>, BlobError> {
        self.blobs.presign(right, key, lifetime).await
    }

    async fn health(&self) -> Result<(), BlobError> {
        self.blobs.health().await
    }

    fn standing(&self) -> Standing {
        self.blobs.standing()
    }

    fn uri(&self, key: &str) -> String {
        self.blobs.uri(key)
    }
}
