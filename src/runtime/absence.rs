//! Polls while the store is away. They stay open: a worker that was told of the outage would stay away
//! the longer the longer it lasts, and would not be there when the store is back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout_at};
use uuid::Uuid;

use super::handout::{Handout, Ticket};
use super::{Inner, RuntimeError};
use crate::base::WorkerId;
use crate::store::StoreError;

/// Between two looks at whether the store is back.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Whether the store was away when a task was last to be leased.
#[derive(Default)]
pub(super) struct Absence {
    is_known: AtomicBool,
    /// Who has it looks, for all polls: thousands of them may have a task in hand.
    turn: Mutex<()>,
}

impl Absence {
    /// Tells whether the store is taken to be away.
    pub(super) fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Acquire)
    }

    fn know(&self, is_away: bool) {
        self.is_known.store(is_away, Ordering::Release);
    }
}

impl Inner {
    /// Binds the task to the worker as soon as the store answers. Nothing when the task is no longer to
    /// be had, or when the store was away: then the task has gone back to the queue, and the caller
    /// looks again unless its time is over. Where the store is there, and only the task cannot be had
    /// of it, that is told when the time is over.
    pub(super) async fn lease_when_there(
        self: &Arc<Self>,
        ticket: Ticket,
        worker: &WorkerId,
        lease: &mut Option<Uuid>,
        deadline: Instant,
    ) -> Result<Option<Handout>, RuntimeError> {
        let mut turn = None;
        if self.absence.is_known() {
            turn = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(None),
                turn = timeout_at(deadline, self.absence.turn.lock()) => match turn {
                    Ok(turn) => Some(turn),
                    Err(_over) => return Ok(None),
                },
            };
            if !self.absence.is_known() {
                // Somebody has found the store meanwhile: from here on nobody waits for another.
                turn = None;
            }
        }
        match self.lease(ticket, worker, *lease).await {
            Err(error @ RuntimeError::Store(StoreError::Unavailable(_))) => {
                // It is being given back, and that may take until after the next try.
                *lease = None;
                // A task whose parameters lie in a blob store that is away is no reason for others to
                // wait.
                let is_away = self.ports.jobs.health().await.is_err();
                self.absence.know(is_away);
                if !is_away {
                    turn = None;
                }
                let next = (Instant::now() + LOOK_EVERY).min(deadline);
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => {}
                    () = sleep_until(next) => {}
                }
                drop(turn);
                if !is_away && Instant::now() >= deadline {
                    // The task is in the queue again: a caller that looked again would get it again.
                    return Err(error);
                }
                Ok(None)
            }
            answered => {
                self.absence.know(false);
                answered
            }
        }
    }
}
