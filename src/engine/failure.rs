//! What becomes of a task that did not go well: again after a while, or over. The same for a single
//! task and for a branch of a fan-out.

use std::time::Duration;

use super::codes;
use crate::base::{TaskId, Timestamp, WorkerId, crypto};
use crate::domain::error_code::FailureClass;
use crate::domain::task::{Backoff, TaskError, status};
use crate::domain::{Task, TaskErrorCode, TaskReport, TaskStatus};

/// How an attempt's end is to be taken.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// The worker has done what it could: the status decides.
    Done,
    /// Another attempt.
    Again(Again),
    /// No further attempt: the way out for failures, or the job's end.
    Over(Over),
}

/// The next attempt.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Again {
    /// Failures by then.
    pub failures: u32,
    /// Losses by then.
    pub losses: u32,
    /// Not before this time.
    pub at: Timestamp,
}

/// The end of a task that failed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Over {
    /// The worker's code, or one of [`codes`].
    pub code: String,
    /// For people.
    pub message: String,
    /// Whether a person should look at the job, if nothing else is foreseen.
    pub quarantines: bool,
}

/// What has passed of a task's times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    /// No worker took it in time.
    Dispatch,
    /// It has no result in time.
    Result,
    /// It ran for too long.
    Execution,
    /// Its worker has not been heard of.
    Lost,
}

/// Judges a report.
pub(super) fn judge(task: &Task, report: &TaskReport, now: Timestamp) -> Verdict {
    if report.status != status::FAILURE {
        return Verdict::Done;
    }
    let error = report.error.clone().unwrap_or_else(|| TaskError {
        code: TaskErrorCode::TransientError.as_str().to_owned(),
        message: "the worker named no error".to_owned(),
        details: None,
    });
    let failures = task.failures.saturating_add(1);
    let (code, message) = (error.code, error.message);
    match TaskErrorCode::class_of(&code) {
        FailureClass::Transient if failures < task.spec.retry.max_attempts => {
            let delay = delay(&task.spec.retry.backoff, failures, task.id.as_str());
            Verdict::Again(Again {
                failures,
                losses: task.losses,
                at: now.after(delay),
            })
        }
        FailureClass::Transient => {
            let message = format!("attempt {failures} of {failures} failed: {message}");
            Verdict::Over(Over {
                code,
                message,
                quarantines: true,
            })
        }
        FailureClass::Permanent | FailureClass::Contract => Verdict::Over(Over {
            code,
            message,
            quarantines: true,
        }),
        FailureClass::Input => Verdict::Over(Over {
            code,
            message,
            quarantines: false,
        }),
    }
}

/// Tells which of a task's times has passed, the one that ends most first.
pub(super) fn expiry(task: &Task, now: Timestamp) -> Option<Expiry> {
    let open = matches!(task.status, TaskStatus::Queued | TaskStatus::Leased);
    if open && task.result_deadline.is_some_and(|at| at <= now) {
        return Some(Expiry::Result);
    }
    match (task.status, &task.lease) {
        (TaskStatus::Queued, _) => task
            .dispatch_deadline
            .filter(|at| *at <= now)
            .map(|_| Expiry::Dispatch),
        // Both may have passed when nobody looked in time: what came first counts.
        (TaskStatus::Leased, Some(lease)) if lease.until.min(lease.deadline) <= now => {
            Some(if lease.deadline <= lease.until {
                Expiry::Execution
            } else {
                Expiry::Lost
            })
        }
        _ => None,
    }
}

/// Judges a task whose time has passed; the report is what it comes to for a branch.
///
/// `lost` are the workers that died with it, this one included.
pub(super) fn judge_expiry(
    task: &Task,
    expiry: Expiry,
    lost: &[WorkerId],
    now: Timestamp,
) -> (TaskReport, Verdict) {
    let (code, message) = match expiry {
        Expiry::Dispatch => (
            codes::DISPATCH_TIMEOUT,
            format!("no worker took task `{}` in time", task.spec.skill),
        ),
        Expiry::Result => (
            codes::RESULT_TIMEOUT,
            format!("task `{}` had no result in time", task.spec.skill),
        ),
        Expiry::Execution => (
            codes::TASK_TIMEOUT,
            format!(
                "task `{}` ran for more than {} ms",
                task.spec.skill, task.spec.execution_timeout_ms
            ),
        ),
        Expiry::Lost => (codes::WORKER_LOST, lost_message(task, lost)),
    };
    let mut report = TaskReport::failure(code, message.clone());
    report.worker_id = task.lease.as_ref().map(|lease| lease.worker.clone());
    let verdict = match expiry {
        Expiry::Dispatch | Expiry::Result => Verdict::Over(Over {
            code: code.to_owned(),
            message,
            quarantines: false,
        }),
        Expiry::Execution => judge(task, &report, now),
        Expiry::Lost => {
            let losses = task.losses.saturating_add(1);
            if losses >= task.spec.max_deliveries {
                Verdict::Over(Over {
                    code: code.to_owned(),
                    message,
                    quarantines: true,
                })
            } else {
                Verdict::Again(Again {
                    failures: task.failures,
                    losses,
                    at: now,
                })
            }
        }
    };
    (report, verdict)
}

fn lost_message(task: &Task, lost: &[WorkerId]) -> String {
    let names: Vec<&str> = lost.iter().map(WorkerId::as_str).collect();
    let losses = task.losses.saturating_add(1);
    format!(
        "{losses} deliveries of task `{}` were lost, with their workers or on the way to them: {}",
        task.spec.skill,
        names.join(", ")
    )
}

/// Makes the next attempt of a task. What counts for all attempts together stays: the
/// specification, the time of the first queueing, the deadline of the result.
pub(super) fn next_attempt(task: &Task, again: &Again) -> Task {
    let ordinal = task.ordinal.saturating_add(1);
    let wait = task
        .dispatch_deadline
        .map(|deadline| deadline.since(task.available_at));
    Task {
        id: TaskId::derive(task.job_id, task.visit, task.branch, ordinal),
        ordinal,
        failures: again.failures,
        losses: again.losses,
        status: TaskStatus::Queued,
        available_at: again.at,
        dispatch_deadline: wait.map(|wait| again.at.after(wait)),
        lease: None,
        report: None,
        answer: None,
        ..task.clone()
    }
}

/// Returns how long to wait after so many failures: `initial · factor^(failures-1)`, at most `max`,
/// spread either way by a share that a hash of the seed decides.
pub(super) fn delay(backoff: &Backoff, failures: u32, seed: &str) -> Duration {
    let seconds = |ms: u64| Duration::from_millis(ms).as_secs_f64();
    let power = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
    let longest = seconds(backoff.max_ms);
    let plain = (seconds(backoff.initial_ms) * backoff.factor.powi(power)).min(longest);
    let share = crypto::share(&[b"backoff", seed.as_bytes()]);
    let spread = plain * (1.0 + backoff.jitter * (2.0 * share - 1.0));
    Duration::try_from_secs_f64(spread.max(0.0)).unwrap_or(Duration::from_millis(backoff.max_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_their_limit_and_spread_within_their_share() {
        let plain = Backoff {
            initial_ms: 1000,
            factor: 2.0,
            max_ms: 5000,
            jitter: 0.0,
        };
        let seconds: Vec<u64> = (1..=5).map(|n| delay(&plain, n, "t").as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 5, 5]);
        let spread = Backoff {
            jitter: 0.5,
            ..plain
        };
        for seed in ["a", "b", "c", "d"] {
            let ms = delay(&spread, 1, seed).as_millis();
            assert!((500..=1500).contains(&ms), "{ms}");
            assert_eq!(delay(&spread, 1, seed), delay(&spread, 1, seed));
        }
        assert_ne!(delay(&spread, 1, "a"), delay(&spread, 1, "b"));
    }

    #[test]
    fn absurd_policies_do_not_panic() {
        for factor in [f64::NAN, f64::INFINITY, -3.0, 1e300] {
            let backoff = Backoff {
                initial_ms: u64::MAX,
                factor,
                max_ms: u64::MAX,
                jitter: 9.0,
            };
            for failures in [0, 1, u32::MAX] {
                let _: Duration = delay(&backoff, failures, "t");
            }
        }
    }
}
