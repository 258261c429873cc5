//! Outgoing HTTP: one client for all roles, rustls only, every call with a timeout. And the
//! certificates of both directions: files become settings of rustls here, for listeners too.
//!
//! Nothing here follows redirects, retries by itself, or reads more than a stated number of
//! bytes. Addresses that outsiders choose go through [`GuardedClient`], which reaches the public
//! internet only.

mod address;
#[cfg(test)]
pub(crate) mod authority;
mod certificate;
mod client;
mod error;
mod guarded;
mod listener_tls;
mod pem;
mod pipe;
mod reason;
mod sse;
mod tls;

pub use address::{Network, is_public};
pub use certificate::ClientCertificate;
pub use client::{Call, ClientOptions, HttpAnswer, HttpClient, Method};
pub use error::NetError;
pub use guarded::GuardedClient;
pub use listener_tls::{ListenerFiles, ListenerTls};
pub use pem::TlsProblem;
pub use pipe::{Pipe, PipeAnswer};
pub use sse::{EventStream, ServerEvent};
pub use tls::{TlsFiles, client_config, install_crypto, unchecked_client_config};
