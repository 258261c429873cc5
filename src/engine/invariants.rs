//! The invariants of a single step, in one place: asserted in debug builds, and open to the
//! simulation. Source: architecture §7, I1 to I5 and I11.

use super::passage::status_of;
use super::{Advance, Answer, Effect, Guard, Signal};
use crate::domain::job::Waiting;
use crate::domain::{EventKind, Job};

/// Checks a step's fruit against the job that it started from; the error names the invariant.
pub fn check(before: Option<&Job>, advance: &Advance) -> Result<(), String> {
    revision_rises(before, advance)?;
    terminal_stays(before, advance)?;
    something_wakes(before, advance)?;
    reports_are_guarded(advance)?;
    one_end(before, advance)
}

/// Panics in debug builds when the step breaks an invariant.
pub(super) fn assert(before: Option<&Job>, advance: &Advance) {
    if cfg!(debug_assertions)
        && let Err(broken) = check(before, advance)
    {
        panic!(
            "{broken} in job {:?}, effects {:?}",
            advance.job, advance.effects
        );
    }
}

fn require(holds: bool, broken: &str) -> Result<(), String> {
    if holds {
        Ok(())
    } else {
        Err(broken.to_owned())
    }
}

fn records(advance: &Advance) -> impl Iterator<Item = &EventKind> {
    advance.effects.iter().filter_map(|effect| match effect {
        Effect::Record(event) => Some(&event.kind),
        _ => None,
    })
}

fn revision_rises(before: Option<&Job>, advance: &Advance) -> Result<(), String> {
    let expected = before.map_or(1, |job| job.revision + 1);
    require(
        advance.job.revision == expected,
        "I1: the revision does not rise by one",
    )?;
    let same = before.is_none_or(|job| job.id == advance.job.id && job.step <= advance.job.step);
    require(same, "I1: the job is another, or its steps go backwards")
}

fn terminal_stays(before: Option<&Job>, advance: &Advance) -> Result<(), String> {
    let was_terminal = before.is_some_and(|job| job.status.is_terminal());
    let retried = records(advance).any(|kind| *kind == EventKind::JobRetried);
    require(
        was_terminal == retried,
        "I2: a terminal job changes other than by a retry",
    )
}

fn something_wakes(before: Option<&Job>, advance: &Advance) -> Result<(), String> {
    let job = &advance.job;
    if job.status.is_terminal() {
        let clean = job.waiting.is_none() && job.wake_at.is_none();
        require(clean, "I3: an ended job still waits")?;
        return require(
            job.ended_at.is_some() && job.keep_until.is_some(),
            "I3: an ended job has no time of its end",
        );
    }
    let Some(waiting) = &job.waiting else {
        return Err("I3: a job waits for nothing".to_owned());
    };
    require(
        job.status == status_of(waiting),
        "I3: the status is not that of the wait",
    )?;
    require(
        job.ended_at.is_none(),
        "I3: a waiting job has a time of its end",
    )?;
    let as_before = before.is_some_and(|before| before.visit == job.visit);
    let wakes = match waiting {
        Waiting::Task { task_id } => {
            let put = advance
                .effects
                .iter()
                .any(|effect| matches!(effect, Effect::PutTask(task) if task.id == *task_id));
            put || before.is_some_and(|before| before.waiting.as_ref() == Some(waiting))
        }
        Waiting::Branches(counts) => {
            let ordered = counts.succeeded <= counts.ended
                && counts.ended < counts.released.max(1)
                && counts.released <= counts.total;
            let put = advance
                .effects
                .iter()
                .any(|effect| matches!(effect, Effect::PutTask(_)));
            ordered && (put || as_before)
        }
        Waiting::Child { job_id } => {
            let started = advance.effects.iter().any(|effect| {
                matches!(effect, Effect::Signal(Signal::StartChild(start)) if start.child == *job_id)
            });
            started || as_before
        }
        Waiting::Timer | Waiting::Retry { .. } => job.wake_at.is_some(),
        // A person, or someone with an event.
        Waiting::Human { .. } | Waiting::Event { .. } => true,
    };
    require(wakes, "I3: nothing will wake the job")
}

fn reports_are_guarded(advance: &Advance) -> Result<(), String> {
    for effect in &advance.effects {
        let Effect::EndTask { id, answer, .. } = effect else {
            continue;
        };
        let guarded = advance.guards.iter().any(|guard| match guard {
            Guard::TaskHeldBy { id: held, .. } => held == id,
            Guard::TaskDue { id: over, .. } | Guard::TaskLeasedBy { id: over, .. } => {
                over == id && *answer == Answer::None
            }
            _ => false,
        });
        require(
            guarded,
            "I4: a task ends without a guard on its holder or its time",
        )?;
    }
    Ok(())
}

fn one_end(before: Option<&Job>, advance: &Advance) -> Result<(), String> {
    let job = &advance.job;
    let expected = usize::from(job.status.is_terminal());
    let ends = records(advance).filter(|kind| kind.is_terminal()).count();
    require(ends == expected, "I5: not exactly one terminal event")?;
    let sent = advance
        .effects
        .iter()
        .filter(
            |effect| matches!(effect, Effect::SendWebhook(hook) if hook.event.starts_with("job_")),
        )
        .count();
    let wanted = expected * usize::from(job.webhook_url.is_some());
    require(sent == wanted, "I5: not exactly one webhook for the end")?;
    let told = advance
        .effects
        .iter()
        .filter(|effect| matches!(effect, Effect::Signal(Signal::ChildEnded { .. })))
        .count();
    let has_parent = job.parent.is_some() && job.retries == 0;
    require(
        told == usize::from(has_parent && job.status.is_terminal()),
        "I11: the parent is not told once",
    )?;
    let visits = before.map_or(0, |job| job.visit);
    require(job.visit >= visits, "I6: a visit's number comes again")
}
