//! One world: what all its parts share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use avtomatika::base::{ClientId, JobId};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auditor::{Auditor, Facts};
use crate::blueprints;
use crate::ledger::Ledger;
use crate::plan::Plan;
use crate::planted::{Bug, Saboteur};
use crate::rng::Rng;
use crate::seen::Seen;
use crate::truth::Truth;

/// What the jobs' `security` holds; it goes to workers and nowhere else.
pub const SECURITY_MARK: &str = "mark-of-the-security-context";
/// What webhooks are signed with.
pub const SIGNING_MARK: &str = "mark-of-the-signing-secret";
/// The client with a quota.
pub const LIMITED_CLIENT: &str = "client-1";
/// Its quota.
pub const QUOTA: u64 = 3;

/// One world.
pub struct World {
    /// What goes wrong in it.
    pub plan: Plan,
    /// What its parts draw their own chance from.
    pub rng: Rng,
    /// The truth.
    pub store: Arc<dyn Truth>,
    /// The record.
    pub ledger: Ledger,
    /// The bug that is planted in it, if one is.
    pub saboteur: Saboteur,
    /// Jobs that somebody outside knows of.
    pub jobs: Mutex<Vec<JobId>>,
    /// Store calls that go on without their caller.
    pub background: TaskTracker,
    /// Ends the world.
    pub over: CancellationToken,
    began: Instant,
    calm: AtomicBool,
}

impl World {
    /// Makes a world from its seed, over an empty store.
    pub fn new(seed: u64, bug: Option<Bug>, store: Arc<dyn Truth>) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::draw(&mut rng);
        let facts = Facts {
            quotas: [(ClientId::new(LIMITED_CLIENT), QUOTA)].into(),
            secrets: vec![SECURITY_MARK.to_owned(), SIGNING_MARK.to_owned()],
            fan_outs: blueprints::fan_outs(),
        };
        Self {
            plan,
            store,
            ledger: Ledger::new(Auditor::new(facts)),
            saboteur: Saboteur::new(bug, rng.fork("saboteur", 0)),
            jobs: Mutex::default(),
            background: TaskTracker::new(),
            over: CancellationToken::new(),
            began: Instant::now(),
            calm: AtomicBool::new(false),
            rng,
        }
    }

    /// Returns when virtual time began.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Writes down what was seen. A broken rule ends the world.
    pub fn note(&self, who: impl Into<String>, seen: Seen) {
        let at_ms = u64::try_from(self.began.elapsed().as_millis()).expect("a short simulation");
        if !self.ledger.write(at_ms, who.into(), seen) {
            self.over.cancel();
        }
    }

    /// Tells whether trouble is over.
    pub fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// Ends all trouble.
    pub fn calm_down(&self) {
        self.calm.store(true, Ordering::Relaxed);
        self.note(
            "world",
            Seen::Note {
                text: "trouble is over".to_owned(),
            },
        );
    }

    /// Sleeps; false when the world has ended meanwhile.
    pub async fn sleep(&self, ms: u64) -> bool {
        tokio::select! {
            biased;
            () = self.over.cancelled() => false,
            () = tokio::time::sleep(Duration::from_millis(ms)) => true,
        }
    }

    /// Remembers a job that somebody outside knows of.
    pub fn know(&self, job: JobId) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if !jobs.contains(&job) {
            jobs.push(job);
        }
    }

    /// Picks a job that somebody outside knows of.
    pub fn some_job(&self, rng: &mut Rng) -> Option<JobId> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        (!jobs.is_empty()).then(|| *rng.pick(&jobs))
    }
}
