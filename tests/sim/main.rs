//! The simulation: whole worlds of real shells over one true store, on virtual time, in which
//! everything that can go wrong does, and an auditor that judges them by what can be seen.
//!
//! A seed decides all of a world. `make sim SEEDS=1 SEED_START=<seed>` plays one again.

mod auditor;
mod blueprints;
mod clients;
mod clock;
mod cluster;
mod gate;
mod ledger;
mod logs;
mod panics;
mod people;
mod plan;
mod planted;
mod play;
mod ports;
mod ports_rest;
mod rng;
mod seen;
#[expect(dead_code, reason = "shared with other tests of real servers")]
#[path = "../servers/mod.rs"]
mod servers;
mod skills;
mod truth;
mod workers;
mod world;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use planted::Bug;
use play::{play, play_in};
use servers::redis::{Redis, RedisCluster};
use truth::{InMemory, InRedis, Truths};

/// Worlds of one test run, unless `SIM_SEEDS` says otherwise.
const SEEDS: u64 = 2_000;
/// Likewise on a real Redis, and on a cluster: a call there takes a hundred times as long.
const REDIS_SEEDS: u64 = 20;
const CLUSTER_SEEDS: u64 = 4;
/// Stack of a thread that plays worlds: futures are large before they are optimised.
const STACK_BYTES: usize = 16 << 20;
/// Things that some hundred worlds must have seen between them, or they prove nothing.
const REACHED: [&str; 45] = [
    "crash",
    "told to stop",
    "stopped",
    "commit done, its answer lost",
    "commit done, unanswered",
    "commit not reached",
    "commit refused",
    "settle done, its answer lost",
    "lease done, its answer lost",
    "Leased",
    "Released",
    "Missed",
    "Extended",
    "Recorded",
    "OverQuota",
    "Webhook",
    "Delivered",
    "Retry",
    "Finished",
    "Failed",
    "Quarantined",
    "Cancelled",
    "AwaitingRetry",
    "WaitingForHuman",
    "WaitingForSubJob",
    "WaitingForTimer",
    "WaitingForEvent",
    "WaitingForParallelTasks",
    "SuccessTransition",
    "FailureHandled",
    "CancelledHandled",
    "ParallelBranchAccepted",
    "UnhandledStatusFailure",
    "TaskRetried",
    "WorkerEvent",
    "ChildFinished",
    "ApprovalReceived",
    "JobRetried",
    "StateFailed",
    "StartChild",
    "CancelChild",
    "ReleaseBranches",
    "EndTasks",
    "PutData",
    "Emitted",
];
/// Worlds in which a planted bug must show.
const SEEDS_FOR_A_BUG: u64 = 300;

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is `{text}`, expected a number")),
        Err(_) => default,
    }
}

/// Does the work for every number of the range, on all processors; stops when it returns something.
fn on_all_processors<T: Send>(
    numbers: std::ops::Range<u64>,
    work: impl Fn(u64) -> Option<T> + Sync,
) -> Option<T> {
    panics::watch();
    let (next, found) = (AtomicU64::new(numbers.start), Mutex::new(None));
    let run = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= numbers.end {
                return;
            }
            if let Some(result) = work(number) {
                next.store(numbers.end, Ordering::Relaxed);
                found
                    .lock()
                    .expect("nobody panics with it")
                    .get_or_insert(result);
            }
        }
    };
    let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    thread::scope(|scope| {
        for _ in 0..processors {
            thread::Builder::new()
                .stack_size(STACK_BYTES)
                .spawn_scoped(scope, run)
                .expect("a thread starts");
        }
    });
    found.into_inner().expect("nobody panics with it")
}

/// Plays so many worlds unless `SIM_SEEDS` says otherwise, and fails with the story of one that breaks a rule.
fn hold(truths: &dyn Truths, count: u64, replay: &str) {
    let start = setting("SIM_SEED_START", 1);
    let count = setting("SIM_SEEDS", count);
    let failure = on_all_processors(start..start + count, |seed| {
        let end = play_in(truths, seed, None);
        end.violation.map(|_| (seed, end.story))
    });
    if let Some((seed, story)) = failure {
        panic!("\n{story}\nreplay with: {replay} SEEDS=1 SEED_START={seed}\n");
    }
}

#[test]
fn seeds() {
    hold(&InMemory, SEEDS, "make sim");
}

#[test]
fn server_redis_holds_worlds() {
    let redis = Redis::start();
    hold(
        &InRedis::new(redis.url()),
        REDIS_SEEDS,
        "make sim STORE=redis",
    );
}

#[test]
fn server_redis_cluster_holds_worlds() {
    let cluster = RedisCluster::start();
    hold(
        &InRedis::new(cluster.url()),
        CLUSTER_SEEDS,
        "make sim STORE=cluster",
    );
}

#[test]
fn the_same_seed_is_the_same_world() {
    let differs = on_all_processors(1..13, |seed| {
        let (first, second) = (play(seed, None), play(seed, None));
        (first.digest != second.digest).then_some((seed, first.digest, second.digest))
    });
    assert_eq!(differs, None);
}

#[test]
fn worlds_reach_what_they_are_for() {
    let seen = Mutex::new(BTreeSet::new());
    let broken = on_all_processors(1..241, |seed| {
        let end = play(seed, None);
        seen.lock()
            .expect("nobody panics with it")
            .extend(end.kinds);
        end.violation
    });
    assert_eq!(broken, None);
    let seen = seen.into_inner().expect("nobody panics with it");
    let missing: Vec<&str> = REACHED
        .into_iter()
        .filter(|kind| !seen.contains(*kind))
        .collect();
    assert_eq!(missing, [""; 0]);
}

/// Plays worlds with each of the bugs until its rule is broken, and fails if that is another or none.
fn find(truths: &dyn Truths, bugs: &[Bug]) {
    let missed = on_all_processors(0..bugs.len() as u64, |number| {
        let bug = bugs[usize::try_from(number).expect("few")];
        let found = (1..=SEEDS_FOR_A_BUG).find_map(|seed| {
            let end = play_in(truths, seed, Some(bug));
            end.violation.map(|violation| (seed, violation, end.story))
        });
        match found {
            None => Some(format!("{bug:?} was not found in {SEEDS_FOR_A_BUG} worlds")),
            Some((_, violation, _)) if violation.rule == bug.rule() => None,
            Some((seed, violation, story)) => Some(format!(
                "{story}\n{bug:?} was taken for {} in seed {seed}: {}",
                violation.rule, violation.what
            )),
        }
    });
    assert_eq!(missed, None, "{}", missed.as_deref().unwrap_or_default());
}

#[test]
fn the_auditor_finds_every_planted_bug_and_names_its_rule() {
    find(&InMemory, &Bug::ALL);
}

/// The auditor sees as much on a real Redis: a commit that is not there, one that is there twice, and
/// a guard that is missing.
#[test]
fn server_redis_worlds_show_planted_bugs() {
    let redis = Redis::start();
    let bugs = [Bug::JobLost, Bug::TerminalOverwritten, Bug::KeyUnguarded];
    find(&InRedis::new(redis.url()), &bugs);
}
