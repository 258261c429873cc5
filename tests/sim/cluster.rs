//! The orchestrators: real shells that start, die, come back, and whose clocks step.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use avtomatika::runtime::Runtime;

use crate::clock::{SimClock, SimEntropy};
use crate::gate::Gate;
use crate::ports::Ports;
use crate::ports_rest::assemble;
use crate::rng::Rng;
use crate::world::World;

/// How far a clock may be off, in ms.
const CLOCK_OFF_MS: u64 = 20_000;
/// How long a shell may take to stop by itself, in ms.
const GRACE_MS: u64 = 20_000;

/// A connection to a living orchestrator.
#[derive(Clone)]
pub struct Line {
    /// The shell.
    pub runtime: Runtime,
    /// Its gate, which knows when it dies.
    pub gate: Arc<Gate>,
}

impl Line {
    /// Tells whether the orchestrator at the other end has died.
    pub fn is_dead(&self) -> bool {
        self.gate.is_dead()
    }

    /// Makes a request; nothing when no answer came, whatever has become of the request.
    pub async fn request<T>(&self, rng: &mut Rng, request: impl Future<Output = T>) -> Option<T> {
        let world = &self.gate.world;
        let (plan, calm) = (&world.plan, world.is_calm());
        if !calm && rng.chance(plan.unheard) {
            return None;
        }
        let breaks_after = if !calm && rng.chance(plan.broken) {
            Duration::from_millis(rng.within(0..=30))
        } else {
            // Longer than any poll: nobody waits for an answer for ever.
            Duration::from_mins(1)
        };
        let answer = tokio::select! {
            biased;
            () = self.gate.died() => None,
            // On the heap: the shell's futures are large.
            answer = Box::pin(request) => Some(answer),
            () = tokio::time::sleep(breaks_after) => None,
        };
        answer.filter(|_| calm || !rng.chance(plan.unanswered))
    }
}

/// All orchestrators.
pub struct Cluster {
    world: Arc<World>,
    lines: Vec<Mutex<Option<Line>>>,
}

impl Cluster {
    /// Makes a cluster in which nobody lives yet.
    pub fn new(world: &Arc<World>) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::clone(world),
            lines: (0..world.plan.nodes).map(|_| Mutex::default()).collect(),
        })
    }

    /// Returns some living orchestrator.
    pub fn any(&self, rng: &mut Rng) -> Option<Line> {
        let first = rng.index(self.lines.len());
        (0..self.lines.len()).find_map(|step| {
            let slot = &self.lines[(first + step) % self.lines.len()];
            slot.lock().unwrap_or_else(PoisonError::into_inner).clone()
        })
    }

    fn set(&self, number: usize, line: Option<Line>) {
        let mut slot = self.lines[number]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *slot = line;
    }

    /// Keeps one orchestrator: starts it again whenever it has died.
    pub async fn keep(self: Arc<Self>, number: usize) {
        let world = &self.world;
        let mut rng = world.rng.fork("node", number as u64);
        let offset = Arc::new(AtomicI64::new(0));
        for incarnation in 1_u64.. {
            let name = format!("n{number}.{incarnation}");
            let gate = Gate::new(world, name, rng.fork("gate", incarnation));
            step_clock(world, &mut rng, &offset);
            let started = tokio::select! {
                biased;
                () = world.over.cancelled() => return,
                () = gate.died() => None,
                runtime = start(&gate, &rng, &offset) => runtime,
            };
            if let Some(runtime) = started {
                let line = Line {
                    runtime,
                    gate: Arc::clone(&gate),
                };
                self.set(number, Some(line.clone()));
                self.live(&line, &mut rng, &offset).await;
                self.set(number, None);
            }
            gate.crash();
            let pause = if world.is_calm() {
                100
            } else {
                rng.within(50..=15_000)
            };
            if !world.sleep(pause).await {
                return;
            }
        }
    }

    /// Lets an orchestrator live until it dies or, in troubled times, is told to stop.
    async fn live(&self, line: &Line, rng: &mut Rng, offset: &AtomicI64) {
        let world = &self.world;
        loop {
            tokio::select! {
                biased;
                () = world.over.cancelled() => return,
                () = line.gate.died() => return,
                () = tokio::time::sleep(Duration::from_millis(rng.within(4_000..=40_000))) => {}
            }
            if world.is_calm() {
                // A clock that is still off is part of the world; it only steps no more.
                continue;
            }
            step_clock(world, rng, offset);
            if rng.chance(150) {
                line.gate.note("told to stop");
                tokio::select! {
                    biased;
                    () = line.gate.died() => {}
                    () = line.runtime.shutdown() => line.gate.note("stopped"),
                    () = tokio::time::sleep(Duration::from_millis(GRACE_MS)) => {}
                }
                return;
            }
        }
    }
}

/// Steps a clock, forwards or backwards.
fn step_clock(world: &World, rng: &mut Rng, offset: &AtomicI64) {
    if world.plan.clock_steps && !world.is_calm() && rng.chance(400) {
        let off = i64::try_from(rng.within(0..=2 * CLOCK_OFF_MS)).expect("small");
        let off = off - i64::try_from(CLOCK_OFF_MS).expect("small");
        offset.store(off, Ordering::Relaxed);
    }
}

async fn start(gate: &Arc<Gate>, rng: &Rng, offset: &Arc<AtomicI64>) -> Option<Runtime> {
    let ports = Ports {
        gate: Arc::clone(gate),
    };
    let clock = SimClock::new(gate.world.began(), Arc::clone(offset));
    let entropy = SimEntropy::new(rng.fork(&gate.name, 1));
    let ports = assemble(&ports, Arc::new(clock), Arc::new(entropy));
    let runtime = Runtime::start(ports, gate.world.plan.settings()).await;
    let runtime = runtime
        .inspect_err(|error| gate.note(&format!("did not start: {error}")))
        .ok()?;
    match runtime
        .load_blueprints(gate.world.plan.library.files())
        .await
    {
        Ok(problems) => {
            let errors: Vec<_> = problems.iter().filter(|p| !p.is_warning).collect();
            assert!(errors.is_empty(), "the simulation's blueprints: {errors:?}");
            gate.note("started");
            Some(runtime)
        }
        Err(error) => {
            gate.note(&format!("did not load its blueprints: {error}"));
            None
        }
    }
}
