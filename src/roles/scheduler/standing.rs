//! How the scheduler does, for whoever supervises or measures it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

use super::core::Watch;
use crate::base::{Clock, Timestamp};
use crate::domain::schedule::Schedule;
use crate::observe::{SchedulerMetrics, SlotEnd};
use crate::roles::context::Context;
use crate::roles::probes::{Readiness, Telling};

/// What is known of the schedules and of the orchestrator.
pub(super) struct Standing {
    pub(super) metrics: SchedulerMetrics,
    schedules: usize,
    /// The last try reached an orchestrator that takes work; so it is taken to be before the first.
    is_reached: AtomicBool,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
}

impl Standing {
    pub(super) fn new(schedules: usize, context: &Context) -> Self {
        Self {
            metrics: SchedulerMetrics::new(),
            schedules,
            is_reached: AtomicBool::new(true),
            clock: Arc::clone(&context.clock),
            stop: context.stop.clone(),
        }
    }
}

impl Watch for Standing {
    fn slot(&self, schedule: &Schedule, slot: Timestamp, end: SlotEnd) {
        self.metrics.ended(&schedule.name, end);
        let is_reached = match end {
            SlotEnd::Fired | SlotEnd::Refused => true,
            SlotEnd::Retried | SlotEnd::GivenUp => false,
            SlotEnd::Skipped => return,
        };
        self.is_reached.store(is_reached, Ordering::Relaxed);
        self.metrics.reached(is_reached);
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
        let is_reached = self.is_reached.load(Ordering::Relaxed);
        let is_stopping = self.stop.is_cancelled();
        let orchestrator = if is_reached {
            "ok"
        } else {
            "the last try was not answered, or by an outage: read the log"
        };
        let schedules = if is_stopping {
            "stopping".to_owned()
        } else {
            format!("{} watched", self.schedules)
        };
        Readiness {
            ready: is_reached && !is_stopping,
            checks: BTreeMap::from([
                ("orchestrator", orchestrator.to_owned()),
                ("schedules", schedules),
            ]),
        }
    }
}
