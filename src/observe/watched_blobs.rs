//! A blob store whose transfers are counted, and are spans of the request that they are made for.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use super::trace::{Lap, current, current_state, transfer_span};
use super::{Metrics, Moved, Standing, Traces};
use crate::base::Clock;
use crate::store::{BlobBody, BlobError, BlobInfo, BlobRight, BlobStore};

/// See the module.
pub struct WatchedBlobs {
    blobs: Arc<dyn BlobStore>,
    metrics: Metrics,
    traces: Traces,
    clock: Arc<dyn Clock>,
}

impl WatchedBlobs {
    /// Counts what goes into a blob store and comes out of it.
    #[must_use]
    pub fn new(
        blobs: Arc<dyn BlobStore>,
        metrics: Metrics,
        traces: Traces,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            blobs,
            metrics,
            traces,
            clock,
        }
    }

    async fn told<T>(
        &self,
        moved: Moved,
        key: &str,
        transfer: impl Future<Output = Result<T, BlobError>>,
    ) -> Result<T, BlobError> {
        let place = current().and_then(|caller| self.traces.within(caller));
        let traced = place.map(|place| (place, Lap::begin(self.clock.as_ref())));
        let began = Instant::now();
        let ended = transfer.await;
        let took = ended.is_ok().then(|| began.elapsed());
        self.metrics.transferred(moved.as_str(), took);
        if let Some((place, lap)) = traced {
            let failed = ended.is_err().then_some("not_transferred");
            let span = transfer_span(moved, &self.blobs.uri(key), (place, &lap), failed);
            self.traces.record(span.state(current_state().as_deref()));
        }
        ended
    }
}

#[async_trait]
impl BlobStore for WatchedBlobs {
    async fn put(&self, key: &str, body: BlobBody, bytes_max: u64) -> Result<BlobInfo, BlobError> {
        let transfer = self.blobs.put(key, body, bytes_max);
        self.told(Moved::Upload, key, transfer).await
    }

    async fn put_whole(&self, key: &str, content: Bytes) -> Result<BlobInfo, BlobError> {
        let transfer = self.blobs.put_whole(key, content);
        self.told(Moved::Upload, key, transfer).await
    }

    fn uploads_max(&self) -> Option<usize> {
        self.blobs.uploads_max()
    }

    async fn get(&self, key: &str) -> Result<Option<(BlobInfo, BlobBody)>, BlobError> {
        let transfer = self.blobs.get(key);
        self.told(Moved::Download, key, transfer).await
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

    async fn remove_broken_off(&self) -> Result<(), BlobError> {
        self.blobs.remove_broken_off().await
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
