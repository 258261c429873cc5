//! What a worker counts. The first three are the original's, under the names that OpenTelemetry's
//! become in Prometheus. Source: observability §3.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec};

use super::super::catalog::catalog;
use super::super::definition::{Definition, LONG, counter, gauge, histogram};
use super::super::family::Family;
use super::super::jobs::{SKILLS_MAX, STATUSES, in_seconds};
use super::super::register::{Register, text};
use super::super::snapshot::number;
use super::super::trace::Counted;
use super::by_outcome;

catalog! { WORKER, "Every metric that a worker has besides those of its process.":
    TASKS = counter("worker_tasks_total", &["task_type", "status"], "Tasks run to their end, by skill and status: success, failure, cancelled or other (a blueprint's own).");
    DURATION = histogram("worker_tasks_duration_seconds", &["task_type"], LONG, "Time that a task ran, with the transfers of its files, by skill.");
    S3 = counter("worker_s3_operations_total", &["s3_operation", "status"], "Transfers of tasks' files, by operation (download or upload) and status (success or error).");
    S3_DURATION = histogram("worker_s3_operation_duration_seconds", &["s3_operation"], LONG, "Time that a transfer of a file took, by operation.");

    BUILD = gauge("worker_build_info", &["version"], "Always 1; the label says which version runs.");
    RUNNING = gauge("worker_tasks_running", &[], "Tasks in hand just now, those whose result is still to be delivered included.");
    ROOM = gauge("worker_tasks_max", &[], "Tasks that may be in hand at once.");
    HANDED = counter("worker_deliveries_total", &["outcome"], "Tasks handed to the worker, by outcome: taken, running (it has it in hand), repeated (it has done it, and sends the result again), forged (not signed as the orchestrator signs: dropped) or unreadable.");
    POLLS = counter("worker_polls_total", &["outcome"], "Polls ended, by outcome: task, empty, refused (an error was the answer) or failed (there was no answer).");
    RESULTS = counter("worker_results_total", &["outcome"], "Tries at delivering results, by outcome: accepted, ignored (it no longer counts), retried (later) or lost (given up).");
    BEATS = counter("worker_heartbeats_total", &["outcome"], "Heartbeats, by outcome: answered, refused (an error was the answer) or failed (there was no answer).");
    UP = gauge("worker_orchestrator_up", &["orchestrator"], "1 while the orchestrator knows the worker and answers its heartbeats, else 0, by the host and port of its address.");
    AGE = gauge("worker_heartbeat_age_seconds", &["orchestrator"], "Time since the orchestrator has last answered a registration or heartbeat, by the host and port of its address; missing until it has.");
    SPANS = counter("worker_trace_spans_total", &["outcome"], "Spans of traces, by outcome: exported, dropped (the queue was full) or failed (the collector did not take them); 0 while traces are off.");
}

/// What became of a task that was handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handed {
    /// It runs.
    Taken,
    /// It ran already.
    Running,
    /// It was done; its result goes out again.
    Repeated,
    /// Its signature is not the orchestrator's.
    Forged,
    /// It is no task.
    Unreadable,
}

/// What came of a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polled {
    /// A task.
    Task,
    /// Nothing within the time.
    Empty,
    /// An error.
    Refused,
    /// No answer.
    Failed,
}

/// What came of a try at delivering a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// It counts.
    Accepted,
    /// It came too late to count.
    Ignored,
    /// It is tried again.
    Retried,
    /// It is given up.
    Lost,
}

/// What came of a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beaten {
    /// An answer.
    Answered,
    /// An error.
    Refused,
    /// No answer.
    Failed,
}

/// Which way a file went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// To the worker.
    Download,
    /// From it.
    Upload,
}

impl Moved {
    /// Returns the way as figures and spans name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Upload => "upload",
        }
    }
}

/// One skill's.
struct OfSkill {
    ended: [IntCounter; 4],
    duration: Histogram,
}

/// What all clones share.
struct All {
    register: Register,
    skills: Family<OfSkill>,
    handed: [IntCounter; 5],
    polls: [IntCounter; 4],
    results: [IntCounter; 4],
    beats: [IntCounter; 3],
    transfers: IntCounterVec,
    transfer_durations: HistogramVec,
    spans: Counted,
}

/// The metrics of one worker. Cheap to clone; every clone is the same one.
#[derive(Clone)]
pub struct WorkerMetrics(Arc<All>);

impl Default for WorkerMetrics {
    fn default() -> Self {
        Self::new()
    }
}

impl WorkerMetrics {
    /// Makes the metrics of a worker, all at zero.
    #[must_use]
    pub fn new() -> Self {
        let register = Register::of_process();
        register.version(&BUILD);
        let tasks = register.counters(&TASKS);
        let durations = register.histograms(&DURATION);
        Self(Arc::new(All {
            skills: Family::new(SKILLS_MAX, move |name| OfSkill {
                ended: STATUSES.map(|status| tasks.with_label_values(&[name, status])),
                duration: durations.with_label_values(&[name]),
            }),
            handed: by_outcome(
                &register,
                &HANDED,
                ["taken", "running", "repeated", "forged", "unreadable"],
            ),
            polls: by_outcome(&register, &POLLS, ["task", "empty", "refused", "failed"]),
            results: by_outcome(
                &register,
                &RESULTS,
                ["accepted", "ignored", "retried", "lost"],
            ),
            beats: by_outcome(&register, &BEATS, ["answered", "refused", "failed"]),
            transfers: register.counters(&S3),
            transfer_durations: register.histograms(&S3_DURATION),
            spans: register.spans(&SPANS),
            register,
        }))
    }

    /// Returns what counts spans.
    #[must_use]
    pub fn spans(&self) -> Counted {
        self.0.spans.clone()
    }

    /// Counts a task's end.
    pub fn ended(&self, skill: &str, status: &str, took: Duration) {
        let known = STATUSES.iter().position(|known| *known == status);
        self.0.skills.with(skill, |own| {
            own.ended[known.unwrap_or(STATUSES.len() - 1)].inc();
            own.duration.observe(in_seconds(took));
        });
    }

    /// Counts a task that was handed out.
    pub fn handed(&self, outcome: Handed) {
        self.0.handed[outcome as usize].inc();
    }

    /// Counts a poll.
    pub fn polled(&self, outcome: Polled) {
        self.0.polls[outcome as usize].inc();
    }

    /// Counts a try at delivering a result.
    pub fn reported(&self, outcome: Reported) {
        self.0.results[outcome as usize].inc();
    }

    /// Counts a heartbeat.
    pub fn beaten(&self, outcome: Beaten) {
        self.0.beats[outcome as usize].inc();
    }

    /// Counts a transfer; none that failed has a duration.
    pub fn transferred(&self, moved: Moved, took: Option<Duration>) {
        let status = if took.is_some() { "success" } else { "error" };
        let labels = [moved.as_str(), status];
        self.0.transfers.with_label_values(&labels).inc();
        if let Some(took) = took {
            let durations = &self.0.transfer_durations;
            let durations = durations.with_label_values(&[moved.as_str()]);
            durations.observe(in_seconds(took));
        }
    }

    /// Returns everything as text, with how the worker stands just now.
    #[must_use]
    pub fn text(&self, standing: &WorkerStanding) -> String {
        let mut families = self.0.register.gather();
        families.extend(standing.register().gather());
        text(families)
    }
}

/// How a worker and an orchestrator of its stand.
#[derive(Debug, Clone, PartialEq)]
pub struct OrchestratorStanding {
    /// Host and port.
    pub name: String,
    /// It knows the worker and answers.
    pub is_up: bool,
    /// How long ago it has last answered; nothing when it never has.
    pub heard: Option<Duration>,
}

/// How a worker stands at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WorkerStanding {
    /// Tasks in hand.
    pub running: u64,
    /// Tasks that may be.
    pub room: u64,
    /// Whom it works for.
    pub orchestrators: Vec<OrchestratorStanding>,
}

impl WorkerStanding {
    fn register(&self) -> Register {
        let register = Register::default();
        register.gauge(&RUNNING).set(number(self.running));
        register.gauge(&ROOM).set(number(self.room));
        let (up, age) = (register.gauges(&UP), register.gauges(&AGE));
        for one in &self.orchestrators {
            let labels = [one.name.as_str()];
            up.with_label_values(&labels)
                .set(u8::from(one.is_up).into());
            if let Some(heard) = one.heard {
                age.with_label_values(&labels).set(in_seconds(heard));
            }
        }
        register
    }
}
