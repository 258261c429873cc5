//! Who has which task, as this process knows it: what the ranking of workers counts, and whom to
//! tell when a task ends. The store is the truth; what a lost answer or another process has left
//! wrong here is put right by the sweep.

use std::collections::HashMap;

use uuid::Uuid;

use super::Inner;
use crate::base::{TaskId, WorkerId};
use crate::store::StoreError;

/// A worker's claim on a task.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Claim {
    worker: WorkerId,
    lease: Uuid,
}

/// Claims by task, and how many each worker has.
#[derive(Debug, Default)]
pub(super) struct Holders {
    claims: HashMap<TaskId, Claim>,
    counts: HashMap<WorkerId, u32>,
}

impl Holders {
    /// Returns how many tasks the worker has.
    pub(super) fn count(&self, worker: &WorkerId) -> u32 {
        self.counts.get(worker).copied().unwrap_or(0)
    }

    /// Returns how many tasks all workers have.
    pub(super) fn total(&self) -> usize {
        self.claims.len()
    }

    /// The worker has the task now, and nobody else.
    pub(super) fn add(&mut self, task: &TaskId, worker: &WorkerId, lease: Uuid) {
        self.remove(task);
        let claim = Claim {
            worker: worker.clone(),
            lease,
        };
        self.claims.insert(task.clone(), claim);
        *self.counts.entry(worker.clone()).or_insert(0) += 1;
    }

    /// Nobody has the task any more. Returns who had it.
    pub(super) fn remove(&mut self, task: &TaskId) -> Option<WorkerId> {
        let Claim { worker, .. } = self.claims.remove(task)?;
        if let Some(count) = self.counts.get_mut(&worker) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&worker);
            }
        }
        Some(worker)
    }

    /// That lease is over; the task may be with somebody by another.
    pub(super) fn remove_lease(&mut self, task: &TaskId, lease: Uuid) {
        if self
            .claims
            .get(task)
            .is_some_and(|claim| claim.lease == lease)
        {
            self.remove(task);
        }
    }

    /// The worker does not have the task; somebody else may.
    pub(super) fn remove_from(&mut self, task: &TaskId, worker: &WorkerId) {
        if self
            .claims
            .get(task)
            .is_some_and(|claim| claim.worker == *worker)
        {
            self.remove(task);
        }
    }

    /// Returns each worker's tasks with their leases.
    fn by_worker(&self) -> HashMap<WorkerId, Vec<(TaskId, Uuid)>> {
        let mut tasks: HashMap<WorkerId, Vec<(TaskId, Uuid)>> = HashMap::new();
        for (task, claim) in &self.claims {
            let held = tasks.entry(claim.worker.clone()).or_default();
            held.push((task.clone(), claim.lease));
        }
        tasks
    }
}

impl Inner {
    /// Forgets claims that the store does not know: another process has ended their tasks, or the
    /// answer to a commit was lost.
    pub(super) async fn forget_ended_claims(&self) -> Result<(), StoreError> {
        // A claim comes into being after the store has written it, so what is missing in a later
        // look at the store is over.
        for (worker, claims) in self.matchmaker.holders(|holders| holders.by_worker()) {
            let leased = self.ports.jobs.leased_tasks(&worker).await?;
            let is_there = |id: &TaskId, lease: Uuid| {
                let of_task = leased.iter().find(|task| task.id == *id);
                of_task.is_some_and(|task| task.lease.as_ref().is_some_and(|l| l.id == lease))
            };
            let over: Vec<&(TaskId, Uuid)> = claims
                .iter()
                .filter(|(id, lease)| !is_there(id, *lease))
                .collect();
            self.matchmaker.holders(|holders| {
                for (id, lease) in over {
                    holders.remove_lease(id, *lease);
                }
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn counts(holders: &Holders) -> (u32, u32) {
        (holders.count(&"a".into()), holders.count(&"b".into()))
    }

    #[test]
    fn a_task_counts_for_its_last_holder_only() {
        let (a, b) = (WorkerId::new("a"), WorkerId::new("b"));
        let mut holders = Holders::default();
        for task in ["t1", "t2"] {
            holders.add(&task.into(), &a, lease(1));
        }
        assert_eq!(counts(&holders), (2, 0));
        holders.add(&"t1".into(), &b, lease(2));
        assert_eq!(counts(&holders), (1, 1));
        holders.add(&"t1".into(), &b, lease(3));
        assert_eq!(counts(&holders), (1, 1));
        assert_eq!(holders.remove(&"t1".into()), Some(b));
        assert_eq!(holders.remove(&"t1".into()), None);
        assert_eq!(counts(&holders), (1, 0));
        assert_eq!(holders.remove(&"t2".into()), Some(a));
        assert!(holders.claims.is_empty() && holders.counts.is_empty());
    }

    #[test]
    fn the_end_of_an_old_lease_takes_nothing_from_a_new_one() {
        let (a, b) = (WorkerId::new("a"), WorkerId::new("b"));
        let mut holders = Holders::default();
        holders.add(&"t".into(), &a, lease(1));
        holders.add(&"t".into(), &a, lease(2));
        holders.remove_lease(&"t".into(), lease(1));
        holders.remove_from(&"t".into(), &b);
        assert_eq!(counts(&holders), (1, 0));
        holders.remove_from(&"t".into(), &a);
        assert_eq!(counts(&holders), (0, 0));
    }
}
