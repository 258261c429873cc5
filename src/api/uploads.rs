//! Uploads under way, by whose they are: one client, or all that have its links, cannot have all the places
//! that the blob store has.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::{ApiError, Code};
use crate::base::ClientId;

/// One client's part of the places.
const SHARE: usize = 4;
/// How long an upload waits for a place before it is refused; its body is not read meanwhile.
const PATIENCE: Duration = Duration::from_secs(30);

/// Places of those clients that have uploads under way.
#[derive(Debug, Default)]
pub(super) struct Uploads(Mutex<HashMap<ClientId, Weak<Semaphore>>>);

impl Uploads {
    /// Waits for one of the client's places, a quarter of all; the upload has it until it is dropped. The
    /// same number of places is given each time, or none where there is no limit.
    pub(super) async fn take(
        &self,
        client: &ClientId,
        places: Option<usize>,
    ) -> Result<Option<OwnedSemaphorePermit>, ApiError> {
        let Some(places) = places else {
            return Ok(None);
        };
        let own = self.of(client, (places / SHARE).max(1));
        match tokio::time::timeout(PATIENCE, own.acquire_owned()).await {
            // The semaphore itself is never closed.
            Ok(place) => Ok(place.ok()),
            Err(_) => {
                Err(ApiError::new(Code::Busy, "too many uploads at once, try again").retry_after(1))
            }
        }
    }

    fn of(&self, client: &ClientId, places: usize) -> Arc<Semaphore> {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = clients.get(client).and_then(Weak::upgrade) {
            return known;
        }
        clients.retain(|_, places| places.strong_count() > 0);
        let own = Arc::new(Semaphore::new(places));
        clients.insert(client.clone(), Arc::downgrade(&own));
        own
    }
}
