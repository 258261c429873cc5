//! What the program tells of itself: log lines ([`log`]), figures ([`Metrics`]) and spans ([`trace`]). Never sees a
//! payload or a secret: whoever tells passes names, ids and counts, and no id becomes a label.
//!
//! A process makes one [`Metrics`] when it starts and hands it down; there is no global one. Those
//! who count hold it and call a method for each thing that happens. What can be read from memory at
//! any time (depths, ages, numbers of workers) is not counted but looked at when somebody scrapes.

mod catalog;
mod definition;
mod family;
mod jobs;
pub mod log;
mod metrics;
mod outage;
mod register;
mod requests;
mod roles;
mod snapshot;
mod store;
mod store_watch;
pub mod trace;
mod watched_blobs;
mod watched_history;
mod watched_jobs;
mod watched_workers;

pub use catalog::{ORCHESTRATOR, PROCESS};
pub use definition::{Definition, Kind};
pub use log::{LogFormat, LogSettings, check_level, init};
pub use metrics::{Metrics, Withheld};
pub use outage::{Asked, Outages, Presence, Standing};
pub use register::CONTENT_TYPE;
pub use requests::{Audience, Refusal};
pub use roles::{
    Beaten, Handed, Moved, OrchestratorStanding, Polled, Receipt, Reported, SCHEDULER, SINK,
    SchedulerMetrics, SinkMetrics, SlotEnd, WORKER, WorkerMetrics, WorkerStanding,
};
pub use snapshot::{Reputation, SkillQueue, Snapshot};
pub use store_watch::StoreWatch;
pub use trace::Traces;
pub use watched_blobs::WatchedBlobs;
pub use watched_history::WatchedHistory;
pub use watched_jobs::WatchedJobs;
pub use watched_workers::WatchedWorkers;
