//! The commit in memory: revision, guards, effects, in that order, under the one lock.

use std::sync::Arc;

use uuid::Uuid;

use super::{KeyRecord, State};
use crate::base::{JobId, TaskId, Timestamp, WorkerId};
use crate::domain::{Task, TaskStatus};
use crate::engine::{Effect, Guard};
use crate::store::{Commit, CommitError, Committed, KnownKey, Message, OutboxItem, rules};

impl State {
    /// Stores all of the commit, or nothing.
    pub(super) fn commit(&mut self, commit: Commit) -> Result<Committed, CommitError> {
        rules::assert_well_formed(&commit);
        let revision = self.jobs.get(&commit.job.id).map_or(0, |job| job.revision);
        if revision != commit.expected_revision {
            return Err(CommitError::Conflict);
        }
        for guard in &commit.guards {
            self.check(guard, commit.now)?;
        }
        // Nothing can fail from here on.
        for guard in &commit.guards {
            self.take(guard, commit.job.id);
        }
        let mut committed = Committed::default();
        let Commit {
            job,
            effects,
            now,
            outbox_due,
            settles,
            ..
        } = commit;
        if let Some(id) = settles {
            self.outbox.remove_signal(id, now);
        }
        for (index, effect) in effects.iter().cloned().enumerate() {
            match effect {
                Effect::PutTask(task) => self.tasks.put(*task),
                Effect::EndTask { id, answer, report } => {
                    self.tasks
                        .change(&id, |task| rules::end_task(task, answer, report.as_ref()));
                }
                Effect::ReleaseBranches { visit, from, to } => {
                    committed
                        .released
                        .extend(self.release(job.id, visit, from..to, now));
                }
                Effect::EndTasks { visit } => {
                    committed.ended_leases.extend(self.end_tasks(job.id, visit));
                }
                Effect::Signal(signal) => {
                    let id = rules::signal_id(&job, index);
                    let item = unsent(id, Message::Signal(signal), now);
                    self.outbox.add(job.id, item, outbox_due);
                    committed.outbox.push(id);
                }
                Effect::SendWebhook(webhook) => {
                    let id = webhook.id;
                    let item = unsent(id, Message::Webhook(webhook), now);
                    self.outbox.add(job.id, item, outbox_due);
                    committed.outbox.push(id);
                }
                Effect::Record(event) => self.record(Arc::unwrap_or_clone(event)),
                Effect::PutData { store, key, value } => {
                    let stores = self.data.entry(job.blueprint.clone()).or_default();
                    stores.entry(store).or_default().insert(key, value);
                }
            }
        }
        self.put_job(Arc::unwrap_or_clone(job));
        Ok(committed)
    }

    fn check(&self, guard: &Guard, now: Timestamp) -> Result<(), CommitError> {
        match guard {
            Guard::Idempotency { client, key } => {
                match self.keys.get(&(client.clone(), key.key.clone())) {
                    Some(record) if record.until > now => Err(CommitError::KeyTaken {
                        job_id: record.known.job_id,
                        fingerprint: record.known.fingerprint.clone(),
                    }),
                    _ => Ok(()),
                }
            }
            Guard::Quota { client, quota } => {
                let taken = self.quotas.get(&(client.clone(), quota.month.clone()));
                if taken.copied().unwrap_or(0) < quota.limit {
                    Ok(())
                } else {
                    Err(CommitError::QuotaExceeded { limit: quota.limit })
                }
            }
            Guard::TaskHeldBy { id, worker } => {
                self.expect_task(id, |task| rules::is_held_by(task, worker))
            }
            Guard::TaskLeasedBy { id, lease } => {
                self.expect_task(id, |task| rules::is_leased_by(task, *lease))
            }
            Guard::JobAt { id, revision } => {
                let known = self.jobs.get(id).map(|job| job.revision);
                if known == Some(*revision) {
                    Ok(())
                } else {
                    Err(CommitError::OtherJobChanged(*id))
                }
            }
            Guard::TaskDue { id, now } => {
                self.expect_task(id, |task| task.due_at().is_some_and(|due| due <= *now))
            }
        }
    }

    fn expect_task(&self, id: &TaskId, is: impl Fn(&Task) -> bool) -> Result<(), CommitError> {
        if self.tasks.get(id).is_some_and(is) {
            Ok(())
        } else {
            Err(CommitError::TaskChanged(id.clone()))
        }
    }

    fn take(&mut self, guard: &Guard, job_id: JobId) {
        match guard {
            Guard::Idempotency { client, key } => {
                let known = KnownKey {
                    job_id,
                    fingerprint: key.fingerprint.clone(),
                };
                let record = KeyRecord {
                    known,
                    until: key.until,
                };
                self.keys.insert((client.clone(), key.key.clone()), record);
            }
            Guard::Quota { client, quota } => {
                *self
                    .quotas
                    .entry((client.clone(), quota.month.clone()))
                    .or_default() += 1;
            }
            Guard::TaskHeldBy { .. }
            | Guard::TaskLeasedBy { .. }
            | Guard::TaskDue { .. }
            | Guard::JobAt { .. } => {}
        }
    }

    fn release(
        &mut self,
        job: JobId,
        visit: u64,
        branches: std::ops::Range<u32>,
        now: Timestamp,
    ) -> Vec<Task> {
        let is_ours = |task: &&Task| {
            task.status == TaskStatus::Held && task.branch.is_some_and(|b| branches.contains(&b))
        };
        let mut held: Vec<Task> = self
            .tasks
            .of_visit(job, visit)
            .filter(is_ours)
            .cloned()
            .collect();
        for task in &mut held {
            task.release(now);
            self.tasks.put(task.clone());
        }
        held
    }

    fn end_tasks(&mut self, job: JobId, visit: u64) -> Vec<(WorkerId, TaskId)> {
        let is_open = |task: &&Task| task.status != TaskStatus::Ended;
        let open: Vec<Task> = self
            .tasks
            .of_visit(job, visit)
            .filter(is_open)
            .cloned()
            .collect();
        let mut ended = Vec::new();
        for mut task in open {
            if let Some(holder) = rules::end_open_task(&mut task) {
                ended.push((holder, task.id.clone()));
            }
            self.tasks.put(task);
        }
        ended
    }
}

const fn unsent(id: Uuid, message: Message, created_at: Timestamp) -> OutboxItem {
    OutboxItem {
        id,
        message,
        attempts: 0,
        created_at,
    }
}
