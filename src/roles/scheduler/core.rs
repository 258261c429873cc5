//! The loop that fires slots, whatever firing means: HTTP in the scheduler's role, the runtime in
//! an orchestrator that embeds it. Wall-clock time decides; a slot never fires early.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::base::{Clock, Timestamp};
use crate::domain::schedule::Schedule;
use crate::observe::SlotEnd;

/// The longest sleep: a clock that jumps is noticed after this at the latest.
const SLEEP_MAX: Duration = Duration::from_secs(15);

/// Tries of one slot before it is given up.
const TRIES: u32 = 8;

/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// The longest time that one try may take.
const FIRE_TIMEOUT: Duration = Duration::from_mins(2);

/// Why a slot made no job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FireError {
    /// Another try may help.
    #[error("{0}")]
    Later(String),
    /// No try will help until someone changes something.
    #[error("{0}")]
    Never(String),
}

/// Hears what becomes of slots.
pub trait Watch: Send + Sync {
    /// A slot, or a try at it, has ended so.
    fn slot(&self, schedule: &Schedule, slot: Timestamp, end: SlotEnd);
    /// The next slot is due then; none is left without a time.
    fn next(&self, schedule: &Schedule, due_at: Option<Timestamp>);
}

/// Hears nothing.
pub struct Unwatched;

impl Watch for Unwatched {
    fn slot(&self, _: &Schedule, _: Timestamp, _: SlotEnd) {}
    fn next(&self, _: &Schedule, _: Option<Timestamp>) {}
}

/// Fires every schedule's slots until told to stop; what is being fired is finished first.
///
/// `fire` makes the slot's job under the slot's key and returns the job's id; firing a slot twice
/// must make one job, because missed slots are looked for again after every start.
pub async fn run_schedules<F, Fut>(
    schedules: Vec<Schedule>,
    clock: Arc<dyn Clock>,
    fire: F,
    watch: Arc<dyn Watch>,
    stop: CancellationToken,
) where
    F: Fn(Arc<Schedule>, Timestamp) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<String, FireError>> + Send + 'static,
{
    let mut loops = JoinSet::new();
    for schedule in schedules {
        let schedule = Arc::new(schedule);
        let (clock, watch) = (Arc::clone(&clock), Arc::clone(&watch));
        loops.spawn(run_one(schedule, clock, fire.clone(), watch, stop.clone()));
    }
    while let Some(ended) = loops.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a schedule's loop broke");
        }
    }
}

async fn run_one<F, Fut>(
    schedule: Arc<Schedule>,
    clock: Arc<dyn Clock>,
    fire: F,
    watch: Arc<dyn Watch>,
    stop: CancellationToken,
) where
    F: Fn(Arc<Schedule>, Timestamp) -> Fut + Send + Sync,
    Fut: Future<Output = Result<String, FireError>> + Send,
{
    let name = schedule.name.as_str();
    let watching_since = clock.now();
    let mut handled_to = schedule.window_start(watching_since);
    // Slots before the first look are nobody's to tell of: there may have been no schedule then.
    let mut first = true;
    while !stop.is_cancelled() {
        let due = schedule.due_slots(handled_to, watching_since, clock.now());
        if due.skipped && !first {
            watch.slot(&schedule, due.handled_to, SlotEnd::Skipped);
            tracing::warn!(schedule = name, policy = ?schedule.catch_up, "missed slots are passed over");
        }
        first = false;
        for slot in due.fire {
            if !fire_slot(&schedule, slot, &fire, &*watch, &stop).await {
                return;
            }
        }
        handled_to = due.handled_to;
        let next = schedule.next_slot(handled_to);
        watch.next(&schedule, next.map(|next| schedule.due_at(next)));
        let Some(next) = next else {
            tracing::info!(schedule = name, "no slot is left");
            return;
        };
        let pause = schedule.due_at(next).since(clock.now()).min(SLEEP_MAX);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Fires one slot, with tries; false when told to stop before it was done.
async fn fire_slot<F, Fut>(
    schedule: &Arc<Schedule>,
    slot: Timestamp,
    fire: &F,
    watch: &dyn Watch,
    stop: &CancellationToken,
) -> bool
where
    F: Fn(Arc<Schedule>, Timestamp) -> Fut,
    Fut: Future<Output = Result<String, FireError>>,
{
    let name = schedule.name.as_str();
    let mut pause = Duration::from_secs(1);
    for attempt in 1..=TRIES {
        // Not cut off by `stop`: a request under way is cheaper to finish than to repeat.
        let fired = tokio::time::timeout(FIRE_TIMEOUT, fire(Arc::clone(schedule), slot)).await;
        match fired.unwrap_or_else(|_| Err(FireError::Later("no answer in time".to_owned()))) {
            Ok(job) => {
                watch.slot(schedule, slot, SlotEnd::Fired);
                tracing::info!(schedule = name, %slot, job.id = job, "schedule fired");
                return true;
            }
            Err(FireError::Never(error)) => {
                watch.slot(schedule, slot, SlotEnd::Refused);
                tracing::error!(schedule = name, %slot, error, "schedule cannot fire");
                return true;
            }
            Err(FireError::Later(error)) => {
                tracing::warn!(schedule = name, %slot, attempt, error, "schedule did not fire");
            }
        }
        if attempt == TRIES {
            break;
        }
        watch.slot(schedule, slot, SlotEnd::Retried);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return false,
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
    watch.slot(schedule, slot, SlotEnd::GivenUp);
    tracing::error!(schedule = name, %slot, tries = TRIES, "schedule did not fire, the slot is given up");
    true
}

#[cfg(test)]
mod tests;
