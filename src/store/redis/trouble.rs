//! What an error of the server or of the way to it means for the caller.

use fred::error::{Error, ErrorKind};

use crate::store::StoreError;

/// Codes of errors within a script that are a fault of it, or of what it finds; any other one tells how the
/// server stands: full, a replica, without its replicas, not to be asked by this user.
const FAULTS: [&str; 3] = ["ERR", "WRONGTYPE", "CROSSSLOT"];
/// What passes although its code is that of a fault: a cluster that changes or is down, a user who may not
/// do it, and an operator who has ended the script.
const PASSING: [&str; 4] = [
    "access a non local key",
    "while the cluster is down",
    "ACL failure in script",
    "SCRIPT KILL",
];

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

/// Tells whether the server takes no writes, or nothing, because it is a replica.
pub(super) fn is_replicas(error: &Error) -> bool {
    matches!(code(error.details()), "READONLY" | "MASTERDOWN")
}

/// Tells a fault of a script, which no repetition mends, from trouble that may pass.
pub(super) fn told(error: &Error) -> StoreError {
    if is_fault(error.details()) {
        return StoreError::Corrupt(format!("Redis: {error}"));
    }
    unavailable(error)
}

fn is_fault(details: &str) -> bool {
    details.contains("user_script")
        && FAULTS.contains(&code(details))
        && !PASSING.iter().any(|what| details.contains(what))
}

/// Returns the code of the error that a script was given. Redis 6 says that behind one of its own, with a
/// minus before it.
fn code(details: &str) -> &str {
    let mut words = details.split([' ', ':']);
    let is_code = |word: &&str| !word.is_empty() && word.chars().all(|c| c.is_ascii_uppercase());
    let inner = words.clone().find_map(|word| word.strip_prefix('-'));
    let inner = inner.filter(is_code);
    inner.or_else(|| words.next()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Redis 7 and Redis 6 say it.
    #[test]
    fn only_what_no_repetition_mends_is_damage() {
        let at = "script: 6d3e, on @user_script:12.";
        let old = "ERR Error running script (call to f_6d3e): @user_script:12:";
        for (details, is_expected) in [
            (
                format!("ERR user_script:12: attempt to index a nil value {at}"),
                true,
            ),
            (
                format!("WRONGTYPE Operation against a key holding the wrong kind of value {at}"),
                true,
            ),
            (
                format!("{old} @user_script: 12: Wrong number of args calling Redis command"),
                true,
            ),
            (format!("{old} WRONGTYPE Operation against a key"), true),
            (
                format!("{old} user_script:12: attempt to add -1 to nil"),
                true,
            ),
            (
                format!("OOM command not allowed when used memory > 'maxmemory'. {at}"),
                false,
            ),
            (
                format!("{old} @user_script: 12: -OOM command not allowed"),
                false,
            ),
            (
                format!("NOREPLICAS Not enough good replicas to write. {at}"),
                false,
            ),
            (
                format!("{old} @user_script: 12: -NOREPLICAS Not enough good replicas"),
                false,
            ),
            (
                format!("READONLY You can't write against a read only replica. {at}"),
                false,
            ),
            (
                format!("MISCONF Errors writing to the AOF file: No space left {at}"),
                false,
            ),
            (
                format!("ERR ACL failure in script: User jobs has no permissions {at}"),
                false,
            ),
            (
                format!("ERR Script attempted to access a non local key in a cluster node {at}"),
                false,
            ),
            (
                format!("ERR Error running script: Script killed by user with SCRIPT KILL... {at}"),
                false,
            ),
            ("NOAUTH Authentication required.".to_owned(), false),
            (
                "LOADING Redis is loading the dataset in memory".to_owned(),
                false,
            ),
        ] {
            assert_eq!(is_fault(&details), is_expected, "{details}");
        }
    }
}
