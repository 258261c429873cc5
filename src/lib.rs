//! Avtomatika: a durable workflow orchestrator in one binary.
//!
//! Floors, lowest first; a floor imports only from the floors above it in this list
//! (`tests/tidy.rs` holds them to it). Opening the `mod.rs` files in this order is the
//! design document.

pub mod base;

pub mod domain;

pub mod blueprint;
pub mod protocol;

pub mod engine;

pub mod net;
pub mod observe;
pub mod store;

pub mod runtime;

pub mod api;

pub mod config;
pub mod roles;
