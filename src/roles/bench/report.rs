//! What a run found: figures, and their form for people and for programs.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::ledger::Totals;
use super::process::{self, Usage};
use super::world::World;
use crate::roles::exit::{Exit, Failure};

/// Most points of the course of memory that a report holds.
const POINTS_MAX: usize = 120;

/// What the two processes use while it counts.
pub struct Meter {
    pid: Option<u32>,
    since: Instant,
    server: RefCell<Span>,
    own: RefCell<Span>,
    course: RefCell<Vec<Point>>,
    /// Jobs of an open loop whose time came and that were never sent.
    pub unsent: Cell<u64>,
}

#[derive(Default, Clone, Copy)]
struct Span {
    start: Option<Usage>,
    end: Option<Usage>,
    memory_max_kib: u64,
}

/// A point of the run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// Since the run's begin, warm-up included.
    pub at_s: f64,
    /// Jobs ended until then, warm-up included.
    pub jobs: u64,
    /// Memory of the watched process then.
    pub memory_mib: f64,
}

impl Meter {
    /// Prepares to watch a process; it must be there.
    pub fn new(pid: Option<u32>) -> Result<Self, Failure> {
        if let Some(pid) = pid
            && process::usage(pid).is_none()
        {
            let message = format!("there is no process {pid} to watch in /proc");
            return Err(Failure::usage(message).hint("give the orchestrator's by --pid"));
        }
        Ok(Self {
            pid,
            since: Instant::now(),
            server: RefCell::default(),
            own: RefCell::default(),
            course: RefCell::default(),
            unsent: Cell::new(0),
        })
    }

    /// Begins to count.
    pub fn start(&self) {
        let begin = |usage: Option<Usage>| Span {
            start: usage,
            end: None,
            memory_max_kib: usage.map_or(0, |usage| usage.memory_kib),
        };
        *self.server.borrow_mut() = begin(self.pid.and_then(process::usage));
        *self.own.borrow_mut() = begin(process::usage(std::process::id()));
    }

    /// Stops counting.
    pub fn stop(&self) {
        self.server.borrow_mut().end = self.pid.and_then(process::usage);
        self.own.borrow_mut().end = process::usage(std::process::id());
    }

    /// Takes a reading on the way.
    pub fn read(&self, jobs: u64) {
        let Some(usage) = self.pid.and_then(process::usage) else {
            return;
        };
        let mut server = self.server.borrow_mut();
        if server.start.is_some() && server.end.is_none() {
            server.memory_max_kib = server.memory_max_kib.max(usage.memory_kib);
        }
        let mut course = self.course.borrow_mut();
        course.push(Point {
            at_s: rounded(self.since.elapsed().as_secs_f64()),
            jobs,
            memory_mib: mib(usage.memory_kib),
        });
        if course.len() >= POINTS_MAX * 2 {
            // Every other point stays, so that a long run has as many as a short one.
            let mut index = 0;
            course.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
    }
}

/// What a process used while it counted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Used {
    /// Processor time.
    pub cpu_seconds: f64,
    /// Processor time by time: 1 is a core.
    pub cores: f64,
    /// Processor time by jobs; nothing without jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_seconds_per_1000_jobs: Option<f64>,
    /// Memory when the counting began.
    pub memory_start_mib: f64,
    /// The most memory that was read while it counted.
    pub memory_peak_mib: f64,
    /// Memory when the counting ended.
    pub memory_end_mib: f64,
}

/// Latencies of the jobs that count, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Latency {
    /// The middle one.
    pub p50: f64,
    /// 19 of 20 are below.
    pub p95: f64,
    /// 99 of 100 are below.
    pub p99: f64,
    /// The longest.
    pub max: f64,
    /// Their mean.
    pub mean: f64,
}

/// What a run found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What each job did.
    pub workload: &'static str,
    /// `closed` or `open`.
    pub load: &'static str,
    /// When a job counted as over: `acknowledged` or `seen`.
    pub end: &'static str,
    /// Clients.
    pub concurrency: u32,
    /// Jobs a second that were wanted in an open loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Workers.
    pub workers: u32,
    /// Polls held open meanwhile.
    pub idle_polls: u32,
    /// Bytes that each job, task and result carried.
    pub payload_bytes: usize,
    /// Whether the run came to its planned end.
    pub complete: bool,
    /// How long it counted, to the last job's end.
    pub seconds: f64,
    /// Jobs that count.
    pub jobs_measured: u64,
    /// Their throughput.
    pub jobs_per_second: f64,
    /// Nothing without jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<Latency>,
    /// Jobs of an open loop whose time came and that were never sent.
    pub jobs_unsent: u64,
    /// The whole run, warm-up included.
    pub totals: Totals,
    /// Errors by what was tried and what came of it, warm-up included.
    pub errors: BTreeMap<String, u64>,
    /// The watched process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<Used>,
    /// This process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generator: Option<Used>,
    /// The watched process over the run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub course: Vec<Point>,
}

impl Report {
    /// Draws it up when everything is over.
    #[must_use]
    pub fn new(world: &World, meter: &Meter, elapsed: Duration, complete: bool) -> Self {
        let tally = world.tally();
        let seconds = elapsed.as_secs_f64();
        let span = tally.span.map(|(first, last)| last - first);
        let working = span.unwrap_or(elapsed).as_secs_f64();
        let micros = |value: u64| rounded(ratio(value, 1000));
        let latencies = &tally.latencies;
        let latency = (!latencies.is_empty()).then(|| Latency {
            p50: micros(latencies.value_at_quantile(0.5)),
            p95: micros(latencies.value_at_quantile(0.95)),
            p99: micros(latencies.value_at_quantile(0.99)),
            max: micros(latencies.max()),
            mean: rounded(latencies.mean() / 1000.0),
        });
        let used = |span: &RefCell<Span>| used(*span.borrow(), seconds, tally.measured);
        let plan = &world.plan;
        Self {
            workload: plan.workload.name(),
            load: if plan.rate.is_some() {
                "open"
            } else {
                "closed"
            },
            end: world.end().name(),
            concurrency: plan.concurrency,
            rate: plan.rate,
            workers: plan.workers,
            idle_polls: plan.idle_polls,
            payload_bytes: world.wire.payload.len(),
            complete,
            seconds: rounded(working),
            jobs_measured: tally.measured,
            jobs_per_second: rounded(ratio(tally.measured, 1) / working),
            latency_ms: latency,
            jobs_unsent: meter.unsent.get(),
            totals: world.ledger.borrow().totals(),
            errors: tally.errors.clone(),
            server: used(&meter.server),
            generator: used(&meter.own),
            course: meter.course.borrow().clone(),
        }
    }

    /// Tells how the program ends: well only if no job was lost or doubled, and nothing failed.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if !self.complete {
            Exit::Interrupted
        } else if self.totals.are_right() && self.errors.is_empty() {
            Exit::Ok
        } else {
            Exit::JobFailed
        }
    }

    /// Returns the report for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines = vec![
            ("workload", self.asked()),
            ("throughput", self.throughput()),
        ];
        if let Some(Latency {
            p50, p95, p99, max, ..
        }) = self.latency_ms
        {
            let text = format!("p50 {p50} ms, p95 {p95} ms, p99 {p99} ms, max {max} ms");
            lines.push(("latency", text));
        }
        lines.push(("jobs", self.totals.jobs_text()));
        lines.push(("tasks", self.totals.tasks_text()));
        let used = |used: &Option<Used>| used.as_ref().map(Used::text);
        lines.extend(used(&self.server).map(|text| ("server", text)));
        lines.extend(used(&self.generator).map(|text| ("generator", text)));
        let errors = self.errors.iter();
        lines.extend(errors.map(|(error, count)| ("error", format!("{count} x {error}"))));
        let line = |(name, text): (&str, String)| format!("{name:<12}{text}\n");
        lines.into_iter().map(line).collect()
    }

    fn asked(&self) -> String {
        let Self {
            workload,
            load,
            end,
            concurrency,
            workers,
            idle_polls,
            payload_bytes,
            ..
        } = self;
        let rate = self
            .rate
            .map_or(String::new(), |rate| format!(" at {rate}/s"));
        format!(
            "{workload}, {load} loop{rate}, {concurrency} clients, {workers} workers, \
             {idle_polls} idle polls, {payload_bytes} payload bytes, a job ends when {end}"
        )
    }

    fn throughput(&self) -> String {
        let partial = if self.complete { "" } else { ", stopped early" };
        let unsent = match self.jobs_unsent {
            0 => String::new(),
            unsent => format!(", {unsent} more were due and not sent"),
        };
        format!(
            "{:.1} jobs/s: {} jobs in {:.2} s{unsent}{partial}",
            self.jobs_per_second, self.jobs_measured, self.seconds
        )
    }
}

impl Used {
    fn text(&self) -> String {
        let each = self.cpu_seconds_per_1000_jobs;
        let each = each.map_or(String::new(), |each| {
            format!(", {each:.3} CPU s per 1,000 jobs")
        });
        format!(
            "{:.2} CPU s ({:.2} cores){each}, memory {:.1} MiB at the start, {:.1} at most, {:.1} at the end",
            self.cpu_seconds,
            self.cores,
            self.memory_start_mib,
            self.memory_peak_mib,
            self.memory_end_mib,
        )
    }
}

fn used(span: Span, seconds: f64, jobs: u64) -> Option<Used> {
    let (start, end) = (span.start?, span.end?);
    let cpu = end.cpu.saturating_sub(start.cpu).as_secs_f64();
    let peak = span.memory_max_kib.max(end.memory_kib);
    Some(Used {
        cpu_seconds: rounded(cpu),
        cores: rounded(cpu / seconds),
        cpu_seconds_per_1000_jobs: (jobs > 0)
            .then(|| cpu * 1000.0 / ratio(jobs, 1))
            .map(rounded),
        memory_start_mib: mib(start.memory_kib),
        memory_peak_mib: mib(peak),
        memory_end_mib: mib(end.memory_kib),
    })
}

fn mib(kib: u64) -> f64 {
    (ratio(kib, 1024) * 10.0).round() / 10.0
}

/// Rounds to what is worth telling.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts that reach 2^53 are not reached"
)]
fn ratio(value: u64, by: u64) -> f64 {
    value as f64 / by as f64
}
