//! Turns: within this process, the inputs of one job are taken one after the other.
//!
//! Two processes are kept apart by the store's revisions alone; turns only spare a busy job (a wide
//! fan-out) from stepping the same revision many times to commit it once.

use std::hash::{DefaultHasher, Hash, Hasher};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::base::JobId;

/// Jobs share a turn when they fall on the same stripe, which costs them a wait and nothing else.
const STRIPES: usize = 4096;

/// First come, first served, for each stripe.
pub(super) struct Turns {
    stripes: Vec<Semaphore>,
}

impl Turns {
    pub(super) fn new() -> Self {
        Self {
            stripes: (0..STRIPES).map(|_| Semaphore::new(1)).collect(),
        }
    }

    /// Waits for the job's turn. Nobody waits for a second turn while holding one.
    pub(super) async fn take(&self, job: JobId) -> SemaphorePermit<'_> {
        let mut hasher = DefaultHasher::new();
        job.hash(&mut hasher);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "only the low bits are used"
        )]
        let stripe = hasher.finish() as usize % STRIPES;
        self.stripes[stripe]
            .acquire()
            .await
            .expect("the semaphores are never closed")
    }
}
