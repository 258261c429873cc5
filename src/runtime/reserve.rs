//! Tasks that are leased by the commit which creates them: one write less, and the worker has its
//! task one write earlier. Only to polls that are open, like every lease.

use std::sync::Arc;

use super::Inner;
use super::handout::{Handout, Offer};
use super::polls::Poll;
use crate::base::{Timestamp, WorkerId};
use crate::domain::TaskStatus;
use crate::engine::Effect;
use crate::store::rules;

/// A poll that is taken out of the others, and the task that it gets once that is stored.
struct Reservation {
    worker: WorkerId,
    poll: Poll,
    handout: Handout,
}

/// A commit's reservations. When they are dropped, nobody knows whether the commit was stored: the
/// polls are open again, and leases that the store may have are given back.
pub(super) struct Reservations {
    inner: Arc<Inner>,
    reserved: Vec<Reservation>,
}

impl Inner {
    /// Leases tasks that are about to be stored as queued, as far as polls for them are open.
    pub(super) fn reserve(
        self: &Arc<Self>,
        effects: &mut [Effect],
        now: Timestamp,
    ) -> Reservations {
        let mut reserved = Vec::new();
        let queued = effects.iter_mut().filter_map(|effect| match effect {
            Effect::PutTask(task) if task.status == TaskStatus::Queued => Some(task),
            _ => None,
        });
        for task in queued.filter(|task| task.available_at <= now) {
            let workers = self.registry.read();
            let taken = self
                .matchmaker
                .take_poll(&task.spec, &workers, &self.settings);
            drop(workers);
            let Some((worker, poll)) = taken else {
                continue;
            };
            let lease = self.new_lease(poll.lease, task, &worker, now);
            let id = lease.id;
            rules::lease_task(task, lease);
            let handout = Handout {
                task: task.as_ref().clone(),
                lease: id,
                inner: Some(Arc::clone(self)),
            };
            reserved.push(Reservation {
                worker,
                poll,
                handout,
            });
        }
        Reservations {
            inner: Arc::clone(self),
            reserved,
        }
    }
}

impl Reservations {
    /// The commit is stored: the polls get their tasks.
    pub(super) fn stored(mut self) {
        for reservation in std::mem::take(&mut self.reserved) {
            let Reservation {
                worker,
                poll,
                handout,
            } = reservation;
            let task = handout.task();
            if let Some(due) = task.due_at() {
                self.inner.schedule.wake_at(due);
            }
            let (id, lease) = (&task.id, handout.lease);
            self.inner
                .matchmaker
                .holders(|holders| holders.add(id, &worker, lease));
            poll.answer(Offer::Leased(handout));
        }
    }

    /// The commit is not stored: the polls wait on.
    pub(super) fn refused(mut self) {
        for reservation in &mut self.reserved {
            reservation.handout.inner = None;
        }
    }
}

impl Drop for Reservations {
    fn drop(&mut self) {
        for Reservation {
            worker,
            mut poll,
            handout,
        } in self.reserved.drain(..)
        {
            if handout.inner.is_some() {
                // The store may have the lease, and it is being given back.
                poll.lease = None;
            }
            self.inner.matchmaker.put_back(&worker, poll);
            // Tasks may have been queued meanwhile that found no poll.
            self.inner.rematch(&worker);
        }
    }
}
