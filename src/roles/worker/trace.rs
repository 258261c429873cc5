//! A task's run as a span: below the task's own, which its context names, and above everything that
//! is said of it to the orchestrator.

use std::collections::BTreeMap;

use super::config::WorkerConfig;
use super::skill::Outcome;
use crate::base::Clock;
use crate::base::trace::TRACEPARENT;
use crate::observe::trace::{Kind, Lap, Place, Span, asking, carried, transfer_span};
use crate::observe::{Moved, Traces};
use crate::protocol::wire::TaskPayload;

/// What a run carries on, and where what is done for it is recorded.
#[derive(Clone, Default)]
pub(super) struct Carried {
    traces: Traces,
    /// The run's own place, when it is recorded here.
    place: Option<Place>,
    /// W3C's members: the run's, or the task's as it came.
    pub(super) members: BTreeMap<String, String>,
}

impl Carried {
    /// Begins a run.
    pub(super) fn of(config: &WorkerConfig, task: &TaskPayload) -> Self {
        let known = &task.tracing_context;
        let place = config
            .traces
            .begin(known.get(TRACEPARENT).map(String::as_str));
        let members = match place {
            Some(place) => carried(known, place.context),
            None => known.clone(),
        };
        Self {
            traces: config.traces.clone(),
            place,
            members,
        }
    }

    /// Returns the span that log lines stand in.
    pub(super) fn log_span(&self, config: &WorkerConfig, task: &TaskPayload) -> tracing::Span {
        let span = tracing::error_span!(
            "task",
            worker.id = %config.id,
            job.id = task.job_id,
            task.id = %task.task_id,
            trace.id = tracing::field::Empty,
        );
        if let Some(place) = self.place {
            span.record("trace.id", place.context.trace_id_text());
        }
        span
    }

    /// Records the run.
    pub(super) fn ran(
        &self,
        config: &WorkerConfig,
        task: &TaskPayload,
        outcome: &Outcome,
        lap: &Lap,
    ) {
        let Some(place) = self.place else {
            return;
        };
        // The name is the one that the original's worker gives it.
        let span = Span::ended(format!("task.{}", task.skill), place, lap)
            .state_of(&self.members)
            .kind(Kind::Consumer)
            .with("messaging.system", "avtomatika")
            .with("messaging.operation.type", "process")
            .with("messaging.destination.name", task.skill.clone())
            .with("messaging.message.id", task.task_id.to_string())
            .with("avtomatika.job.id", task.job_id.clone())
            .with("avtomatika.worker.id", config.id.to_string())
            .with("avtomatika.task.status", outcome.status.clone());
        self.traces.record(match &outcome.error {
            Some(error) => span.failed(error.code.clone()),
            None => span,
        });
    }

    /// Returns a place within the run's, when it is recorded here.
    fn within(&self) -> Option<Place> {
        self.traces.within(self.place?.context)
    }

    /// Begins to move a file for the run.
    pub(super) fn moves(&self, clock: &dyn Clock) -> Option<(Place, Lap)> {
        Some((self.within()?, Lap::begin(clock)))
    }

    /// Records that a file has been moved.
    pub(super) fn moved(
        &self,
        (place, lap): (Place, Lap),
        (moved, uri): (Moved, &str),
        failed: Option<&str>,
    ) {
        let span = transfer_span(moved, uri, (place, &lap), failed);
        self.traces.record(span.state_of(&self.members));
    }

    /// Begins to deliver something that the run has come to.
    pub(super) fn deliver(&self, config: &WorkerConfig) -> Delivering {
        let place = self.within();
        let lap = place.map(|_| Lap::begin(config.clock.as_ref()));
        let members = match place {
            Some(place) => carried(&self.members, place.context),
            None => self.members.clone(),
        };
        Delivering {
            traces: self.traces.clone(),
            began: place.zip(lap),
            members,
        }
    }
}

/// One try at a delivery.
pub(super) struct Delivering {
    traces: Traces,
    began: Option<(Place, Lap)>,
    /// What the request carries.
    pub(super) members: BTreeMap<String, String>,
}

impl Delivering {
    /// Records how the request ended.
    pub(super) fn ended(self, url: &str, failed: Option<&'static str>) {
        let Some((place, lap)) = self.began else {
            return;
        };
        let span = Span::ended("POST /_worker/tasks/result", place, &lap).state_of(&self.members);
        let span = asking(span, "POST", url);
        self.traces.record(match failed {
            Some(code) => span.failed(code),
            None => span,
        });
    }
}
