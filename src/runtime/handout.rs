//! Tasks between the queue and a worker: whoever goes away on the way gives them back.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::queue::Origin;
use super::{Inner, Runtime, RuntimeError};
use crate::base::WorkerId;
use crate::domain::Task;

/// What a worker's poll asks for.
#[derive(Debug, Clone, Default)]
pub struct PollRequest {
    /// Longest wait for a task.
    pub wait: Duration,
    /// The id that the lease shall have. By it the worker can say later that it got no answer.
    pub lease: Option<Uuid>,
    /// Ids for leases of earlier polls whose answers did not reach the worker.
    pub lost: Vec<Uuid>,
}

impl From<Duration> for PollRequest {
    /// Waits for a task at most so long.
    fn from(wait: Duration) -> Self {
        Self {
            wait,
            ..Self::default()
        }
    }
}

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

    /// The worker has it: from here on only its result, its death, a deadline, or its word that the
    /// task did not arrive, ends the lease.
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

impl Runtime {
    /// Waits for a task for the worker. Dropping the future closes the poll; dropping the handout
    /// undelivered gives its lease back.
    pub async fn poll(
        &self,
        worker: &WorkerId,
        request: impl Into<PollRequest>,
    ) -> Result<Option<Handout>, RuntimeError> {
        let PollRequest {
            wait,
            mut lease,
            lost,
        } = request.into();
        let deadline = Instant::now() + wait;
        if self.inner.registry.known(worker).is_none() {
            // On the heap, as below.
            Box::pin(self.inner.meet_if_new(worker)).await;
        }
        if !lost.is_empty() {
            // Hardly any poll has lost anything.
            Box::pin(self.inner.end_lost(worker, lost)).await;
        }
        while !self.inner.stop.is_cancelled() {
            let offer = match self.inner.take_or_open(worker, lease) {
                Ok(ticket) => Offer::Queued(ticket),
                Err((_open, receiver)) => tokio::select! {
                    biased;
                    offer = receiver => match offer {
                        Ok(offer) => offer,
                        Err(_closed) => return Ok(None),
                    },
                    () = self.inner.stop.cancelled() => return Ok(None),
                    () = sleep_until(deadline) => return Ok(None),
                },
            };
            let handout = match offer {
                Offer::Leased(handout) => Some(handout),
                // On the heap: it is short, and every poll that waits would carry its size.
                Offer::Queued(ticket) => {
                    let leasing = self
                        .inner
                        .lease_when_there(ticket, worker, &mut lease, deadline);
                    Box::pin(leasing).await?
                }
            };
            // An outage of the store is told to nobody: the time is over, and there was no task.
            let is_over = || Instant::now() >= deadline;
            if handout.is_some() || (self.inner.absence.is_known() && is_over()) {
                return Ok(handout);
            }
        }
        Ok(None)
    }
}

impl Inner {
    /// Ends the leases by which polls of the worker were given tasks that did not reach it: the
    /// orchestrator that held such a poll may have died between the lease and the answer, and nobody
    /// but the worker knows. It counts as a lost delivery, so that what never arrives ends some time.
    ///
    /// What cannot be done now, the worker's next polls ask for as well.
    async fn end_lost(self: &Arc<Self>, worker: &WorkerId, lost: Vec<Uuid>) {
        let leased = match self.ports.jobs.leased_tasks(worker).await {
            Ok(leased) => leased,
            Err(error) => {
                tracing::debug!(worker.id = %worker, %error, "lost leases were not ended");
                return;
            }
        };
        for task in leased {
            let lease = task.lease.as_ref().map(|lease| lease.id);
            if let Some(lease) = lease.filter(|lease| lost.contains(lease)) {
                tracing::info!(task.id = %task.id, worker.id = %worker, "its worker did not get it");
                if let Err(error) = self.lose(&task, lease).await {
                    tracing::debug!(task.id = %task.id, %error, "a lost lease was not ended");
                }
            }
        }
    }
}
