//! Floor 2: the wire between orchestrator and worker, and the form of webhooks.
//!
//! Bytes become JSON values ([`parse_json`]), values become typed messages ([`wire`]), messages
//! are signed and checked over their canonical form ([`canonical_bytes`], [`sign()`], [`verify`]).
//! Everything here works on data that is handed to it: no sockets, no clock, no entropy.
//! Source: wire-protocol.

pub mod canonical;
pub mod errors;
pub mod freshness;
pub mod headers;
mod members;
pub mod sign;
mod task_message;
pub mod webhook;
pub mod wire;

pub use canonical::{canonical_bytes, canonical_form, parse_json, to_wire_bytes};
pub use errors::WireError;
pub use sign::{seal, sign, verify};
pub use task_message::{task_message, verify_task};

#[cfg(test)]
mod vectors;
