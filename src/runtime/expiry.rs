//! How long workers live: what the store is told of it, and when they are forgotten.
//!
//! A heartbeat says little more than that the worker lives, and thousands of workers say it several
//! times a minute. So that word is kept here and goes to the store for all of them at once, before
//! the store's own word runs out. A crash costs nothing: whoever starts gives every worker that the
//! store knows its time over again.

use std::sync::Arc;
use std::time::Duration;

use super::Inner;
use crate::base::{Timestamp, WorkerId};
use crate::domain::Worker;
use crate::store::StoreError;

/// Least pause between two looks, however short workers live.
const LOOK_PAUSE_MIN: Duration = Duration::from_secs(1);

/// What a worker below the dispatch floor regains with each sweep, so that it is tried again some
/// time (fixes EQ24: the original never forgives).
const REPUTATION_RECOVERY: f64 = 0.005;

impl Inner {
    /// Returns how long before the store's word of a worker's life runs out it is renewed. Two looks
    /// fall into it, so that one may fail.
    const fn renewal_ms(&self) -> u64 {
        self.settings.worker_ttl_ms / 2
    }

    /// Tells the store of the workers that still live, for as long as the shell runs.
    pub(super) async fn run_expiry(self: Arc<Self>) {
        let pause = Duration::from_millis(self.renewal_ms() / 2).max(LOOK_PAUSE_MIN);
        loop {
            self.pause(pause).await;
            if self.stop.is_cancelled() {
                return;
            }
            if let Err(error) = self.store_expiries().await {
                tracing::debug!(%error, "that workers live was not stored; tried again");
            }
        }
    }

    /// Renews the store's word of the workers that live longer than it says, where it runs out soon.
    pub(super) async fn store_expiries(&self) -> Result<(), StoreError> {
        let soon = self.ports.clock.now().after_ms(self.renewal_ms());
        let due: Vec<(WorkerId, Timestamp)> = self
            .registry
            .read()
            .values()
            .filter(|known| known.stored_until < soon.min(known.worker.expires_at))
            .map(|known| (known.worker.id.clone(), known.worker.expires_at))
            .collect();
        if due.is_empty() {
            return Ok(());
        }
        self.ports.workers.extend_workers(due.clone()).await?;
        for (id, until) in due {
            self.registry.change(&id, |known| known.stored_until(until));
        }
        Ok(())
    }

    /// Forgets workers that were not heard of in time, and lets those below the floor recover.
    pub(super) async fn forget_expired_workers(&self, now: Timestamp) -> Result<(), StoreError> {
        if self.silence.is_on() {
            // They may have spoken.
            return Ok(());
        }
        let known: Vec<Arc<Worker>> = self
            .registry
            .read()
            .values()
            .map(|known| Arc::clone(&known.worker))
            .collect();
        let expired: Vec<WorkerId> = known
            .iter()
            .filter(|w| w.expires_at <= now)
            .map(|w| w.id.clone())
            .collect();
        let expired = self.silent_everywhere(expired, now).await?;
        self.registry.remove(&expired);
        for id in &expired {
            tracing::info!(worker.id = %id, "worker not heard of any more");
        }
        // The store's word may be behind: it is believed after it has been given time to come.
        self.store_expiries().await?;
        let slack = i64::try_from(self.renewal_ms()).unwrap_or(i64::MAX);
        let before = Timestamp(now.0.saturating_sub(slack));
        self.ports.workers.forget_workers(before).await?;
        for worker in known
            .iter()
            .filter(|w| w.reputation < self.settings.reputation_min)
        {
            self.change_reputation(&worker.id, REPUTATION_RECOVERY)
                .await?;
        }
        Ok(())
    }
}
