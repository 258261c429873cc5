//! Tasks between the queue and a worker: whoever goes away on the way gives them back.

use std::sync::Arc;

use uuid::Uuid;

use super::Inner;
use super::queue::Origin;
use crate::domain::Task;

/// A task on its way to a poll. Goes back to the queue when the poll is gone before it is taken.
pub(super) struct Ticket {
    pub(super) inner: Arc<Inner>,
    pub(super) task: Option<Task>,
}

impl Ticket {
    pub(super) fn take(mut self) -> Task {
        self.task.take().expect("a ticket is taken once, by value")
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            self.inner.offer(task, Origin::Here);
        }
    }
}

/// What an open poll is given.
pub(super) enum Offer {
    /// A queued task, to be leased.
    Queued(Ticket),
    /// One that was leased in the commit which created it.
    Leased(Handout),
}

/// A leased task on its way out. Unless it is `delivered`, dropping it gives the lease back.
pub struct Handout {
    pub(super) task: Task,
    pub(super) lease: Uuid,
    pub(super) inner: Option<Arc<Inner>>,
}

impl Handout {
    /// Returns the task with its lease.
    #[must_use]
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// The worker has it: from here on only its result, its death or a deadline ends the lease.
    pub fn delivered(mut self) {
        self.inner = None;
    }
}

impl Drop for Handout {
    fn drop(&mut self) {
        let Some(inner) = self.inner.take() else {
            return;
        };
        let (id, lease) = (self.task.id.clone(), self.lease);
        inner
            .matchmaker
            .holders(|holders| holders.remove_lease(&id, lease));
        let tasks = inner.tasks.clone();
        tasks.spawn(async move {
            match inner.ports.jobs.release_task(&id, lease).await {
                Ok(Some(task)) => inner.offer(task, Origin::Here),
                Ok(None) => {}
                // The lease ends by itself.
                Err(error) => warn_of!(error, task.id = %id, "a lease was not given back"),
            }
        });
    }
}
