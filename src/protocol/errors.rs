//! What can be wrong with a message, and the reasons for which a result is set aside.

use thiserror::Error;

/// A message that cannot be taken. Every case is the sender's fault: answer 400, change nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WireError {
    /// The bytes are not one JSON text.
    #[error("not valid JSON: {0}")]
    NotJson(String),
    /// Objects and arrays are nested too deeply.
    #[error("nested more than {max} levels deep")]
    TooDeep {
        /// The limit.
        max: usize,
    },
    /// An integral number does not fit 64 bits, so no canonical form of it exists.
    #[error("number {0} is outside -2^63 to 2^64-1")]
    NumberOutOfRange(String),
    /// A member is missing or has the wrong type.
    #[error("`{path}`: expected {expected}, got {seen}")]
    Member {
        /// Where it is, `resources.devices[0].type`; `.` is the message itself.
        path: String,
        /// What was there, without its content.
        seen: &'static str,
        /// What belongs there.
        expected: &'static str,
    },
}

/// Reasons in `{"status":"ignored","reason":…}`. Source: wire-protocol §8.4.
pub mod ignored {
    /// The job's deadline had passed.
    pub const DEADLINE_EXCEEDED: &str = "deadline_exceeded";
    /// The job was cancelled.
    pub const JOB_CANCELLED: &str = "job_cancelled";
    /// No such job.
    pub const JOB_NOT_FOUND: &str = "job_not_found";
    /// The task is with another worker.
    pub const WORKER_MISMATCH: &str = "worker_mismatch";
    /// The result names an attempt that is no longer the current one.
    pub const STALE_TASK: &str = "stale_task";
    /// The job has ended.
    pub const JOB_ALREADY_TERMINATED: &str = "job_already_terminated";
    /// Something between receiving and applying refused it.
    pub const MIDDLEWARE_ERROR: &str = "middleware_error";
}
