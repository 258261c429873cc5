//! What the API can be told, with its bounds.

use std::time::Duration;

use super::json::BodyLimits;
use super::limits::RateLimits;
use crate::base::{Secret, crypto};

/// How workers prove who they are. Source: wire-protocol §3.1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WorkerAuthMode {
    /// By a certificate or by a token.
    #[default]
    Mixed,
    /// By a certificate, and for an hour by the short-lived token that it brought.
    MtlsOnly,
    /// By a token; certificates are passed over.
    TokenOnly,
}

/// Where links to files lead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FileLinks {
    /// To the blob store itself when it is a server, by addresses that it has signed; else here.
    #[default]
    Store,
    /// Here.
    Here,
}

/// The API's settings. Units are in the names or the types.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// First segment of the client routes, without slashes; empty puts them at the root.
    pub client_prefix: String,
    /// Whether there are client routes at all.
    pub client_api: bool,
    /// Whether `/_public/openapi.json` shows the blueprints' endpoints and schemas to everybody
    /// (HQ1); without it the document holds the fixed routes only.
    pub public_blueprints: bool,
    /// Most bytes of a JSON body, after decompression.
    pub body_bytes_max: usize,
    /// Longest time for a JSON body to come.
    pub body_timeout: Duration,
    /// Most bytes of an uploaded file.
    pub upload_bytes_max: u64,
    /// Where links to files lead.
    pub file_links: FileLinks,
    /// Longest pause within an upload.
    pub upload_timeout: Duration,
    /// How workers prove who they are.
    pub worker_auth: WorkerAuthMode,
    /// Longest time that a worker's poll is kept open; below the original worker's 35 s.
    pub poll_window: Duration,
    /// Signs the tasks that are handed out, and the links to job files.
    pub task_secret: Secret,
    /// Whether owners see everything that a job holds, not only the common members.
    pub detailed: bool,
    /// None and nobody is limited.
    pub rate_limits: Option<RateLimits>,
    /// Most bytes of a job's policy, as compact JSON.
    pub policy_bytes_max: usize,
    /// Most state entries that a request may ask for.
    pub transitions_max: u32,
    /// Where clients reach this server, for links: `https://jobs.example.org`. None takes the
    /// request's own `Host`.
    pub public_url: Option<String>,
    /// How clients' requests come, for links without `public_url`: `http` or `https`.
    pub scheme: &'static str,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            client_prefix: "api".to_owned(),
            client_api: true,
            public_blueprints: true,
            body_bytes_max: 1 << 20,
            body_timeout: Duration::from_secs(30),
            upload_bytes_max: 1 << 30,
            file_links: FileLinks::default(),
            upload_timeout: Duration::from_secs(30),
            worker_auth: WorkerAuthMode::default(),
            poll_window: Duration::from_secs(30),
            task_secret: Secret::default(),
            detailed: false,
            rate_limits: Some(RateLimits::default()),
            policy_bytes_max: 4096,
            transitions_max: 100,
            public_url: None,
            scheme: "http",
        }
    }
}

impl ApiSettings {
    /// Returns the limits of a JSON body.
    #[must_use]
    pub const fn body(&self) -> BodyLimits {
        BodyLimits {
            bytes_max: self.body_bytes_max,
            timeout: self.body_timeout,
        }
    }

    /// Returns the key that signs file links: derived, so that a link tells nothing of the key that
    /// signs tasks.
    #[must_use]
    pub fn link_key(&self) -> [u8; 32] {
        crypto::hmac_sha256(
            self.task_secret.expose().as_bytes(),
            b"avtomatika file link v1",
        )
    }
}
