//! What the sink has received: the last ones, and the ids that it has seen.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::base::Timestamp;

/// Ids that are remembered for dropping repeats; far more than can be under way at once.
const IDS_MAX: usize = 100_000;

/// One webhook.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// `webhook-id`; empty when it had none and nothing was checked.
    pub id: String,
    /// When it came.
    pub received_at: Timestamp,
    /// Whether its signature was checked.
    pub verified: bool,
    /// What it says.
    pub body: Value,
}

impl Received {
    /// Returns the webhook as it is shown and printed.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "webhook_id": self.id,
            "received_at": self.received_at.to_rfc3339(),
            "verified": self.verified,
            "body": self.body,
        })
    }
}

/// The last webhooks, oldest first. A clone is the same inbox.
#[derive(Debug, Clone)]
pub struct Inbox {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    keep: usize,
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    kept: VecDeque<Received>,
    seen: HashSet<String>,
    order: VecDeque<String>,
    repeats: u64,
}

impl Inbox {
    /// Makes an empty inbox that keeps so many.
    #[must_use]
    pub fn new(keep: usize) -> Self {
        let shared = Shared {
            keep,
            state: Mutex::default(),
            arrived: Notify::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Puts a webhook in; false when its id was seen before.
    #[must_use]
    pub fn put(&self, received: Received) -> bool {
        let is_new = self.with(|state| {
            if !received.id.is_empty() {
                if !state.seen.insert(received.id.clone()) {
                    state.repeats += 1;
                    return false;
                }
                state.order.push_back(received.id.clone());
                if state.order.len() > IDS_MAX
                    && let Some(oldest) = state.order.pop_front()
                {
                    state.seen.remove(&oldest);
                }
            }
            if state.kept.len() == self.shared.keep {
                state.kept.pop_front();
            }
            state.kept.push_back(received);
            true
        });
        self.shared.arrived.notify_waiters();
        is_new
    }

    /// Returns what is kept, oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<Received> {
        self.with(|state| state.kept.iter().cloned().collect())
    }

    /// Returns how many repeats were dropped.
    #[must_use]
    pub fn repeats(&self) -> u64 {
        self.with(|state| state.repeats)
    }

    /// Waits until a kept webhook fits, and returns it. Whoever calls bounds the wait.
    pub async fn wait_for(&self, fits: impl Fn(&Received) -> bool) -> Received {
        loop {
            let arrived = self.shared.arrived.notified();
            let mut arrived = std::pin::pin!(arrived);
            // Registered before looking, so that nothing can come in between unseen.
            arrived.as_mut().enable();
            if let Some(found) = self.with(|state| state.kept.iter().find(|one| fits(one)).cloned())
            {
                return found;
            }
            arrived.await;
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        // A panic while the lock was held leaves at worst a webhook less: go on.
        act(&mut self
            .shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner))
    }
}
