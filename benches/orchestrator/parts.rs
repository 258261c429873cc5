//! What is measured, part by part.

use serde_json::Value;

use crate::Settings;
use crate::server::Server;
use crate::tell::{figure, head, line, row, times};

/// The workloads that both orchestrators are given.
const WORKLOADS: [&str; 5] = ["noop", "one_task", "chain5", "fan10", "nested"];

/// Starts of the process, of which the middle one counts.
const STARTS: usize = 5;

/// Polls of workers that wait.
const IDLE_POLLS: &str = "5000";

/// Returns a number of a report.
pub fn number(report: &Value, path: &str) -> f64 {
    report.pointer(path).and_then(Value::as_f64).unwrap_or(0.0)
}

/// Returns a report's jobs a second.
pub fn rate(report: &Value) -> f64 {
    number(report, "/jobs_per_second")
}

/// Runs the same on a fresh orchestrator of ours and on a fresh original.
fn both(settings: &Settings, arguments: &[&str]) -> Result<(Value, Option<Value>), String> {
    let ours = Server::ours(settings)?.bench(arguments)?;
    let theirs = match &settings.original {
        Some(python) => Some(Server::original(python, settings)?.bench_anyhow(arguments)?),
        None => None,
    };
    Ok((ours, theirs))
}

/// Jobs a second under full load, and what a job costs.
pub fn throughput(settings: &Settings) -> Result<(), String> {
    head(&[
        "Workload",
        "jobs/s",
        "original",
        "ratio",
        "p50 ms",
        "p99 ms",
        "CPU s per 1,000",
        "original",
        "generator",
        "memory MiB",
        "original",
    ]);
    let seconds = format!("{}s", settings.seconds);
    for workload in WORKLOADS {
        let (ours, theirs) = both(settings, &[workload, "--duration", &seconds])?;
        let theirs = theirs.unwrap_or_default();
        let cost = "/server/cpu_seconds_per_1000_jobs";
        row(&[
            workload.to_owned(),
            figure(rate(&ours)),
            figure(rate(&theirs)),
            times(rate(&ours), rate(&theirs)),
            figure(number(&ours, "/latency_ms/p50")),
            figure(number(&ours, "/latency_ms/p99")),
            figure(number(&ours, cost)),
            figure(number(&theirs, cost)),
            figure(number(&ours, "/generator/cpu_seconds_per_1000_jobs")),
            figure(number(&ours, "/server/memory_peak_mib")),
            figure(number(&theirs, "/server/memory_peak_mib")),
        ]);
    }
    Ok(())
}

/// How long a job takes when there is little to do.
pub fn latency(settings: &Settings) -> Result<(), String> {
    head(&["one_task at 20/s", "p50 ms", "p95 ms", "p99 ms", "max ms"]);
    let seconds = format!("{}s", settings.seconds.max(10));
    let arguments = [
        "one_task",
        "--rate",
        "20",
        "--end",
        "seen",
        "--duration",
        &seconds,
    ];
    let (ours, theirs) = both(settings, &arguments)?;
    let runs = [("ours", Some(ours)), ("original", theirs)];
    for (name, report) in runs
        .into_iter()
        .filter_map(|(name, run)| Some((name, run?)))
    {
        let places = ["p50", "p95", "p99", "max"];
        let cells = places.map(|place| figure(number(&report, &format!("/latency_ms/{place}"))));
        let cells: Vec<String> = std::iter::once(name.to_owned()).chain(cells).collect();
        row(&cells);
    }
    Ok(())
}

/// How long a start takes, and what an idle process keeps.
pub fn start(settings: &Settings) -> Result<(), String> {
    head(&["Idle", "ready after ms", "memory MiB"]);
    let ours = idle(&|| Server::ours(settings))?;
    row(&["ours".to_owned(), figure(ours.0), figure(ours.1)]);
    if let Some(python) = &settings.original {
        let theirs = idle(&|| Server::original(python, settings))?;
        row(&["original".to_owned(), figure(theirs.0), figure(theirs.1)]);
    }
    Ok(())
}

/// Starts a server some times; returns the middle time in milliseconds, and the last one's memory.
fn idle(start: &dyn Fn() -> Result<Server, String>) -> Result<(f64, f64), String> {
    let mut times = Vec::new();
    for _ in 1..STARTS {
        times.push(start()?.ready_after);
    }
    let last = start()?;
    times.push(last.ready_after);
    times.sort();
    let report = last.bench(&["idle", "--workers", "1", "--duration", "3s"])?;
    let ready = times[STARTS / 2].as_secs_f64() * 1000.0;
    Ok((ready, number(&report, "/server/memory_end_mib")))
}

/// Whether many ended jobs make the next ones slower.
pub fn full_store(settings: &Settings) -> Result<(), String> {
    let server = Server::ours(settings)?;
    let seconds = format!("{}s", settings.seconds);
    let arguments = ["one_task", "--duration", &seconds];
    let empty = server.bench(&arguments)?;
    let jobs = settings.jobs.to_string();
    let filled = server.bench(&["noop", "--jobs", &jobs, "--no-audit", "--patience", "10m"])?;
    let full = server.bench(&arguments)?;
    line(&format!(
        "{jobs} jobs stored in {} s",
        figure(number(&filled, "/seconds"))
    ));
    head(&["one_task", "jobs/s", "p99 ms", "memory MiB"]);
    for (name, report) in [("empty store", &empty), ("full store", &full)] {
        row(&[
            name.to_owned(),
            figure(rate(report)),
            figure(number(report, "/latency_ms/p99")),
            figure(number(report, "/server/memory_peak_mib")),
        ]);
    }
    line(&format!(
        "full by empty: {}",
        times(rate(&full), rate(&empty))
    ));
    Ok(())
}

/// What waiting workers cost.
pub fn idle_polls(settings: &Settings) -> Result<(), String> {
    let server = Server::ours(settings)?;
    // Two rounds of polls, and of what is written now and then.
    let seconds = format!("{}s", settings.seconds.max(60));
    let base = ["idle", "--workers", "1", "--duration", &seconds];
    head(&["Idle polls", "cores", "memory MiB"]);
    for polls in ["0", IDLE_POLLS] {
        let arguments = [&base[..], &["--idle-polls", polls]].concat();
        let report = server.bench(&arguments)?;
        row(&[
            polls.to_owned(),
            format!("{:.3}", number(&report, "/server/cores")),
            figure(number(&report, "/server/memory_end_mib")),
        ]);
    }
    Ok(())
}

/// Whether the cost of a branch grows with the number of branches.
pub fn fan_out(settings: &Settings) -> Result<(), String> {
    let server = Server::ours(settings)?;
    let few = [
        "--concurrency",
        "1",
        "--workers",
        "16",
        "--warm-up",
        "0",
        "--patience",
        "10m",
    ];
    let run = |workload: &str, jobs: &str| {
        let arguments = [&[workload, "--jobs", jobs], &few[..]].concat();
        server.bench(&arguments)
    };
    run("fan1000", "1")?;
    let narrow = number(&run("fan1000", "5")?, "/latency_ms/mean");
    let wide = number(&run("fan10000", "3")?, "/latency_ms/mean");
    head(&["Branches", "ms", "ratio"]);
    row(&["1,000".to_owned(), figure(narrow), times(1.0, 1.0)]);
    row(&["10,000".to_owned(), figure(wide), times(wide, narrow)]);
    Ok(())
}

/// Whether memory stays where it is under full load.
pub fn steady(settings: &Settings) -> Result<(), String> {
    let server = Server::ours(settings)?;
    let minutes = format!("{}m", settings.minutes);
    let arguments = [
        "one_task",
        "--duration",
        &minutes,
        "--warm-up",
        "10s",
        "--no-audit",
    ];
    let report = server.bench(&arguments)?;
    line(&format!(
        "{} jobs/s over {minutes}, p99 {} ms",
        figure(rate(&report)),
        figure(number(&report, "/latency_ms/p99")),
    ));
    head(&["Second", "jobs", "memory MiB"]);
    let course = report["course"].as_array().cloned().unwrap_or_default();
    // A dozen rows show the course as well as all points do.
    for point in course.iter().step_by((course.len() / 12).max(1)) {
        row(&[
            figure(number(point, "/at_s")),
            figure(number(point, "/jobs")),
            figure(number(point, "/memory_mib")),
        ]);
    }
    Ok(())
}
