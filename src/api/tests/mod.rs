//! The API as its users see it: request text in, response text out, over a runtime in memory.
//!
//! Time stands still and chance is counted, so whole conversations are snapshots.

mod archive;
mod docs;
mod doubles;
mod downloads;
mod events;
mod fixture;
mod hostile;
mod isolation;
mod mtls;
mod openapi;
mod pages;
mod recorded;
mod refusals;
mod socket;
mod stories;
mod story;
mod transfer;
mod worker_auth;
mod workers;
