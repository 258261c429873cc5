//! How the scheduler does, for whoever supervises or measures it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::core::Watch;
use crate::base::{Clock, Timestamp};
use crate::domain::schedule::Schedule;
use crate::observe::{SchedulerMetrics, SlotEnd};
use crate::roles::context::Context;
use crate::roles::probes::{Readiness, Telling};

/// How long a slot that was given up speaks against the orchestrator. The next try may be a day away,
/// and meanwhile nobody asks.
const GIVEN_UP_HOLDS: Duration = Duration::from_mins(1);

/// What the last try has shown.
#[derive(Debug, Clone, Copy)]
enum Seen {
    /// An orchestrator that takes work; so it is taken to be before the first.
    Reached,
    /// None, and another try follows soon.
    Missed,
    /// None, and none follows before the next slot.
    GivenUp(Instant),
}

/// What is known of the schedules and of the orchestrator.
pub(super) struct Standing {
    pub(super) metrics: SchedulerMetrics,
    schedules: usize,
    seen: Mutex<Seen>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
}

impl Standing {
    pub(super) fn new(schedules: usize, context: &Context) -> Self {
        Self {
            metrics: SchedulerMetrics::new(),
            schedules,
            seen: Mutex::new(Seen::Reached),
            clock: Arc::clone(&context.clock),
            stop: context.stop.clone(),
        }
    }
}

impl Watch for Standing {
    fn slot(&self, schedule: &Schedule, slot: Timestamp, end: SlotEnd) {
        self.metrics.ended(&schedule.name, end);
        let seen = match end {
            SlotEnd::Fired | SlotEnd::Refused => Seen::Reached,
            SlotEnd::Retried => Seen::Missed,
            SlotEnd::GivenUp => Seen::GivenUp(Instant::now()),
            SlotEnd::Skipped => return,
        };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        self.metrics.reached(matches!(seen, Seen::Reached));
        if end == SlotEnd::Fired {
            let due_at = schedule.due_at(slot);
            self.metrics.lagged(self.clock.now().since(due_at));
        }
    }

    fn next(&self, schedule: &Schedule, due_at: Option<Timestamp>) {
        self.metrics.next(&schedule.name, due_at);
    }
}

impl Telling for Standing {
    fn figures(&self) -> String {
        self.metrics.text()
    }

    fn readiness(&self) -> Readiness {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_stopping = self.stop.is_cancelled();
        let (takes_work, orchestrator) = match seen {
            Seen::Reached => (true, "ok"),
            Seen::GivenUp(at) if at.elapsed() >= GIVEN_UP_HOLDS => (
                true,
                "not asked since a slot was given up: the next slot will tell",
            ),
            Seen::Missed | Seen::GivenUp(_) => (
                false,
                "the last try was not answered, or by an outage: read the log",
            ),
        };
        let schedules = if is_stopping {
            "stopping".to_owned()
        } else {
            format!("{} watched", self.schedules)
        };
        Readiness {
            ready: takes_work && !is_stopping,
            checks: BTreeMap::from([
                ("orchestrator", orchestrator.to_owned()),
                ("schedules", schedules),
            ]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SystemClock;
    use crate::domain::Object;
    use crate::domain::schedule::{CatchUp, Timetable};

    /// With a schedule that fires once a day, nobody would bring the process back before tomorrow.
    #[tokio::test(start_paused = true)]
    async fn a_slot_that_was_given_up_speaks_against_the_orchestrator_for_a_minute() {
        let daily = Schedule {
            name: "daily".to_owned(),
            blueprint: "b".to_owned(),
            input_data: Object::new(),
            timetable: Timetable::Interval { seconds: 86_400 },
            jitter_seconds: 0,
            catch_up: CatchUp::None,
            catch_up_window_seconds: 600,
            dispatch_timeout_seconds: None,
            result_timeout_seconds: None,
            security: None,
            metadata: None,
        };
        let standing = Standing {
            metrics: SchedulerMetrics::new(),
            schedules: 1,
            seen: Mutex::new(Seen::Reached),
            clock: Arc::new(SystemClock),
            stop: CancellationToken::new(),
        };
        let ends = |end| standing.slot(&daily, Timestamp(0), end);
        let is_ready = || standing.readiness().ready;
        assert!(is_ready());
        ends(SlotEnd::Retried);
        tokio::time::advance(GIVEN_UP_HOLDS).await;
        assert!(!is_ready(), "the next try will tell");
        ends(SlotEnd::GivenUp);
        tokio::time::advance(GIVEN_UP_HOLDS / 2).await;
        assert!(!is_ready());
        tokio::time::advance(GIVEN_UP_HOLDS / 2).await;
        let readiness = standing.readiness();
        assert!(readiness.ready, "{readiness:?}");
        assert!(readiness.checks["orchestrator"].contains("given up"));
        assert!(standing.figures().contains("scheduler_orchestrator_up 0"));
        ends(SlotEnd::Fired);
        assert_eq!(standing.readiness().checks["orchestrator"], "ok");
        standing.stop.cancel();
        assert!(!is_ready());
    }
}
