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
