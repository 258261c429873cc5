//! Why the shell could not do what was asked, and what of it the log is told.

use crate::base::JobId;
use crate::engine::SubmitError;
use crate::store::StoreError;

/// Warns of an error, but not while the store is away: its outage is one line when it begins and one
/// when it ends, however much fails meanwhile.
macro_rules! warn_of {
    ($error:ident, $($rest:tt)*) => {
        if $error.is_outage() {
            tracing::debug!(error = %$error, $($rest)*)
        } else {
            tracing::warn!(error = %$error, $($rest)*)
        }
    };
}

/// Why the shell could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// No good revision of that name.
    #[error("there is no blueprint `{name}`")]
    UnknownBlueprint {
        /// The name.
        name: String,
    },
    /// The client's to mend.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The idempotency key belongs to another request.
    #[error("the idempotency key was used for another request, which made job {job_id}")]
    KeyReused {
        /// That request's job.
        job_id: JobId,
    },
    /// No job left this month.
    #[error("the quota of {limit} jobs a month is used up")]
    QuotaExceeded {
        /// The quota.
        limit: u64,
    },
    /// No such job.
    #[error("job not found")]
    JobNotFound,
    /// Too much at once; the same call may go through later.
    #[error("too many changes at once, try again")]
    Busy,
    /// The store's trouble.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The process is on its way out.
    #[error("shutting down")]
    ShuttingDown,
}

impl RuntimeError {
    /// Tells whether the store does not answer just now.
    pub(super) fn is_outage(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_outage())
    }
}
