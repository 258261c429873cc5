//! Floor 1: the nouns of the product: job, task, worker, client, schedule, journal.
//!
//! Plain data with serde forms. Performs no I/O, reads no clock, decides nothing.

pub mod client;
pub mod error_code;
pub mod job;
pub mod journal;
pub mod schedule;
pub mod task;
pub mod worker;

pub use client::{Client, ClientRef};
pub use error_code::TaskErrorCode;
pub use job::{Job, JobError, JobStatus, ParentLink, Waiting};
pub use journal::{Event, EventKind, Webhook};
pub use task::{Lease, Task, TaskReport, TaskSpec, TaskStatus};
pub use worker::Worker;

/// A JSON object whose members keep their order.
pub type Object = serde_json::Map<String, serde_json::Value>;

/// Tells whether a member may be left out of a record, because reading puts the same back.
fn is_default<T: Default + PartialEq>(member: &T) -> bool {
    *member == T::default()
}

/// Reads a member that is there: null is a value of its own, and only what is absent is none. So a
/// record that has been stored reads back as what it was.
fn present<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<Option<serde_json::Value>, D::Error> {
    serde::Deserialize::deserialize(from).map(Some)
}
