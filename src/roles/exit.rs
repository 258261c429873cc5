//! How the program ends: every expected end has a code that scripts can branch on.

use std::process::ExitCode;

/// The program's exit codes. README lists them; a test compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done; the job, if there was one, finished.
    Ok,
    /// The job failed, or one of the checks that were asked for did.
    JobFailed,
    /// The command line cannot be read.
    Usage,
    /// The job was quarantined.
    Quarantined,
    /// The job was cancelled.
    Cancelled,
    /// The time was over before the job was.
    StillRunning,
    /// The orchestrator cannot be reached, or has trouble of its own.
    Unreachable,
    /// The orchestrator refused the request.
    Refused,
    /// A configuration or blueprint file is not good.
    Invalid,
    /// A fault of this program's.
    Internal,
    /// Stopped by the user.
    Interrupted,
}

impl Exit {
    /// Every end, in the order of its code.
    pub const ALL: [Self; 11] = [
        Self::Ok,
        Self::JobFailed,
        Self::Usage,
        Self::Quarantined,
        Self::Cancelled,
        Self::StillRunning,
        Self::Unreachable,
        Self::Refused,
        Self::Invalid,
        Self::Internal,
        Self::Interrupted,
    ];

    /// Returns the code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::JobFailed => 1,
            Self::Usage => 2,
            Self::Quarantined => 3,
            Self::Cancelled => 4,
            Self::StillRunning => 5,
            Self::Unreachable => 6,
            Self::Refused => 7,
            Self::Invalid => 8,
            Self::Internal => 70,
            Self::Interrupted => 130,
        }
    }

    /// Returns the code's meaning, as README and `--help` have it.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "done; the job finished",
            Self::JobFailed => "the job failed, or a check did",
            Self::Usage => "the command line cannot be read",
            Self::Quarantined => "the job was quarantined",
            Self::Cancelled => "the job was cancelled",
            Self::StillRunning => "the time was over before the job was",
            Self::Unreachable => "the orchestrator cannot be reached or has trouble of its own",
            Self::Refused => "the orchestrator refused the request",
            Self::Invalid => "a configuration or blueprint file is not good",
            Self::Internal => "a fault of this program's",
            Self::Interrupted => "stopped by the user",
        }
    }

    /// Returns the end that a job's status stands for; nothing while it runs.
    #[must_use]
    pub fn of_status(status: &str) -> Option<Self> {
        match status {
            "finished" => Some(Self::Ok),
            // `error` is an end of the original's that this program does not have.
            "failed" | "error" => Some(Self::JobFailed),
            "quarantined" => Some(Self::Quarantined),
            "cancelled" => Some(Self::Cancelled),
            _ => None,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command could not do what was asked: what was seen, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// How the program ends.
    pub exit: Exit,
    /// What was seen; lower case, no full stop.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
    /// The orchestrator's HTTP status, when it refused.
    pub status: Option<u16>,
}

impl Failure {
    /// Makes a failure.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: None,
            status: None,
        }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A command line that clap cannot judge.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// An address that cannot be listened on; `flag` is what names its port.
    pub fn cannot_listen(address: &str, flag: &str, error: &std::io::Error) -> Self {
        let message = format!("cannot listen on {address}: {error}");
        let hint = match error.kind() {
            std::io::ErrorKind::AddrInUse => format!(
                "another program has this port: stop it, or name another {flag} (port 0 for a free one)"
            ),
            std::io::ErrorKind::PermissionDenied => {
                format!("ports below 1024 are the administrator's: name another {flag}")
            }
            _ => format!("name an address of this machine and a free port by {flag}"),
        };
        Self::new(Exit::Unreachable, message).hint(hint)
    }

    /// A fault of this program's, or of the machine below it.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Exit::Internal, message)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::internal(format!("{error:#}"))
    }
}

impl From<crate::config::ConfigError> for Failure {
    fn from(error: crate::config::ConfigError) -> Self {
        Self::new(Exit::Invalid, error.to_string())
            .hint("`avtomatika config check` checks the files without starting anything")
    }
}

/// What every role returns.
pub type RoleResult = Result<Exit, Failure>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_in_order() {
        let codes: Vec<u8> = Exit::ALL.into_iter().map(Exit::code).collect();
        assert!(codes.is_sorted_by(|a, b| a < b), "{codes:?}");
    }

    #[test]
    fn every_terminal_status_has_an_end() {
        for status in crate::domain::JobStatus::ALL {
            let ended = Exit::of_status(status.as_str()).is_some();
            assert_eq!(ended, status.is_terminal(), "{status:?}");
        }
    }
}
