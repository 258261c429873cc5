//! On whose account files are moved: each transfer is counted, and is a span of its task's run.

use std::sync::Arc;

use tokio::time::Instant;

use super::Trouble;
use crate::base::Clock;
use crate::observe::{Moved, WorkerMetrics};
use crate::roles::worker::config::WorkerConfig;
use crate::roles::worker::trace::Carried;

/// See the module.
pub(in crate::roles::worker) struct Account {
    metrics: WorkerMetrics,
    trace: Carried,
    clock: Arc<dyn Clock>,
}

impl Account {
    /// Opens a run's.
    pub(in crate::roles::worker) fn new(config: &WorkerConfig, trace: &Carried) -> Self {
        Self {
            metrics: config.metrics.clone(),
            trace: trace.clone(),
            clock: Arc::clone(&config.clock),
        }
    }

    /// Waits for a transfer, whose file is at an address on S3.
    pub(super) async fn of<T>(
        &self,
        moved: Moved,
        uri: &str,
        transfer: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        let began = self.trace.moves(self.clock.as_ref());
        let started = Instant::now();
        let ended = transfer.await;
        let took = ended.is_ok().then(|| started.elapsed());
        self.metrics.transferred(moved, took);
        if let Some(began) = began {
            let failed = ended.as_ref().err().map(|trouble| trouble.code.as_str());
            self.trace.moved(began, (moved, uri), failed);
        }
        ended
    }
}
