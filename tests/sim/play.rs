//! The course of a world: trouble, calm, and the reckoning.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use avtomatika::store::JobQuery;
use tokio::task::JoinSet;

use crate::auditor::Violation;
use crate::clients::{Client, schedule};
use crate::cluster::Cluster;
use crate::logs;
use crate::people;
use crate::planted::{Bug, THIEF};
use crate::seen::Remains;
use crate::truth::{InMemory, Truths};
use crate::workers::{SimWorker, steal};
use crate::world::World;

/// How long all jobs may take to end once trouble is over, in virtual seconds.
const CALM_SECONDS_MAX: u64 = 3_600;
/// How long the world is watched after that, for what should not happen any more.
const AFTERMATH_MS: u64 = 70_000;
/// Worlds whose logs are read: one in so many.
const LOGS_EVERY: u64 = 16;

/// How a world ended.
pub struct End {
    /// The first rule that was broken.
    pub violation: Option<Violation>,
    /// Lines seen, and their digest.
    pub digest: (usize, String),
    /// Kinds of things seen.
    pub kinds: BTreeSet<String>,
    /// The story's end, for a person.
    pub story: String,
}

/// Plays one world from its seed, in memory.
pub fn play(seed: u64, bug: Option<Bug>) -> End {
    play_in(&InMemory, seed, bug)
}

/// Plays one world from its seed.
pub fn play_in(truths: &dyn Truths, seed: u64, bug: Option<Bug>) -> End {
    let kept = truths.store(&format!("world-{seed}-{bug:?}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without input and output starts");
    let world = runtime.block_on(async {
        let world = Arc::new(World::new(seed, bug, kept));
        let logs = seed
            .is_multiple_of(LOGS_EVERY)
            .then(|| logs::capture(&world));
        run(&world).await;
        drop(logs);
        world
    });
    // Ends what is still under way, before its panics are counted.
    drop(runtime);
    if let Some(what) = crate::panics::take() {
        world.ledger.accuse(Violation {
            rule: "panic",
            what,
        });
    }
    let violation = world.ledger.violation();
    let digest = world.ledger.digest();
    let story = violation.as_ref().map_or(String::new(), |violation| {
        let mut story = world.ledger.tail();
        let plan = &world.plan;
        writeln!(story, "\n{plan:?}").expect("a string takes what it is given");
        writeln!(
            story,
            "\nseed {seed} breaks {}: {}",
            violation.rule, violation.what
        )
        .expect("a string takes what it is given");
        story
    });
    End {
        violation,
        digest,
        kinds: world.ledger.kinds(),
        story,
    }
}

async fn run(world: &Arc<World>) {
    let cluster = Cluster::new(world);
    let mut others = JoinSet::new();
    let mut clients = JoinSet::new();
    for number in 0..world.plan.nodes {
        others.spawn(Arc::clone(&cluster).keep(number));
    }
    for number in 0..world.plan.clients as u64 {
        clients.spawn(Client::new(world, &cluster, number).run());
    }
    for number in 0..2 {
        clients.spawn(schedule(Arc::clone(world), Arc::clone(&cluster), number));
    }
    let mut workers = Vec::new();
    for number in 0..world.plan.workers as u64 {
        let worker = SimWorker::new(world, &cluster, &format!("w{number}"));
        others.spawn(worker.clone().run(world.rng.fork("worker", number)));
        workers.push(worker);
    }
    let thief = SimWorker::new(world, &cluster, THIEF);
    others.spawn(steal(thief, workers, world.rng.fork("thief", 0)));
    for number in 0..2 {
        let rng = world.rng.fork("people", number);
        others.spawn(people::meddle(Arc::clone(world), Arc::clone(&cluster), rng));
    }
    if world.sleep(world.plan.trouble_ms).await {
        world.calm_down();
        // Nobody's reputation is so bad that nothing goes on.
        for number in 0..2 {
            let worker = SimWorker::new(world, &cluster, &format!("good{number}"));
            others.spawn(worker.run(world.rng.fork("good", number)));
        }
        settle(world, &mut clients).await;
    }
    world.over.cancel();
    // The dead never end by themselves.
    others.shutdown().await;
    clients.shutdown().await;
}

async fn settle(world: &Arc<World>, clients: &mut JoinSet<()>) {
    let all_asked = async { while clients.join_next().await.is_some() {} };
    let bound = Duration::from_secs(CALM_SECONDS_MAX);
    // Clients give up after a while, so this ends long before the bound.
    drop(tokio::time::timeout(bound, all_asked).await);
    for _ in 0..CALM_SECONDS_MAX {
        if world.ledger.unfinished().is_none() || !world.sleep(1_000).await {
            break;
        }
    }
    if !world.sleep(AFTERMATH_MS).await {
        return;
    }
    let remains = remains(world).await;
    world.ledger.close(&remains);
}

async fn remains(world: &World) -> Remains {
    let store = &world.store;
    let query = JobQuery {
        limit: u32::MAX,
        ..JobQuery::default()
    };
    let why = "the true store answers";
    let jobs = store.list(query).await.expect(why);
    let queued = store.queued_tasks(None, u32::MAX).await.expect(why).len();
    let mut history = Vec::new();
    for job in &jobs {
        history.extend(store.by_job(job.id, None, u32::MAX).await.expect(why));
    }
    Remains {
        jobs,
        queued,
        history,
    }
}
