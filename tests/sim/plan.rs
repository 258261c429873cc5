//! What goes wrong in one world, and how often. Each kind of trouble is absent from some worlds, so
//! that none of them hides another.

use avtomatika::domain::task::{Backoff, RetryPolicy};
use avtomatika::engine::Limits;
use avtomatika::runtime::Settings;

use crate::blueprints::Library;
use crate::rng::Rng;

/// One world's troubles. Rates are in calls or acts of a thousand unless the name says otherwise.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What its jobs do.
    pub library: Library,
    /// Orchestrators.
    pub nodes: usize,
    /// Workers that misbehave as below.
    pub workers: usize,
    /// Clients.
    pub clients: usize,
    /// Jobs that each client asks for.
    pub jobs: u64,
    /// How long trouble lasts, in virtual ms.
    pub trouble_ms: u64,
    /// Store calls that are refused before they do anything.
    pub refuse: u64,
    /// Store calls whose answer is lost after they took effect.
    pub lose: u64,
    /// Store calls of ten thousand at which the orchestrator dies.
    pub crash: u64,
    /// Store calls that take long.
    pub slow: u64,
    /// Store calls that go on though the caller has gone.
    pub detach: u64,
    /// Requests of clients and workers that never arrive.
    pub unheard: u64,
    /// Requests whose answer never arrives.
    pub unanswered: u64,
    /// Requests whose connection breaks while they are dealt with.
    pub broken: u64,
    /// Whether the orchestrators' clocks step.
    pub clock_steps: bool,
    /// Webhooks that the receiver refuses.
    pub webhook_refused: u64,
    /// Tasks in which the worker dies.
    pub worker_dies: u64,
    /// Tasks that fail, in one way or another.
    pub task_fails: u64,
    /// Acts of a worker that are against the rules: late, stale, doubled, another's.
    pub worker_cheats: u64,
    /// People's acts against one job: cancel, retry, decide, forge.
    pub meddling: u64,
    /// Lease of a task, in ms.
    pub lease_ms: u64,
    /// Outgoing messages at once.
    pub outbox_concurrency: usize,
}

impl Plan {
    /// Draws a world's troubles.
    pub fn draw(rng: &mut Rng) -> Self {
        let mut some = |most: u64| {
            if rng.chance(350) {
                0
            } else {
                rng.within(1..=most)
            }
        };
        Self {
            refuse: some(60),
            lose: some(60),
            crash: some(60),
            slow: some(150),
            detach: some(200),
            unheard: some(80),
            unanswered: some(80),
            broken: some(80),
            clock_steps: some(1) == 1,
            webhook_refused: some(400),
            worker_dies: some(150),
            task_fails: some(500),
            worker_cheats: some(200),
            meddling: some(500),
            library: Library::draw(rng),
            nodes: usize::try_from(rng.within(1..=3)).expect("small"),
            workers: usize::try_from(rng.within(2..=4)).expect("small"),
            clients: usize::try_from(rng.within(1..=2)).expect("small"),
            jobs: rng.within(2..=5),
            trouble_ms: rng.within(20_000..=90_000),
            lease_ms: *rng.pick(&[4_000, 10_000, 30_000]),
            outbox_concurrency: *rng.pick(&[1, 4, 64]),
        }
    }

    /// Returns the shell's settings in this world.
    pub fn settings(&self) -> Settings {
        Settings {
            limits: Limits {
                execution_timeout_ms: 60_000,
                retry: RetryPolicy {
                    max_attempts: 3,
                    backoff: Backoff {
                        max_ms: 10_000,
                        ..Backoff::default()
                    },
                },
                ..Limits::default()
            },
            lease_ms: self.lease_ms,
            worker_ttl_ms: self.lease_ms * 4,
            outbox_concurrency: self.outbox_concurrency,
            ..Settings::default()
        }
    }
}
