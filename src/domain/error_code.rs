//! The error codes that a worker may report, and what each means for the task.

use serde::{Deserialize, Serialize};

/// What a failed task's code asks of the engine. Source: engine-semantics §7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// May succeed when tried again.
    Transient,
    /// Will never succeed: the job is quarantined for a person to look at.
    Permanent,
    /// The worker broke its own contract: as permanent, with a larger loss of reputation.
    Contract,
    /// The job's own input is wrong: the job fails, the worker is not to blame.
    Input,
}

/// An error code on the wire. Source: wire-protocol §5.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(
    missing_docs,
    reason = "the names are the wire's own and say what they mean"
)]
pub enum TaskErrorCode {
    TransientError,
    PermanentError,
    InvalidInputError,
    IntegrityMismatchError,
    TimeoutError,
    LateResult,
    ResourceExhaustedError,
    LimitExceededError,
    ContractViolationError,
    DependencyMissingError,
    DependencyError,
    SecurityError,
    InternalError,
}

impl TaskErrorCode {
    /// Returns every code, in the order of the wire's own table.
    pub const ALL: [Self; 13] = [
        Self::TransientError,
        Self::PermanentError,
        Self::InvalidInputError,
        Self::IntegrityMismatchError,
        Self::TimeoutError,
        Self::LateResult,
        Self::ResourceExhaustedError,
        Self::LimitExceededError,
        Self::ContractViolationError,
        Self::DependencyMissingError,
        Self::DependencyError,
        Self::SecurityError,
        Self::InternalError,
    ];

    /// Returns the code's text on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TransientError => "TRANSIENT_ERROR",
            Self::PermanentError => "PERMANENT_ERROR",
            Self::InvalidInputError => "INVALID_INPUT_ERROR",
            Self::IntegrityMismatchError => "INTEGRITY_MISMATCH_ERROR",
            Self::TimeoutError => "TIMEOUT_ERROR",
            Self::LateResult => "LATE_RESULT",
            Self::ResourceExhaustedError => "RESOURCE_EXHAUSTED_ERROR",
            Self::LimitExceededError => "LIMIT_EXCEEDED_ERROR",
            Self::ContractViolationError => "CONTRACT_VIOLATION_ERROR",
            Self::DependencyMissingError => "DEPENDENCY_MISSING_ERROR",
            Self::DependencyError => "DEPENDENCY_ERROR",
            Self::SecurityError => "SECURITY_ERROR",
            Self::InternalError => "INTERNAL_ERROR",
        }
    }

    /// Returns the class of a code's text; an unknown code is transient, as the original has it.
    #[must_use]
    pub fn class_of(code: &str) -> FailureClass {
        match code {
            "PERMANENT_ERROR" | "SECURITY_ERROR" | "DEPENDENCY_ERROR" => FailureClass::Permanent,
            "CONTRACT_VIOLATION_ERROR" => FailureClass::Contract,
            "INVALID_INPUT_ERROR" | "INTEGRITY_MISMATCH_ERROR" => FailureClass::Input,
            _ => FailureClass::Transient,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_serde_agree() {
        for code in TaskErrorCode::ALL {
            assert_eq!(
                serde_json::to_value(code).expect("serialises"),
                code.as_str()
            );
        }
    }

    #[test]
    fn classes() {
        for (code, class) in [
            ("TRANSIENT_ERROR", FailureClass::Transient),
            ("RESOURCE_EXHAUSTED_ERROR", FailureClass::Transient),
            ("NEVER_HEARD_OF", FailureClass::Transient),
            ("SECURITY_ERROR", FailureClass::Permanent),
            ("CONTRACT_VIOLATION_ERROR", FailureClass::Contract),
            ("INVALID_INPUT_ERROR", FailureClass::Input),
        ] {
            assert_eq!(TaskErrorCode::class_of(code), class, "{code}");
        }
    }
}
