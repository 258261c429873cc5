//! What is measured of servers behind the orchestrator, and of several orchestrators on one.

use std::rc::Rc;

use serde_json::Value;

use crate::Settings;
use crate::backing::{Backing, Store};
use crate::collector::Collector;
use crate::parts::{number, rate};
use crate::server::Server;
use crate::share::Share;
use crate::tell::{figure, head, line, row, times};

/// How long a turn is measured: a few percent are looked for, and a machine that is shared may be a third
/// slower from one second to the next. What is behind, as history is, has caught up in the warm-up.
const TURN: [&str; 4] = ["--warm-up", "1s", "--duration", "1s"];

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

/// What one of the orchestrators may use in the second of two comparisons, in hundredths of a core: together
/// with two of them, clients and Redis leave something of two cores idle.
const SHARE: u32 = 30;

/// Clients and workers that leave no orchestrator idle.
const MANY: [&str; 4] = ["--concurrency", "256", "--workers", "256"];
/// Clients and workers where tasks wait for workers.
const LONG_QUEUE: [&str; 4] = ["--concurrency", "256", "--workers", "32"];

/// Who the second of two is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Second {
    /// One that shares the first one's jobs.
    Peer,
    /// One of another deployment on the same server: neither knows of the other.
    Stranger,
}

/// Whether two orchestrators on one Redis do less than one: where each has a share of a core, as on machines
/// of their own, and where everything shares the machine, which one of them fills; both likewise with a long
/// queue, which they share, and the latter with four times the usual clients and workers. What two do there
/// that have nothing to do with each other tells what of it is the machine's.
pub fn orchestrators(settings: &Settings) -> Result<(), String> {
    head(&["Orchestrators on one Redis", "jobs/s", "ratio"]);
    let share = |name| Share::make(name, SHARE);
    if let [Ok(alone), Ok(first), Ok(second)] = ["alone", "first", "second"].map(share) {
        let (each, limits) = (format!("{SHARE} % of a core each"), [alone, first, second]);
        one_and_two(settings, (&each, &[]), Second::Peer, Some(&limits))?;
        let each = format!("{each}, a long queue");
        one_and_two(settings, (&each, &LONG_QUEUE), Second::Peer, Some(&limits))?;
    } else {
        line("not measured with a share of a core each: no control group can be made");
    }
    let loads: [(&str, &[&str]); 3] = [
        ("sharing all cores", &[]),
        ("sharing all cores, many at once", &MANY),
        ("sharing all cores, a long queue", &LONG_QUEUE),
    ];
    for load in loads {
        one_and_two(settings, load, Second::Peer, None)?;
        one_and_two(settings, load, Second::Stranger, None)?;
    }
    Ok(())
}

fn one_and_two(
    settings: &Settings,
    (name, load): (&str, &[&str]),
    second_is: Second,
    limits: Option<&[Share; 3]>,
) -> Result<(), String> {
    let start = || {
        let shared = Rc::new(Backing::start_steady(Store::Redis, settings.has_history));
        Ok::<_, String>((Server::ours_on(&shared)?, shared))
    };
    let ((alone, _), (first, shared)) = (start()?, start()?);
    let (two, apart, unaudited): (_, _, &[&str]) = match second_is {
        Second::Peer => ("two", Vec::new(), &[]),
        // Whoever looks at the first one's jobs does not find the second one's.
        Second::Stranger => {
            let prefix = ("REDIS_PREFIX", "another".to_owned());
            ("two strangers", vec![prefix], &["--no-audit"])
        }
    };
    let second = Server::ours_with(&shared, apart)?;
    for (share, server) in limits.into_iter().flatten().zip([&alone, &first, &second]) {
        share
            .take(server.process())
            .map_err(|error| error.to_string())?;
    }
    let also = second.url();
    let turns = in_turn(settings, |is_two| {
        let workload = [&["one_task"], &TURN[..], load, unaudited].concat();
        if is_two {
            first.bench(&[&workload[..], &["--also", &also]].concat())
        } else {
            alone.bench(&workload)
        }
    })?;
    row(&[format!("one, {name}"), figure(turns.first), times(1.0, 1.0)]);
    let ratio = format!("{:.2} ± {:.2}", turns.ratio, turns.error);
    row(&[format!("{two}, {name}"), figure(turns.second), ratio]);
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
    let servers = [start(false)?, start(true)?];
    let arguments = [workload].into_iter().chain(TURN).collect::<Vec<_>>();
    let turns = in_turn(settings, |has_it| {
        servers[usize::from(has_it)].bench(&arguments)
    })?;
    let (cost, error) = ((1.0 - turns.ratio) * 100.0, turns.error * 100.0);
    row(&[
        workload.to_owned(),
        figure(turns.first),
        figure(turns.second),
        format!("{cost:.1} ± {error:.1} %"),
    ]);
    Ok(())
}

/// What two did that were measured in turn.
struct Turns {
    /// Jobs a second of the first, in the mean.
    first: f64,
    /// Likewise of the second.
    second: f64,
    /// The second by the first: the geometric mean over the rounds.
    ratio: f64,
    /// Its standard error.
    error: f64,
}

/// Measures two in turn, which both run all the time: two turns of each for every second of the usual
/// length.
fn in_turn(
    settings: &Settings,
    bench: impl Fn(bool) -> Result<Value, String>,
) -> Result<Turns, String> {
    // An error needs two at least.
    let rounds = u32::try_from(2 * settings.seconds)
        .map_err(|_| "too long")?
        .max(2);
    let count = f64::from(rounds);
    let (mut means, mut logarithms) = ([0.0, 0.0], Vec::new());
    for round in 0..rounds {
        let mut rates = [0.0, 0.0];
        for which in [round % 2 == 1, round % 2 == 0] {
            let rate = rate(&bench(which)?);
            rates[usize::from(which)] = rate;
            means[usize::from(which)] += rate / count;
        }
        logarithms.push((rates[1] / rates[0]).ln());
    }
    let mean = logarithms.iter().sum::<f64>() / count;
    let squares = logarithms.iter().map(|one| (one - mean).powi(2));
    let deviation = (squares.sum::<f64>() / (count - 1.0)).sqrt();
    let ratio = mean.exp();
    Ok(Turns {
        first: means[0],
        second: means[1],
        ratio,
        error: ratio * deviation / count.sqrt(),
    })
}
