//! Times in which nobody can note that workers live, as the store takes nothing. A worker's silence says
//! nothing then: leases that end meanwhile, or so soon after it that the worker may not have been heard
//! again, are extended instead.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Inner, RuntimeError};
use crate::base::{TaskId, WorkerId};
use crate::domain::Task;
use crate::store::StoreError;

/// Until when a lease that ends may be one of a worker that was not heard.
#[derive(Default)]
pub(super) struct Silence(Mutex<Option<Instant>>);

impl Silence {
    /// Tells whether a worker's silence says nothing.
    pub(super) fn is_on(&self) -> bool {
        let until = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    fn lasts(&self, time: Duration) {
        let mut until = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *until = Some(Instant::now() + time);
    }
}

impl Inner {
    /// Puts off the end of a worker's leases, since it was heard; returns those that it has.
    pub(super) async fn hear(
        &self,
        worker: &WorkerId,
        tasks: &[TaskId],
    ) -> Result<Vec<TaskId>, StoreError> {
        let until = self.lease_until();
        let heard = self.ports.jobs.extend_leases(worker, tasks, until).await;
        if let Err(StoreError::Unavailable(_)) = &heard {
            self.was_deaf();
        }
        heard
    }

    /// The store was away just now: workers have the time of a lease to be heard again.
    pub(super) fn was_deaf(&self) {
        self.silence
            .lasts(Duration::from_millis(self.settings.lease_ms));
    }

    /// Ends what has become due of a task, but no lease that may be one of a worker that could not be heard.
    pub(super) async fn expire_unless_spared(
        self: &Arc<Self>,
        task: &Task,
    ) -> Result<(), RuntimeError> {
        if self.silence.is_on() && self.spare(task).await? {
            return Ok(());
        }
        match self.expire(task).await {
            // Who hears nobody else, since none of the workers has a task, learns by this that nobody can
            // be heard; and if it is this job alone that cannot be had, its worker may go on.
            Err(RuntimeError::Store(StoreError::Unavailable(_))) if self.spare(task).await? => {
                Ok(())
            }
            ended => ended.map(|_| ()),
        }
    }

    /// Extends a lease that has ended, unless a deadline has passed, which holds whoever was heard; tells
    /// whether it did.
    async fn spare(&self, task: &Task) -> Result<bool, StoreError> {
        let now = self.ports.clock.now();
        let Some(lease) = task.lease.as_ref().filter(|lease| lease.until <= now) else {
            return Ok(false);
        };
        let deadline = task.result_deadline.unwrap_or(lease.deadline);
        let is_late = deadline.min(lease.deadline) <= now;
        if is_late || self.registry.known(&lease.worker).is_none() {
            return Ok(false);
        }
        let held = self.hear(&lease.worker, std::slice::from_ref(&task.id));
        if held.await?.is_empty() {
            return Ok(false);
        }
        self.schedule.wake_at(self.lease_until());
        Ok(true)
    }
}
