//! What a scheduler counts. Schedules are told apart by name: there are as many as its file has.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{Gauge, GaugeVec, Histogram, IntCounterVec};

use super::super::catalog::catalog;
use super::super::definition::{Definition, LONG, counter, gauge, histogram};
use super::super::jobs::in_seconds;
use super::super::register::{Register, text};
use super::super::trace::Counted;
use crate::base::Timestamp;

catalog! { SCHEDULER, "Every metric that a scheduler has besides those of its process.":
    BUILD = gauge("scheduler_build_info", &["version"], "Always 1; the label says which version runs.");
    SLOTS = counter("scheduler_slots_total", &["schedule", "outcome"], "Slots, by schedule and outcome: fired (its job is there), retried (a try failed, another follows), refused (no try can help), given_up (too many tries failed) or skipped (missed, and passed over by the catch-up policy; a gap counts once).");
    LAG = histogram("scheduler_lag_seconds", &[], LONG, "Time from a slot, its jitter included, until its job was there.");
    NEXT = gauge("scheduler_next_slot_timestamp_seconds", &["schedule"], "When the next slot is, its jitter included, since unix epoch in seconds, by schedule; 0 when none is left.");
    UP = gauge("scheduler_orchestrator_up", &[], "0 while the last try at a slot did not reach an orchestrator that takes work, else 1.");
    SPANS = counter("scheduler_trace_spans_total", &["outcome"], "Spans of traces, by outcome: exported, dropped (the queue was full) or failed (the collector did not take them); 0 while traces are off.");
}

/// What became of a slot, or of a try at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotEnd {
    /// Its job is there.
    Fired,
    /// A try failed, another follows.
    Retried,
    /// No try can help.
    Refused,
    /// Too many tries failed.
    GivenUp,
    /// It was missed, and is passed over.
    Skipped,
}

impl SlotEnd {
    /// Returns the end as figures name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fired => "fired",
            Self::Retried => "retried",
            Self::Refused => "refused",
            Self::GivenUp => "given_up",
            Self::Skipped => "skipped",
        }
    }
}

/// What all clones share.
struct All {
    register: Register,
    slots: IntCounterVec,
    lag: Histogram,
    next: GaugeVec,
    up: Gauge,
    spans: Counted,
}

/// The metrics of one scheduler. Cheap to clone; every clone is the same one.
#[derive(Clone)]
pub struct SchedulerMetrics(Arc<All>);

impl Default for SchedulerMetrics {
    fn default() -> Self {
        Self::new()
    }
}

impl SchedulerMetrics {
    /// Makes the metrics of a scheduler, all at zero.
    #[must_use]
    pub fn new() -> Self {
        let register = Register::of_process();
        register.version(&BUILD);
        let lag = register.histograms(&LAG);
        let metrics = Self(Arc::new(All {
            slots: register.counters(&SLOTS),
            lag: lag.with_label_values::<&str>(&[]),
            next: register.gauges(&NEXT),
            up: register.gauge(&UP),
            spans: register.spans(&SPANS),
            register,
        }));
        metrics.reached(true);
        metrics
    }

    /// Returns what counts spans.
    #[must_use]
    pub fn spans(&self) -> Counted {
        self.0.spans.clone()
    }

    /// Counts what became of a slot.
    pub fn ended(&self, schedule: &str, end: SlotEnd) {
        let labels = [schedule, end.as_str()];
        self.0.slots.with_label_values(&labels).inc();
    }

    /// Notes how late a slot's job was.
    pub fn lagged(&self, lag: Duration) {
        self.0.lag.observe(in_seconds(lag));
    }

    /// Notes when a schedule's next slot is.
    pub fn next(&self, schedule: &str, at: Option<Timestamp>) {
        let since = at.map_or(Duration::ZERO, |at| at.since(Timestamp(0)));
        let next = self.0.next.with_label_values(&[schedule]);
        next.set(in_seconds(since));
    }

    /// Notes whether the last try reached an orchestrator that takes work.
    pub fn reached(&self, is_up: bool) {
        self.0.up.set(u8::from(is_up).into());
    }

    /// Returns everything as text.
    #[must_use]
    pub fn text(&self) -> String {
        text(self.0.register.gather())
    }
}
