//! Header names, paths and the version of the wire. Source: wire-protocol §1–2.

/// The version that both sides name; informational only.
pub const PROTOCOL_VERSION: &str = "1.0b17";

/// The worker's static token or STS access token.
pub const WORKER_TOKEN: &str = "x-worker-token";
/// The worker's id.
pub const WORKER_ID: &str = "x-worker-id";
/// The protocol version, in both directions.
pub const RXON_VERSION: &str = "x-rxon-version";

/// E1, POST.
pub const REGISTER_PATH: &str = "/_worker/workers/register";
/// E4, POST.
pub const RESULT_PATH: &str = "/_worker/tasks/result";
/// E5, POST.
pub const EVENTS_PATH: &str = "/_worker/events";
/// E6, POST.
pub const TOKEN_PATH: &str = "/_worker/auth/token";
/// E7, POST.
pub const TOKEN_REFRESH_PATH: &str = "/_worker/auth/token/refresh";

/// Returns the path of E2 (PATCH).
#[must_use]
pub fn heartbeat_path(worker_id: &str) -> String {
    format!("/_worker/workers/{worker_id}")
}

/// Ids that a poll may name as lost.
pub const LOST_LEASES_MAX: usize = 8;

/// Returns the path of E3 (GET), without its query.
#[must_use]
pub fn next_task_path(worker_id: &str) -> String {
    format!("/_worker/workers/{worker_id}/tasks/next")
}

/// Returns the path of E8 (GET, upgraded).
#[must_use]
pub fn socket_path(worker_id: &str) -> String {
    format!("/_worker/ws/{worker_id}")
}
