//! What is measured of servers behind the orchestrator, and of several orchestrators on one.

use std::rc::Rc;

use crate::Settings;
use crate::backing::{Backing, Store};
use crate::collector::Collector;
use crate::parts::{number, rate};
use crate::server::Server;
use crate::tell::{figure, head, line, row, times};

/// Times that two are measured in turn, so that a noisy moment does not hit one of them alone.
const ROUNDS: u32 = 2;

/// As many times where a few percent are looked for: a machine may be slower for half a minute.
const COST_ROUNDS: u32 = 6;

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
    let seconds = format!("{}s", settings.seconds);
    let (mut one, mut two) = (0.0, 0.0);
    for _ in 0..ROUNDS {
        let backing = || Rc::new(Backing::start(Store::Redis, settings.has_history));
        let arguments = ["one_task", "--duration", &seconds];
        one += rate(&Server::ours_on(&backing())?.bench(&arguments)?);
        let shared = backing();
        let (first, second) = (Server::ours_on(&shared)?, Server::ours_on(&shared)?);
        let url = second.url();
        let arguments = [&arguments[..], &["--also", &url]].concat();
        two += rate(&first.bench(&arguments)?);
    }
    head(&["Orchestrators on one Redis", "jobs/s", "ratio"]);
    let rounds = f64::from(ROUNDS);
    row(&["one".to_owned(), figure(one / rounds), times(1.0, 1.0)]);
    row(&["two".to_owned(), figure(two / rounds), times(two, one)]);
    Ok(())
}

/// What history in PostgreSQL costs.
pub fn history(settings: &Settings) -> Result<(), String> {
    head(&["Workload", "jobs/s without history", "with", "cost"]);
    for workload in ["one_task", "chain5"] {
        cost(settings, workload, |has_history| {
            let backing = Backing::start(settings.store, has_history);
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
        let backing = Backing::start(settings.store, settings.has_history);
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
    // Together as long as two rounds of the usual length.
    let seconds = format!("{}s", (2 * settings.seconds).div_ceil(COST_ROUNDS.into()));
    let mut sums = [0.0, 0.0];
    for round in 0..COST_ROUNDS {
        let turn = if round % 2 == 0 {
            [false, true]
        } else {
            [true, false]
        };
        for has_it in turn {
            let server = start(has_it)?;
            let report = server.bench(&[workload, "--duration", &seconds])?;
            sums[usize::from(has_it)] += rate(&report) / f64::from(COST_ROUNDS);
        }
    }
    let [without, with] = sums;
    row(&[
        workload.to_owned(),
        figure(without),
        figure(with),
        format!("{:.1} %", (1.0 - with / without) * 100.0),
    ]);
    Ok(())
}
