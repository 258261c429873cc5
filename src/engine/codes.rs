//! The engine's own error codes, as `JobError::code` has them. A worker's codes stand beside them
//! unchanged; see `domain::error_code`.

/// A person did not decide in time.
pub const APPROVAL_TIMEOUT: &str = "approval_timeout";
/// The blueprint has nothing for where the job stands; only a damaged store can cause it.
pub const BLUEPRINT_MISMATCH: &str = "blueprint_mismatch";
/// Someone asked for the end.
pub const CANCELLED: &str = "cancelled";
/// A child job did not end well.
pub const CHILD_FAILED: &str = "child_failed";
/// A child job could not be started: unknown blueprint, or input that it refuses.
pub const CHILD_REFUSED: &str = "child_refused";
/// A child job did not end in time.
pub const CHILD_TIMEOUT: &str = "child_timeout";
/// A child would be deeper than the limit.
pub const DEPTH_EXCEEDED: &str = "depth_exceeded";
/// No worker took a task in time.
pub const DISPATCH_TIMEOUT: &str = "dispatch_timeout";
/// An `end` state says that the job failed.
pub const ENDED_FAILED: &str = "ended_failed";
/// An expression of the blueprint failed, or gave what its place cannot use.
pub const EVALUATION_FAILED: &str = "evaluation_failed";
/// An event of the blueprint's own does not match its schema.
pub const EVENT_CONTRACT_VIOLATION: &str = "event_contract_violation";
/// More state entries than the job may make.
pub const MAX_TRANSITIONS_EXCEEDED: &str = "max_transitions_exceeded";
/// No condition of a `choose` holds and it has no `else`.
pub const NO_BRANCH_TAKEN: &str = "no_branch_taken";
/// The result does not match the blueprint's `output`.
pub const OUTPUT_CONTRACT_VIOLATION: &str = "output_contract_violation";
/// Data larger than a job may hold.
pub const PAYLOAD_TOO_LARGE: &str = "payload_too_large";
/// A task had no result in time.
pub const RESULT_TIMEOUT: &str = "result_timeout";
/// The job's policy does not allow a skill.
pub const SKILL_NOT_ALLOWED: &str = "skill_not_allowed";
/// A fan-out with more branches than allowed.
pub const TOO_MANY_BRANCHES: &str = "too_many_branches";
/// A status, decision or outcome that the state has no way out for.
pub const UNHANDLED_STATUS: &str = "unhandled_status";
/// A fan-out's `until` can no longer be met.
pub const UNTIL_UNMET: &str = "until_unmet";
/// An awaited event did not come in time.
pub const WAIT_TIMEOUT: &str = "wait_timeout";
/// A worker reported a task as cancelled and the blueprint has no way out for that.
pub const WORKER_CANCELLED: &str = "worker_cancelled";
/// A task was lost once too often, with its workers or on the way to them.
pub const WORKER_LOST: &str = "worker_lost";

/// Every code, in alphabetical order.
pub const ALL: [&str; 23] = [
    APPROVAL_TIMEOUT,
    BLUEPRINT_MISMATCH,
    CANCELLED,
    CHILD_FAILED,
    CHILD_REFUSED,
    CHILD_TIMEOUT,
    DEPTH_EXCEEDED,
    DISPATCH_TIMEOUT,
    ENDED_FAILED,
    EVALUATION_FAILED,
    EVENT_CONTRACT_VIOLATION,
    MAX_TRANSITIONS_EXCEEDED,
    NO_BRANCH_TAKEN,
    OUTPUT_CONTRACT_VIOLATION,
    PAYLOAD_TOO_LARGE,
    RESULT_TIMEOUT,
    SKILL_NOT_ALLOWED,
    TOO_MANY_BRANCHES,
    UNHANDLED_STATUS,
    UNTIL_UNMET,
    WAIT_TIMEOUT,
    WORKER_CANCELLED,
    WORKER_LOST,
];

/// A worker ran a task for too long. The wire's own code, so that a lapse that the orchestrator
/// sees and one that the worker reports are one thing.
pub const TASK_TIMEOUT: &str = "TIMEOUT_ERROR";

/// Tells whether a job that ended with this code ended because time ran out.
#[must_use]
pub fn is_deadline(code: &str) -> bool {
    [
        APPROVAL_TIMEOUT,
        CHILD_TIMEOUT,
        DISPATCH_TIMEOUT,
        RESULT_TIMEOUT,
        WAIT_TIMEOUT,
        TASK_TIMEOUT,
    ]
    .contains(&code)
}
