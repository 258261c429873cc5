//! The messages as types: strict on reading, sparse on writing.
//!
//! `decode` takes the parsed message by reference, because the signature is checked over that raw
//! value. `encode` leaves out what is not set; [`to_wire_bytes`](super::to_wire_bytes) turns it
//! into bytes. Source: wire-protocol §5.

mod answers;
mod beat;
mod event;
mod parts;
mod registration;
mod result;
mod task;

pub use answers::{EventAnswer, HeartbeatAnswer, RegisterAnswer, ResultAnswer, TokenResponse};
pub use beat::{DeviceUsage, Heartbeat, Usage};
pub use event::{PROGRESS, WorkerCommand, WorkerEventPayload};
pub use parts::SecurityContext;
pub(super) use parts::files;
pub use registration::Registration;
pub use result::TaskResult;
pub use task::TaskPayload;

use serde_json::Value;

use crate::domain::Object;

/// The only command of the wire.
pub const CANCEL_TASK: &str = "cancel_task";

/// Collects the members that are set.
#[derive(Default)]
pub(super) struct Sparse(Object);

impl Sparse {
    /// Adds a member.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a member unless there is none.
    pub(super) fn with_some(mut self, name: &str, value: Option<impl Into<Value>>) -> Self {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value.into());
        }
        self
    }

    /// Adds a member that has a serde form, unless there is none.
    pub(super) fn with_serde<T: serde::Serialize>(self, name: &str, value: Option<&T>) -> Self {
        let value = value.map(|value| {
            serde_json::to_value(value).expect("wire types have text keys and derived serde forms")
        });
        self.with_some(name, value)
    }

    /// Returns the object.
    pub(super) fn done(self) -> Object {
        self.0
    }
}

#[cfg(test)]
mod tests;
