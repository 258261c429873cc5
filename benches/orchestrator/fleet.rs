//! What is measured of servers behind the orchestrator, and of several orchestrators on one.

use std::rc::Rc;

use crate::Settings;
use crate::backing::{Backing, Store};
use crate::collector::Collector;
use crate::parts::{number, rate};
use crate::server::Server;
use crate::tell::{figure, head, line, row, times};

/// Times that two are measured in turn: a few percent are looked for, and a machine may be slower for
/// half a minute.
const ROUNDS: u32 = 6;

/// What one job costs on Redis: scripts, and times that the server has to read.
pub fn round_trips(settings: &Settings) -> Result<(), String> {
    head(&["Redis, per job", "scripts", "reads", "jobs"]);
    let seconds = format!("{}s", settings.seconds);
    for workload in ["one_task", "chain5", "fan10", "nested"] {
        let server = Server::ours_on(&Rc::new(Backing::start(Store::Redis, false)))?;
        let work = || server.backing.work().ok_or("no Redis to be asked");
        let before = work()?;
        let arguments = [
            workload,
            "--duration",
            &seconds,
            "--warm-up",
            "0",
            "--no-audit",
        ];
        let report = server.bench(&arguments)?;
        let after = work()?;
        // Without a warm-up all of them.
        let jobs = number(&report, "/jobs_measured");
        row(&[
            workload.to_owned(),
            each(after.scripts - before.scripts, jobs),
            each(after.reads - before.reads, jobs),
            figure(jobs),
        ]);
    }
    line("looks at each sixteenth job and the workers' registrations are in it");
    Ok(())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of one run are far below 2^53"
)]
fn each(count: u64, jobs: f64) -> String {
    figure(count as f64 / jobs.max(1.0))
}

/// Whether two orchestrators on one Redis do less than one.
pub fn orchestrators(settings: &Settings) -> Result<(), String> {
    let seconds = seconds_of_a_turn(settings);
    let arguments = ["one_task", "--duration", &seconds];
    let [one, two] = in_turn(|is_two| {
        let shared = Rc::new(Backing::start_steady(Store::Redis, settings.has_history));
        let first = Server::ours_on(&shared)?;
        if !is_two {
            return Ok(rate(&first.bench(&arguments)?));
        }
        let second = Server::ours_on(&shared)?;
        let url = second.url();
        let arguments = [&arguments[..], &["--also", &url]].concat();
        Ok(rate(&first.bench(&arguments)?))
    })?;
    head(&["Orchestrators on one Redis", "jobs/s", "ratio"]);
    row(&["one".to_owned(), figure(one), times(1.0, 1.0)]);
    row(&["two".to_owned(), figure(two), times(two, one)]);
    Ok(())
}

/// What history in PostgreSQL costs.
pub fn history(settings: &Settings) -> Result<(), String> {
    head(&["Workload", "jobs/s without history", "with", "cost"]);
    for workload in ["one_task", "chain5"] {
        cost(settings, workload, |has_history| {
            let backing = Backing::start_steady(settings.store, has_history);
            Server::ours_on(&Rc::new(backing))
        })?;
    }
    Ok(())
}

/// What traces cost, a tenth of which is recorded.
pub fn traces(settings: &Settings) -> Result<(), String> {
    head(&["Workload", "jobs/s without traces", "with", "cost"]);
    let collector = Collector::start().map_err(|error| error.to_string())?;
    cost(settings, "one_task", |has_traces| {
        let backing = Backing::start_steady(settings.store, settings.has_history);
        let settings = if has_traces {
            collector.settings("0.1")
        } else {
            Vec::new()
        };
        Server::ours_with(&Rc::new(backing), settings)
    })?;
    line(&format!("{} bytes of spans came in", collector.bytes()));
    Ok(())
}

/// Measures a workload without something and with it, in turn, and prints the row.
fn cost(
    settings: &Settings,
    workload: &str,
    start: impl Fn(bool) -> Result<Server, String>,
) -> Result<(), String> {
    let seconds = seconds_of_a_turn(settings);
    let [without, with] = in_turn(|has_it| {
        let report = start(has_it)?.bench(&[workload, "--duration", &seconds])?;
        Ok(rate(&report))
    })?;
    row(&[
        workload.to_owned(),
        figure(without),
        figure(with),
        format!("{:.1} %", (1.0 - with / without) * 100.0),
    ]);
    Ok(())
}

/// Returns how long one turn is: all of them together are as long as two of the usual length.
fn seconds_of_a_turn(settings: &Settings) -> String {
    format!("{}s", (2 * settings.seconds).div_ceil(ROUNDS.into()))
}

/// Measures two things in turn; returns the mean of each.
fn in_turn(measure: impl Fn(bool) -> Result<f64, String>) -> Result<[f64; 2], String> {
    let mut means = [0.0, 0.0];
    for round in 0..ROUNDS {
        for which in [round % 2 == 1, round % 2 == 0] {
            means[usize::from(which)] += measure(which)? / f64::from(ROUNDS);
        }
    }
    Ok(means)
}
