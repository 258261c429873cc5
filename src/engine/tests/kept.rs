//! The tasks and data of a job under test, kept as `Effect` and `Guard` ask of a store.

use super::harness::Bench;
use crate::domain::{Task, TaskStatus};
use crate::engine::{Effect, Guard};

impl Bench {
    /// Returns the latest attempts of the visit's branches.
    pub fn branches(&self, visit: u64) -> Vec<Task> {
        let superseded = |task: &Task| task.status == TaskStatus::Ended && task.report.is_none();
        let of_visit = |task: &&Task| task.visit == visit && task.branch.is_some();
        let mut branches: Vec<Task> = self
            .tasks
            .values()
            .filter(of_visit)
            .filter(|task| !superseded(task))
            .cloned()
            .collect();
        branches.sort_by_key(|task| task.branch);
        branches
    }

    /// Fails when a guard does not hold.
    pub fn check_guards(&self, guards: &[Guard]) {
        for guard in guards {
            match guard {
                Guard::TaskHeldBy { id, worker } => {
                    let lease = self.tasks[id].lease.as_ref().expect("held");
                    assert_eq!(lease.worker, *worker);
                }
                Guard::TaskLeasedBy { id, lease } => {
                    let held = self.tasks[id].lease.as_ref().expect("held");
                    assert_eq!(held.id, *lease);
                }
                Guard::TaskDue { id, now } => {
                    assert!(self.tasks[id].due_at().is_some_and(|at| at <= *now));
                }
                // These are about records that only a store has.
                Guard::Idempotency { .. } | Guard::Quota { .. } | Guard::JobAt { .. } => {}
            }
        }
    }

    /// Does what a step wants done.
    pub fn carry_out(&mut self, effect: &Effect) {
        let now = self.now;
        match effect {
            Effect::PutTask(task) => {
                let known = self.tasks.insert(task.id.clone(), (**task).clone());
                assert!(known.is_none(), "an attempt's id is used twice");
            }
            Effect::EndTask { id, answer, report } => {
                let task = self.tasks.get_mut(id).expect("an ended task is known");
                task.status = TaskStatus::Ended;
                task.answer = Some(*answer);
                task.report.clone_from(report);
            }
            Effect::ReleaseBranches { visit, from, to } => {
                for task in self.tasks.values_mut() {
                    let branch = task.branch.unwrap_or(u32::MAX);
                    if task.visit == *visit && (*from..*to).contains(&branch) {
                        task.release(now);
                    }
                }
            }
            Effect::EndTasks { visit } => {
                let open =
                    |task: &&mut Task| task.visit == *visit && task.status != TaskStatus::Ended;
                for task in self.tasks.values_mut().filter(open) {
                    task.status = TaskStatus::Ended;
                }
            }
            Effect::SendWebhook(webhook) => self.webhooks.push(webhook.body.clone()),
            Effect::PutData { store, key, value } => {
                let content = self.data.entry(store.clone()).or_default();
                content.insert(key.clone(), value.clone());
            }
            Effect::Signal(_) | Effect::Record(_) => {}
        }
    }
}
