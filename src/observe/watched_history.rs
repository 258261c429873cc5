//! A store of history that is watched, as those of jobs and workers are.

use std::sync::Arc;

use async_trait::async_trait;

use super::StoreWatch;
use super::store::Operation;
use crate::base::JobId;
use crate::domain::Event;
use crate::store::{HistoryStore, StoreError};

/// See the module.
pub struct WatchedHistory {
    history: Arc<dyn HistoryStore>,
    watch: StoreWatch,
}

impl WatchedHistory {
    /// Watches a store.
    #[must_use]
    pub fn new(history: Arc<dyn HistoryStore>, watch: StoreWatch) -> Self {
        Self { history, watch }
    }
}

#[async_trait]
impl HistoryStore for WatchedHistory {
    async fn append(&self, events: Vec<Event>) -> Result<(), StoreError> {
        let call = self.history.append(events);
        self.watch.timed(Operation::History, call).await
    }

    async fn by_job(
        &self,
        job: JobId,
        after: Option<(u64, u32)>,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let call = self.history.by_job(job, after, limit);
        self.watch.timed(Operation::History, call).await
    }
}
