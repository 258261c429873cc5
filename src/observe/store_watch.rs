//! What watches a store behind all its ports: how long each call takes, how often calls fail, and
//! whether the store is away.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::store::Operation;
use super::{Asked, Metrics, Outages, Standing};
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
                outages.failed(asked_by(operation), error);
            }
            None if operation.only_reads() || operation == Operation::Health => {
                outages.answered(asked_by(operation));
            }
            // A store whose content is damaged answers; one that was to write may have found nothing to.
            Some(_) | None => {}
        }
    }

    /// Something was written.
    pub(super) fn wrote(&self) {
        self.0.outages.answered(Asked::Own);
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

/// Returns what a call asks of the store. How much it writes is not known: where there is no room for a large
/// commit, small ones go through.
fn asked_by(operation: Operation) -> Asked {
    match operation {
        // The least that can be written.
        Operation::Health => Asked::Room(0),
        operation if operation.only_reads() => Asked::Answer,
        _ => Asked::Own,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::base::Timestamp;

    #[derive(Default)]
    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp(self.0.load(Ordering::SeqCst))
        }
    }

    /// It answers who only reads, and who finds nothing to write.
    #[test]
    fn a_store_that_is_full_is_one_outage() {
        let clock = Arc::new(Hand::default());
        let watch = StoreWatch::new(Metrics::new(), clock.clone());
        let full = StoreError::Unavailable("full".to_owned());
        let ended = |operation, error| {
            clock.0.fetch_add(60_000, Ordering::SeqCst);
            watch.called(operation, Instant::now(), error);
        };
        let seen = || (watch.standing().is_away, watch.standing().outage_count);
        for _ in 0..3 {
            ended(Operation::Commit, Some(&full));
            ended(Operation::Due, None);
            ended(Operation::Lease, None);
            ended(Operation::Health, Some(&full));
            ended(Operation::Load, None);
            assert_eq!(seen(), (true, 1));
        }
        ended(Operation::Health, None);
        assert_eq!(seen(), (false, 1));
        ended(Operation::Commit, Some(&full));
        ended(Operation::Due, None);
        assert_eq!(seen(), (true, 2));
        clock.0.fetch_add(60_000, Ordering::SeqCst);
        watch.wrote();
        assert_eq!(seen(), (false, 2));
        // One that has no room for large commits has some for what is small.
        ended(Operation::Commit, Some(&full));
        for _ in 0..50 {
            clock.0.fetch_sub(59_000, Ordering::SeqCst);
            ended(Operation::Health, None);
            watch.wrote();
            assert_eq!(seen(), (true, 3));
            clock.0.fetch_add(59_000, Ordering::SeqCst);
            ended(Operation::Commit, Some(&full));
        }
        ended(Operation::Health, None);
        assert_eq!(seen(), (false, 3));
        // One that is gone answers nobody.
        ended(Operation::Due, Some(&full));
        ended(Operation::Commit, Some(&full));
        ended(Operation::Due, None);
        assert_eq!(seen(), (false, 4));
    }
}
