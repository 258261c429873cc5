//! Outgoing HTTP: one client for all roles, rustls only, every call with a timeout.
//!
//! Nothing here follows redirects, retries by itself, or reads more than a stated number of
//! bytes. Addresses that outsiders choose go through [`GuardedClient`], which reaches the public
//! internet only.

mod address;
mod client;
mod error;
mod guarded;
mod pipe;
mod sse;
mod tls;

pub use address::{Network, is_public};
pub use client::{Call, ClientOptions, HttpAnswer, HttpClient, Method};
pub use error::NetError;
pub use guarded::GuardedClient;
pub use pipe::{Pipe, PipeAnswer};
pub use sse::{EventStream, ServerEvent};
pub use tls::{TlsFiles, client_config, install_crypto};
