//! The tasks in memory, with the orders in which they are looked for.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{JobId, TaskId, Timestamp, WorkerId};
use crate::domain::{Task, TaskStatus};

/// A job's task by its place: visit, branch (none before any), attempt.
type Place = (JobId, u64, Option<u32>, u32, TaskId);

/// Tasks by id. The other fields are indexes, kept by [`Tasks::put`] and [`Tasks::remove`] only.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    by_id: BTreeMap<TaskId, Task>,
    by_place: BTreeSet<Place>,
    due: BTreeSet<(Timestamp, TaskId)>,
    queued: BTreeSet<TaskId>,
    leased: BTreeSet<(WorkerId, TaskId)>,
}

impl Tasks {
    /// Returns the task.
    pub fn get(&self, id: &TaskId) -> Option<&Task> {
        self.by_id.get(id)
    }

    /// Stores a task, all of it.
    pub fn put(&mut self, task: Task) {
        self.remove(&task.id);
        self.by_place.insert(place(&task));
        if let Some(at) = task.due_at() {
            self.due.insert((at, task.id.clone()));
        }
        match (task.status, &task.lease) {
            (TaskStatus::Queued, _) => {
                self.queued.insert(task.id.clone());
            }
            (TaskStatus::Leased, Some(lease)) => {
                self.leased.insert((lease.worker.clone(), task.id.clone()));
            }
            _ => {}
        }
        self.by_id.insert(task.id.clone(), task);
    }

    fn remove(&mut self, id: &TaskId) {
        let Some(task) = self.by_id.remove(id) else {
            return;
        };
        self.by_place.remove(&place(&task));
        if let Some(at) = task.due_at() {
            self.due.remove(&(at, task.id.clone()));
        }
        self.queued.remove(id);
        if let Some(lease) = task.lease {
            self.leased.remove(&(lease.worker, task.id));
        }
    }

    /// Changes a task in place; returns what the change returns, nothing when there is no such task.
    pub fn change<R>(&mut self, id: &TaskId, change: impl FnOnce(&mut Task) -> R) -> Option<R> {
        let mut task = self.by_id.get(id)?.clone();
        let result = change(&mut task);
        self.put(task);
        Some(result)
    }

    /// Returns the tasks of a job, by visit, branch and attempt.
    pub fn of_job(&self, job: JobId) -> impl Iterator<Item = &Task> {
        self.by_place
            .range((job, 0, None, 0, TaskId::new(""))..)
            .take_while(move |place| place.0 == job)
            .filter_map(|place| self.by_id.get(&place.4))
    }

    /// Returns the tasks of one visit, by branch and attempt.
    pub fn of_visit(&self, job: JobId, visit: u64) -> impl Iterator<Item = &Task> {
        self.by_place
            .range((job, visit, None, 0, TaskId::new(""))..)
            .take_while(move |place| (place.0, place.1) == (job, visit))
            .filter_map(|place| self.by_id.get(&place.4))
    }

    /// Returns the queued tasks after an id, in id order.
    pub fn queued_after(&self, after: Option<&TaskId>) -> impl Iterator<Item = &Task> {
        let start = after.cloned().unwrap_or_else(|| TaskId::new(""));
        self.queued
            .range((std::ops::Bound::Excluded(start), std::ops::Bound::Unbounded))
            .filter_map(|id| self.by_id.get(id))
    }

    /// Returns the tasks that a worker holds, in id order.
    pub fn leased_to(&self, worker: &WorkerId) -> impl Iterator<Item = &Task> {
        self.leased
            .range((worker.clone(), TaskId::new(""))..)
            .take_while(move |(holder, _)| holder == worker)
            .filter_map(|(_, id)| self.by_id.get(id))
    }

    /// Returns the tasks that will be due some time, soonest first, with when.
    pub fn by_due(&self) -> impl Iterator<Item = (Timestamp, &Task)> {
        self.due
            .iter()
            .filter_map(|(at, id)| Some((*at, self.by_id.get(id)?)))
    }

    /// Drops a job's tasks.
    pub fn forget_job(&mut self, job: JobId) {
        let ids: Vec<TaskId> = self.of_job(job).map(|task| task.id.clone()).collect();
        for id in ids {
            self.remove(&id);
        }
    }
}

fn place(task: &Task) -> Place {
    (
        task.job_id,
        task.visit,
        task.branch,
        task.ordinal,
        task.id.clone(),
    )
}
