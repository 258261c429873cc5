//! The handle by which everything in a process counts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{Gauge, Histogram, HistogramVec, IntCounter, IntCounterVec};

use super::catalog;
use super::jobs::{Jobs, in_seconds};
use super::register::{Register, text};
use super::requests::{Audience, Refusal, Requests};
use super::snapshot::Snapshot;
use super::store::Store;
use super::trace::Counted;
use crate::engine::Ignored;
use crate::store::Delivery;

/// What the history has without its content, because its server refuses that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withheld {
    /// What an event says.
    Event,
    /// What a job says.
    Job,
}

/// The metrics of one orchestrator. Cheap to clone; every clone is the same one.
#[derive(Clone)]
pub struct Metrics(Arc<All>);

/// What all clones share.
struct All {
    register: Register,
    jobs: Jobs,
    store: Store,
    requests: Requests,
    ignored: IntCounterVec,
    webhooks: [IntCounter; 3],
    triggered: IntCounterVec,
    scheduler_lag: Histogram,
    loop_lag: Gauge,
    withheld: [IntCounter; 2],
    transfers: IntCounterVec,
    transfer_durations: HistogramVec,
    spans: Counted,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Makes the metrics of a process, all at zero.
    #[must_use]
    pub fn new() -> Self {
        let register = Register::of_process();
        register.version(&catalog::BUILD);
        let webhooks = register.counters(&catalog::WEBHOOKS);
        let lag = register.histograms(&catalog::SCHEDULER_LAG);
        let withheld = register.counters(&catalog::HISTORY_WITHHELD);
        Self(Arc::new(All {
            jobs: Jobs::new(&register),
            store: Store::new(&register),
            requests: Requests::new(&register),
            ignored: register.counters(&catalog::IGNORED),
            webhooks: ["delivered", "retried", "dead"]
                .map(|outcome| webhooks.with_label_values(&[outcome])),
            triggered: register.counters(&catalog::TRIGGERED),
            scheduler_lag: lag.with_label_values::<&str>(&[]),
            loop_lag: register.gauge(&catalog::LOOP_LAG),
            withheld: ["event", "job"].map(|part| withheld.with_label_values(&[part])),
            transfers: register.counters(&catalog::S3),
            transfer_durations: register.histograms(&catalog::S3_DURATION),
            spans: register.spans(&catalog::SPANS),
            register,
        }))
    }

    pub(super) fn jobs(&self) -> &Jobs {
        &self.0.jobs
    }

    pub(super) fn store(&self) -> &Store {
        &self.0.store
    }

    /// Returns what counts spans.
    #[must_use]
    pub fn spans(&self) -> Counted {
        self.0.spans.clone()
    }

    /// Counts a request's answer.
    pub fn answered(&self, audience: Audience, status: u16) {
        self.0.requests.answered(audience, status);
    }

    /// Counts an error answer; `code` is one of the API's own.
    pub fn refused(&self, audience: Audience, code: &'static str, refusal: Refusal) {
        self.0.requests.refused(audience, code, refusal);
    }

    /// Counts a result that no longer counts.
    pub fn ignored(&self, reason: Ignored) {
        let reason = match reason {
            Ignored::Repeated(_) => "repeated",
            Ignored::WorkerMismatch => "worker_mismatch",
            Ignored::StaleTask => "stale_task",
            Ignored::JobAlreadyTerminated => "job_already_terminated",
            Ignored::JobCancelled => "job_cancelled",
            Ignored::DeadlineExceeded => "deadline_exceeded",
            Ignored::NotWaiting
            | Ignored::UnknownDecision
            | Ignored::InvalidForm
            | Ignored::NotDue
            | Ignored::NotRetryable => "other",
        };
        self.0.ignored.with_label_values(&[reason]).inc();
    }

    /// Counts a try at a webhook and hands on how it ended.
    #[must_use]
    pub fn webhook(&self, ended: Delivery) -> Delivery {
        let outcome = match ended {
            Delivery::Delivered => 0,
            Delivery::Retry { .. } => 1,
            Delivery::Dead { .. } => 2,
        };
        self.0.webhooks[outcome].inc();
        ended
    }

    /// Counts a job that a schedule has made, so long after its slot.
    pub fn triggered(&self, blueprint: &str, lag: Duration) {
        self.0.triggered.with_label_values(&[blueprint]).inc();
        self.0.scheduler_lag.observe(in_seconds(lag));
    }

    /// Notes how late a timer of one second was.
    pub fn loop_lag(&self, lag: Duration) {
        self.0.loop_lag.set(in_seconds(lag));
    }

    /// Counts what the history's server has refused for good.
    pub fn withheld(&self, part: Withheld) {
        let part = match part {
            Withheld::Event => 0,
            Withheld::Job => 1,
        };
        self.0.withheld[part].inc();
    }

    /// Counts a transfer; none that failed has a duration.
    pub(super) fn transferred(&self, operation: &str, took: Option<Duration>) {
        let status = if took.is_some() { "success" } else { "error" };
        let labels = [operation, status];
        self.0.transfers.with_label_values(&labels).inc();
        if let Some(took) = took {
            let durations = self.0.transfer_durations.with_label_values(&[operation]);
            durations.observe(in_seconds(took));
        }
    }

    /// Returns everything as text, with what was looked at just now.
    #[must_use]
    pub fn text(&self, snapshot: &Snapshot) -> String {
        let mut families = self.0.register.gather();
        families.extend(snapshot.families());
        text(families)
    }
}
