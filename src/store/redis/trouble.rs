//! What an error of the server or of the way to it means for the caller.

use fred::error::{Error, ErrorKind};

use crate::store::StoreError;

pub(super) fn unavailable(error: &Error) -> StoreError {
    StoreError::Unavailable(format!("Redis: {error}"))
}

/// Tells whether the server has answered that it will not, as hosted ones do.
pub(super) fn is_refused(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Unknown
            | ErrorKind::InvalidCommand
            | ErrorKind::InvalidArgument
            | ErrorKind::Auth
    )
}

/// Tells a fault of a script, which no repetition mends, from trouble that may pass.
pub(super) fn told(error: &Error) -> StoreError {
    let is_ours = error.details().contains("user_script")
        && !error.details().starts_with("OOM")
        && !error.details().contains("-OOM")
        && !error.details().contains("READONLY")
        && !error.details().contains("MISCONF");
    if is_ours {
        return StoreError::Corrupt(format!("Redis: {error}"));
    }
    unavailable(error)
}
