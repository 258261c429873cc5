//! One run from its first worker to its report, on the thread of the caller.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::client::{self, Queue, Starts};
use super::fleet::Fleet;
use super::process;
use super::report::{Meter, Report};
use super::workload::Workload;
use super::world::{ANSWER_TIMEOUT, Phase, World, nobody_there};
use crate::net::Pipe;
use crate::roles::exit::{Exit, Failure};
use crate::roles::printer::Printer;

/// Times that may wait between the thread that makes them and the clients.
const DUE_MAX: usize = 4096;

/// Below this distance between starts the last stretch to a start is not waited for busily: it
/// would take a core.
const BUSY_PERIOD_MIN: Duration = Duration::from_millis(2);

/// How long before a start the thread that makes the times is awake: the system wakes it late.
const BUSY_WAIT: Duration = Duration::from_micros(200);

/// Longest sleep of that thread, so that it hears of the end.
const SLEEP_MAX: Duration = Duration::from_millis(50);

/// How often use of memory and processor is read.
const METER_EVERY: Duration = Duration::from_millis(200);

/// Connections that look at jobs when the clock has stopped.
const AUDITORS_MAX: u32 = 32;

/// Runs it all. Blocks the thread: call it where blocking is allowed.
///
/// One thread plays every worker and client: that is the cheapest on a machine that the
/// orchestrator needs too, and nothing has to be locked.
pub fn run(make: impl FnOnce() -> World, printer: &Printer) -> Result<Report, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::internal(format!("no runtime: {error}")))?;
    let players = LocalSet::new();
    let world = Rc::new(make());
    players.block_on(&runtime, conduct(world, printer))
}

async fn conduct(world: Rc<World>, printer: &Printer) -> Result<Report, Failure> {
    let files = world.plan.files();
    process::allow_files(files).map_err(|most| {
        Failure::usage(format!(
            "the run opens {files} files, and {most} are allowed"
        ))
        .hint("allow more by `ulimit -n`, here and where the orchestrator is started")
    })?;
    knock(&world).await?;
    let meter = Rc::new(Meter::new(world.plan.pid)?);
    let mut helpers = JoinSet::new();
    let closing = CancellationToken::new();
    helpers.spawn_local(watch(
        Rc::clone(&world),
        Rc::clone(&meter),
        printer.clone(),
        closing.clone(),
    ));
    let fleet = Fleet::start(&world).await;
    let elapsed = play(&world, &meter, &mut helpers).await;
    let is_whole = !world.interrupted.is_cancelled();
    if is_whole && world.plan.audit {
        audit(&world).await;
    }
    fleet.stop(&world).await;
    closing.cancel();
    while helpers.join_next().await.is_some() {}
    match world.failure() {
        Some(failure) => Err(failure),
        None => Ok(Report::new(&world, &meter, elapsed, is_whole)),
    }
}

/// Asks whether all are there.
async fn knock(world: &World) -> Result<(), Failure> {
    let mut request = Vec::new();
    world.wire.alive(&mut request);
    for address in &world.wire.addresses {
        let mut pipe = Pipe::new(*address);
        let asked = pipe.exchange(&request, ANSWER_TIMEOUT).await;
        let why = match asked {
            Ok(answer) if answer.status == 200 => continue,
            Ok(answer) => format!("status {}", answer.status),
            Err(error) if nobody_there(&error) => error.to_string(),
            Err(error) => format!("no orchestrator: {error}"),
        };
        let message = format!("cannot reach http://{address}: {why}");
        return Err(Failure::new(Exit::Unreachable, message)
            .hint("is the orchestrator running there? --url names another"));
    }
    Ok(())
}

/// Plays warm-up and measured time; returns how long the latter took, to its last job's end.
async fn play(world: &Rc<World>, meter: &Rc<Meter>, helpers: &mut JoinSet<()>) -> Duration {
    let starts = Rc::new(match world.plan.rate {
        Some(_) => Starts::Open(Queue::default()),
        None => Starts::Closed,
    });
    let count = || {
        meter.start();
        world.enter(Phase::Measured);
        Instant::now()
    };
    // Without a warm-up the first job counts already.
    let mut since = world.plan.warm_up.is_zero().then(count);
    let mut clients = JoinSet::new();
    if world.plan.workload != Workload::Idle {
        if let Some(rate) = world.plan.rate {
            let (due, times) = mpsc::channel(DUE_MAX);
            let (first, ending) = (Instant::now(), world.ending.clone());
            helpers.spawn_blocking(move || pace(first, rate, &due, &ending));
            helpers.spawn_local(feed(times, Rc::clone(&starts)));
        }
        for number in 0..world.plan.concurrency {
            clients.spawn_local(client::play(Rc::clone(world), Rc::clone(&starts), number));
        }
    }
    if since.is_none() {
        pause(world, Some(world.plan.warm_up)).await;
    }
    let since = *since.get_or_insert_with(count);
    let has_clients = !clients.is_empty();
    tokio::select! {
        () = pause(world, world.plan.duration) => {}
        () = joined(&mut clients), if has_clients => {}
    }
    world.enter(Phase::Ending);
    joined(&mut clients).await;
    let elapsed = since.elapsed();
    meter.stop();
    if let Starts::Open(queue) = &*starts {
        meter.unsent.set(queue.len());
    }
    elapsed
}

/// Waits for so long, for ever when nothing is said, or until the user wants to stop.
async fn pause(world: &World, duration: Option<Duration>) {
    let time = async {
        match duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = time => {}
        () = world.interrupted.cancelled() => {}
    }
}

async fn joined(players: &mut JoinSet<()>) {
    while players.join_next().await.is_some() {}
}

/// Makes the times of an open loop, on a thread of its own: a runtime's timers are a millisecond
/// coarse, which is as much as a job takes.
fn pace(first: Instant, rate: f64, due: &mpsc::Sender<Instant>, ending: &CancellationToken) {
    let period = Duration::from_secs_f64(1.0 / rate);
    let busy = if period >= BUSY_PERIOD_MIN {
        BUSY_WAIT
    } else {
        Duration::ZERO
    };
    let mut at = first + period;
    loop {
        loop {
            if ending.is_cancelled() {
                return;
            }
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let idle = left.saturating_sub(busy);
            if idle.is_zero() {
                std::hint::spin_loop();
            } else {
                std::thread::sleep(idle.min(SLEEP_MAX));
            }
        }
        if due.blocking_send(at).is_err() {
            return;
        }
        at += period;
    }
}

/// Passes the times on to the clients.
async fn feed(mut times: mpsc::Receiver<Instant>, starts: Rc<Starts>) {
    while let Some(due) = times.recv().await {
        if let Starts::Open(queue) = &*starts {
            queue.push(due);
        }
    }
}

/// Looks at every job whose end nobody has seen, until all have ended or the patience is over.
async fn audit(world: &Rc<World>) {
    let until = Instant::now() + world.plan.patience;
    let next = Rc::new(Cell::new(0));
    let mut auditors = JoinSet::new();
    for auditor in 0..world.plan.concurrency.min(AUDITORS_MAX) {
        let (world, next) = (Rc::clone(world), Rc::clone(&next));
        auditors.spawn_local(async move {
            let mut pipe = Pipe::new(world.wire.address(auditor));
            let mut request = Vec::new();
            loop {
                let found = world.ledger.borrow().next_unseen(next.get());
                let Some((number, id)) = found else { return };
                next.set(number + 1);
                let looked = (number, id, until);
                match client::look(&world, &mut pipe, &mut request, looked).await {
                    Some(true) => {}
                    Some(false) => world.ledger.borrow_mut().lost(number),
                    None => return,
                }
            }
        });
    }
    joined(&mut auditors).await;
}

/// Reads what the processes use, and shows how far the run is.
async fn watch(world: Rc<World>, meter: Rc<Meter>, printer: Printer, closing: CancellationToken) {
    let bar = printer.progress().add(ProgressBar::new_spinner());
    bar.set_style(
        ProgressStyle::with_template("{spinner} {msg}  {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    let mut ticks = tokio::time::interval(METER_EVERY);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = closing.cancelled() => break,
        }
        let (ended, errors) = {
            let tally = world.tally();
            (tally.ended, tally.errors.values().sum::<u64>())
        };
        meter.read(ended);
        bar.set_message(format!(
            "{}: {ended} jobs ended, {errors} errors",
            world.plan.workload.name()
        ));
        bar.tick();
    }
    bar.finish_and_clear();
}
