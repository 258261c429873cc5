//! Places of what takes long, such as an upload, by whose it is: one client, or all that have its links,
//! cannot have all the places that there are.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::{ApiError, Code};

/// One owner's part of the places.
const SHARE: usize = 4;
/// How long a place is waited for before the request is refused; its body is not read meanwhile.
const PATIENCE: Duration = Duration::from_secs(30);

/// Places of those that have something under way.
#[derive(Debug)]
pub(super) struct Places<K>(Mutex<HashMap<K, Weak<Semaphore>>>);

impl<K> Default for Places<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + Eq + Hash> Places<K> {
    /// Waits for one of the owner's places, a quarter of all; who asked has it until it is dropped. The
    /// same number of places is given each time. Never ends while the owner's are taken: see [`in_time`].
    pub(super) async fn take(&self, owner: &K, places: usize) -> Option<OwnedSemaphorePermit> {
        let own = self.of(owner, (places / SHARE).max(1));
        // The semaphore itself is never closed.
        own.acquire_owned().await.ok()
    }

    fn of(&self, owner: &K, places: usize) -> Arc<Semaphore> {
        let mut owners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = owners.get(owner).and_then(Weak::upgrade) {
            return known;
        }
        owners.retain(|_, places| places.strong_count() > 0);
        let own = Arc::new(Semaphore::new(places));
        owners.insert(owner.clone(), Arc::downgrade(&own));
        own
    }
}

/// Waits for places, and refuses who has waited too long for the want of them.
pub(super) async fn in_time<T>(what: &str, taking: impl Future<Output = T>) -> Result<T, ApiError> {
    let taken = tokio::time::timeout(PATIENCE, taking).await;
    taken.map_err(|_| {
        let message = format!("too many {what} at once, try again");
        ApiError::new(Code::Busy, message).retry_after(1)
    })
}
