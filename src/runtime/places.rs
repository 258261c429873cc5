//! How many messages go out at once: each kind has places of its own, since jobs do not wait for the
//! receivers of webhooks, and one receiver has a share of the places, since others do not wait for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::store::{Message, MessageKind};

/// One receiver has one part in so many of the places for webhooks: one that does not answer leaves places
/// for those that do, and one that answers is not held up for nothing.
const SHARES: usize = 2;

/// See the module.
pub(super) struct Places {
    signals: Arc<Semaphore>,
    webhooks: Arc<Semaphore>,
    share: usize,
    /// How many webhooks go out to each receiver just now.
    receivers: Arc<Mutex<HashMap<String, usize>>>,
}

/// Room for a message; dropping it makes room for another.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    _share: Option<Share>,
}

/// One receiver's part in the places.
struct Share {
    receivers: Arc<Mutex<HashMap<String, usize>>>,
    receiver: String,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut receivers = held(&self.receivers);
        if let Some(count) = receivers.get_mut(&self.receiver) {
            *count -= 1;
            if *count == 0 {
                receivers.remove(&self.receiver);
            }
        }
    }
}

impl Places {
    /// Makes so many of each kind.
    pub(super) fn new(count: usize) -> Self {
        Self {
            signals: Arc::new(Semaphore::new(count)),
            webhooks: Arc::new(Semaphore::new(count)),
            share: count.div_ceil(SHARES),
            receivers: Arc::default(),
        }
    }

    /// Takes a place if one is free, and within its receiver's share.
    pub(super) fn try_take(&self, message: &Message) -> Option<Place> {
        let permit = self.of(message.kind()).try_acquire_owned().ok()?;
        self.fit(permit, message)
    }

    /// Waits for a place of a kind, for whatever message.
    pub(super) async fn wait(&self, kind: MessageKind) -> OwnedSemaphorePermit {
        let permit = self.of(kind).acquire_owned().await;
        permit.expect("the semaphores are never closed")
    }

    /// Returns how many places of a kind are free.
    pub(super) fn free(&self, kind: MessageKind) -> usize {
        self.of(kind).available_permits()
    }

    /// Gives a message a place that was waited for; nothing when its receiver has its share.
    pub(super) fn fit(&self, permit: OwnedSemaphorePermit, message: &Message) -> Option<Place> {
        let share = match message {
            Message::Signal(_) => None,
            Message::Webhook(webhook) => Some(self.share_of(receiver(&webhook.url))?),
        };
        Some(Place {
            _permit: permit,
            _share: share,
        })
    }

    fn share_of(&self, receiver: &str) -> Option<Share> {
        let mut receivers = held(&self.receivers);
        let count = receivers.entry(receiver.to_owned()).or_default();
        if *count >= self.share {
            return None;
        }
        *count += 1;
        Some(Share {
            receivers: Arc::clone(&self.receivers),
            receiver: receiver.to_owned(),
        })
    }

    fn of(&self, kind: MessageKind) -> Arc<Semaphore> {
        Arc::clone(match kind {
            MessageKind::Signal => &self.signals,
            MessageKind::Webhook => &self.webhooks,
        })
    }
}

fn held(receivers: &Mutex<HashMap<String, usize>>) -> MutexGuard<'_, HashMap<String, usize>> {
    receivers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns who is behind an address: its scheme, host and port, as written.
fn receiver(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?', '#']);
    end.map_or(url, |end| &url[..host + end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_are_told_apart_by_host_and_port() {
        for (url, expected) in [
            ("https://a.example/hook?x=1", "https://a.example"),
            ("http://a:81", "http://a:81"),
            ("http://a:81?b", "http://a:81"),
            ("no address", "no address"),
        ] {
            assert_eq!(receiver(url), expected, "{url}");
        }
    }

    #[test]
    fn a_receiver_has_a_share_of_the_places() {
        let places = Places::new(8);
        let shares: Vec<Share> = std::iter::from_fn(|| places.share_of("a")).collect();
        assert_eq!(shares.len(), 4);
        let other = places.share_of("b");
        assert!(other.is_some());
        drop(shares);
        assert!(places.share_of("a").is_some());
        drop(other);
        assert!(held(&places.receivers).is_empty());
    }
}
