//! What the outbox carries.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::base::Timestamp;
use crate::domain::Webhook;
use crate::engine::Signal;

/// What the outbox carries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(
    clippy::large_enum_variant,
    reason = "few at a time, and moved once or twice"
)]
pub enum Message {
    /// For another job.
    Signal(Signal),
    /// For a client's URL.
    Webhook(Box<Webhook>),
}

/// A message to be delivered at least once, claimed for a while.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxItem {
    /// Derived from the commit, or the webhook's own id.
    pub id: Uuid,
    /// What.
    pub message: Message,
    /// Deliveries tried before this one.
    pub attempts: u32,
    /// When it was written.
    pub created_at: Timestamp,
}

/// Which messages: jobs wait for signals, and a client's server may be slow with its webhooks, so that
/// neither waits behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// [`Message::Signal`].
    Signal,
    /// [`Message::Webhook`].
    Webhook,
}

impl Message {
    /// Returns which it is.
    #[must_use]
    pub const fn kind(&self) -> MessageKind {
        match self {
            Self::Signal(_) => MessageKind::Signal,
            Self::Webhook(_) => MessageKind::Webhook,
        }
    }
}
