//! The workers: each asks for a task, answers it at once, and asks again. Idle ones only ask.

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::wire::{POLL_S, Status, Task, worker_id};
use super::workload::{SKILL, Workload};
use super::world::{StatusSeen, Unreadable, World};
use crate::net::Pipe;

/// A poll is answered within what it asks for; so much more is for the way.
const POLL_TIMEOUT: Duration = Duration::from_secs(POLL_S as u64 + 10);

/// How long a worker may be silent: the lease of an orchestrator with its usual settings is longer.
const BEAT_EVERY: Duration = Duration::from_secs(15);

/// The beats of all workers are spread over this many bursts.
const BURSTS: u32 = 150;

/// Pause after an answer that was none.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// Tries to deliver a result.
const RESULT_TRIES: u32 = 5;

/// Workers that register at once.
const REGISTER_AT_ONCE: usize = 64;

/// The workers of a run.
pub struct Fleet {
    players: JoinSet<()>,
    ids: Vec<(String, Rc<str>)>,
}

impl Fleet {
    /// Registers all workers, and lets them ask for work.
    pub async fn start(world: &Rc<World>) -> Self {
        let mut players = JoinSet::new();
        let gate = Rc::new(Semaphore::new(REGISTER_AT_ONCE));
        let mut ids = Vec::new();
        let mut arrivals = JoinSet::new();
        let waiting = format!("{SKILL}_idle");
        // Without jobs of its own a run leaves those of another beside it to that one's workers.
        let working = match world.plan.workload {
            Workload::Idle => waiting.clone(),
            _ => SKILL.to_owned(),
        };
        let kinds = [
            ("w", working, world.plan.workers),
            ("idle", waiting, world.plan.idle_polls),
        ];
        for (kind, skill, count) in kinds {
            let skill: Rc<str> = skill.into();
            for index in 0..count {
                let id = worker_id(world.wire.run, kind, index);
                ids.push((id.clone(), Rc::clone(&skill)));
                let pipe = Pipe::new(world.wire.address(index));
                let mut worker = Worker::new(Rc::clone(world), id, Rc::clone(&skill), pipe);
                // A fleet that has been there for a while does not ask all at once.
                worker.first_poll_s = f64::from(POLL_S) * f64::from(index + 1) / f64::from(count);
                let gate = Rc::clone(&gate);
                arrivals.spawn_local(async move {
                    let _place = gate.acquire().await;
                    worker.register().await;
                    worker
                });
            }
        }
        while let Some(arrived) = arrivals.join_next().await {
            if let Ok(worker) = arrived {
                players.spawn_local(worker.play());
            }
        }
        players.spawn_local(beat(Rc::clone(world), ids.clone()));
        Self { players, ids }
    }

    /// Lets the workers go. They say goodbye: the original would give the next run's tasks to them
    /// for two minutes.
    pub async fn stop(mut self, world: &World) {
        world.over.cancel();
        while self.players.join_next().await.is_some() {}
        let mut pipe = Pipe::new(world.wire.address(0));
        let mut request = Vec::new();
        for (id, _) in &self.ids {
            let now = world.clock.now();
            let said = match world.wire.goodbye(&mut request, id, now) {
                Ok(()) => world.call("goodbye", &mut pipe, &request).await,
                Err(_) => None,
            };
            if said.is_none() {
                // Nobody listens any more.
                return;
            }
        }
    }
}

struct Worker {
    world: Rc<World>,
    id: String,
    skill: Rc<str>,
    /// How long its first poll is held; later ones are for as long as can be.
    first_poll_s: f64,
    pipe: Pipe,
    request: Vec<u8>,
}

impl Worker {
    fn new(world: Rc<World>, id: String, skill: Rc<str>, pipe: Pipe) -> Self {
        Self {
            world,
            id,
            skill,
            first_poll_s: f64::from(POLL_S),
            pipe,
            request: Vec::new(),
        }
    }

    /// Registers, as often as it takes.
    async fn register(&mut self) {
        let world = Rc::clone(&self.world);
        while !world.over.is_cancelled() && !world.interrupted.is_cancelled() {
            let now = world.clock.now();
            let written = world
                .wire
                .register(&mut self.request, &self.id, &self.skill, now);
            if let Err(error) = written {
                world.error("register", error);
                return;
            }
            let called = world.call("register", &mut self.pipe, &self.request).await;
            match called {
                Some(answer) if answer.status == 200 => return,
                Some(answer) => {
                    world.error("register", StatusSeen(answer.status));
                    world.judge("register", answer.status, answer.body);
                }
                None => {}
            }
            tokio::time::sleep(ERROR_PAUSE).await;
        }
    }

    async fn play(mut self) {
        let world = Rc::clone(&self.world);
        let mut poll = Vec::new();
        world.wire.poll(&mut poll, &self.id, self.first_poll_s);
        loop {
            let asked = tokio::select! {
                biased;
                asked = self.pipe.exchange(&poll, POLL_TIMEOUT) => asked,
                () = world.over.cancelled() => return,
            };
            let answer = match asked {
                Ok(answer) => answer,
                Err(error) => {
                    world.error("poll", error);
                    tokio::time::sleep(ERROR_PAUSE).await;
                    continue;
                }
            };
            match answer.status {
                200 => match serde_json::from_slice::<Task<'_>>(answer.body) {
                    Ok(task) => {
                        let task = task.into_owned();
                        self.execute(task).await;
                    }
                    Err(_) => world.error("poll", Unreadable),
                },
                204 => world.wire.poll(&mut poll, &self.id, f64::from(POLL_S)),
                404 => self.register().await,
                other => {
                    world.error("poll", StatusSeen(other));
                    world.judge("poll", other, answer.body);
                    tokio::time::sleep(ERROR_PAUSE).await;
                }
            }
        }
    }

    /// Takes note of a task and answers it.
    async fn execute(&mut self, task: Task<'static>) {
        let world = Rc::clone(&self.world);
        let number = task.params.n;
        let is_ours = task.params.run == world.wire.run;
        if is_ours {
            world.ledger.borrow_mut().handed(number, task.params.step);
        } else {
            world.ledger.borrow_mut().foreign();
        }
        for again in 0..RESULT_TRIES {
            let sender = (self.id.as_str(), world.clock.now());
            world.wire.result(&mut self.request, &task, sender, again);
            let called = world.call("result", &mut self.pipe, &self.request).await;
            if let Some(answer) = called {
                if answer.status == 200 {
                    if is_ours {
                        judge_result(&world, number, answer.body);
                    }
                    return;
                }
                world.error("result", StatusSeen(answer.status));
                world.judge("result", answer.status, answer.body);
            }
            tokio::time::sleep(ERROR_PAUSE).await;
        }
    }
}

fn judge_result(world: &World, number: u64, body: &[u8]) {
    match serde_json::from_slice::<Status<'_>>(body) {
        Ok(answer) if answer.status == "accepted" => world.acknowledge(number),
        Ok(_) => world.ledger.borrow_mut().ignored(),
        Err(_) => world.error("result", Unreadable),
    }
}

/// Sends the signs of life of all workers over one connection, as their own are held by polls.
async fn beat(world: Rc<World>, ids: Vec<(String, Rc<str>)>) {
    let mut pipe = Pipe::new(world.wire.address(0));
    let mut request = Vec::new();
    let burst = ids.len().div_ceil(BURSTS as usize).max(1);
    let mut ticks = tokio::time::interval(BEAT_EVERY / BURSTS);
    let mut round = ids.chunks(burst).cycle();
    let bursts = ids.len().div_ceil(burst);
    for turn in 0.. {
        tokio::select! {
            _ = ticks.tick() => {}
            () = world.over.cancelled() => return,
        }
        // With fewer workers than bursts the rest of the round is silent.
        if turn % (BURSTS as usize) >= bursts {
            continue;
        }
        for (id, skill) in round.next().unwrap_or_default() {
            let now = world.clock.now();
            if let Err(error) = world.wire.beat(&mut request, (id, skill), now) {
                world.error("heartbeat", error);
                return;
            }
            let called = tokio::select! {
                called = world.call("heartbeat", &mut pipe, &request) => called,
                () = world.over.cancelled() => return,
            };
            // An unknown worker hears the same of its poll and registers again.
            if let Some(answer) = called
                && !matches!(answer.status, 200 | 404)
            {
                world.error("heartbeat", StatusSeen(answer.status));
            }
        }
    }
}
