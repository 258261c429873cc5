//! What watches a store behind all its ports: how long each call takes, how often calls fail, and
//! whether the store is away.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::store::Operation;
use super::{Metrics, Outages, Standing};
use crate::base::Clock;
use crate::store::StoreError;

/// See the module. Cheap to clone; every clone is the same one.
#[derive(Clone)]
pub struct StoreWatch(Arc<Watch>);

/// What all clones share.
struct Watch {
    metrics: Metrics,
    outages: Outages,
    /// What fails afterwards is no outage.
    closing: CancellationToken,
}

impl StoreWatch {
    /// Begins to watch a store, which answers until a call tells otherwise.
    #[must_use]
    pub fn new(metrics: Metrics, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Watch {
            metrics,
            outages: Outages::new("store", clock),
            closing: CancellationToken::new(),
        }))
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Waits for a call and counts it.
    pub(super) async fn timed<T>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let began = Instant::now();
        let ended = call.await;
        self.called(operation, began, ended.as_ref().err());
        ended
    }

    /// Counts a call that has ended.
    pub(super) fn called(&self, operation: Operation, began: Instant, error: Option<&StoreError>) {
        let Watch {
            metrics,
            outages,
            closing,
        } = &*self.0;
        let store = metrics.store();
        store.called(operation, began.elapsed(), error.is_some());
        match error {
            Some(error @ StoreError::Unavailable(_)) if !closing.is_cancelled() => {
                outages.failed(error);
            }
            // A store whose content is damaged answers.
            Some(_) => {}
            None => outages.answered(),
        }
    }

    /// Returns how the store stands.
    pub(super) fn standing(&self) -> Standing {
        self.0.outages.standing()
    }

    /// The store is being closed.
    pub(super) fn close(&self) {
        self.0.closing.cancel();
    }
}
