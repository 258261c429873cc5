//! Seeded draws: what the random calls of the comparison are made of.

use std::sync::Arc;

use avtomatika::base::{Timestamp, crypto};
use avtomatika::domain::task::Answer;
use avtomatika::domain::{EventKind, Job, JobStatus, Task, TaskReport, TaskStatus};
use avtomatika::engine::{Effect, Guard, Signal};
use avtomatika::store::{Commit, Delivery, JobQuery};
use uuid::Uuid;

use crate::fixtures::*;

/// A seeded source of calls.
#[derive(Debug, Clone)]
pub struct World {
    pub seed: u64,
    pub drawn: u64,
    pub now: Timestamp,
    pub messages: Vec<Uuid>,
}

impl World {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.drawn += 1;
        let digest = crypto::sha256(&[&self.seed.to_be_bytes(), &self.drawn.to_be_bytes()]);
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&digest[..8]);
        u64::from_be_bytes(bytes) % bound
    }

    pub fn small(&mut self, bound: u64) -> u32 {
        u32::try_from(self.below(bound)).expect("is small")
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn soon(&mut self) -> Timestamp {
        let ms = self.below(400);
        self.now.after_ms(ms)
    }

    pub fn job_number(&mut self) -> u16 {
        u16::try_from(self.below(12)).expect("is small")
    }

    pub fn worker(&mut self) -> String {
        format!("w{}", self.below(3))
    }

    pub fn lease_number(&mut self) -> Uuid {
        Uuid::from_u128(self.below(2).into())
    }

    pub fn task(&mut self, job: &Job) -> Task {
        let branch = if self.chance(30) {
            None
        } else {
            Some(self.small(4))
        };
        let ordinal = 1 + self.small(2);
        let mut task = task(job, branch, ordinal);
        task.queued_at = self.now;
        task.available_at = self.soon();
        if self.chance(40) {
            task.dispatch_deadline = Some(self.soon());
        }
        if self.chance(30) {
            task.result_deadline = Some(self.soon());
        }
        if branch.is_some() && self.chance(40) {
            task.status = TaskStatus::Held;
        }
        task
    }

    pub fn effect(&mut self, job: &Job, index: u32) -> Effect {
        match self.below(9) {
            0..=2 => put(&self.task(job)),
            3 => Effect::EndTask {
                id: self.task(job).id,
                answer: if self.chance(50) {
                    Answer::None
                } else {
                    Answer::FailureHandled
                },
                report: self.chance(50).then(|| TaskReport::failure("E", "no")),
            },
            4 => {
                let from = self.small(3);
                Effect::ReleaseBranches {
                    visit: job.visit,
                    from,
                    to: from + self.small(3),
                }
            }
            5 => Effect::EndTasks { visit: job.visit },
            6 => Effect::Signal(Signal::CancelChild {
                child: job.id,
                reason: "r".to_owned(),
            }),
            7 => Effect::SendWebhook(Box::new(webhook(job, u128::from(self.below(40))))),
            _ if self.chance(50) => Effect::PutData {
                store: format!("s{}", self.below(2)),
                key: format!("k{}", self.below(3)),
                value: self.below(9).into(),
            },
            _ => Effect::Record(Arc::new(event(job, index, EventKind::Log))),
        }
    }

    pub fn guards(&mut self, job: &Job) -> Vec<Guard> {
        let mut guards = Vec::new();
        if self.chance(10) {
            let id = self.task(job).id;
            guards.push(if self.chance(30) {
                let lease = self.lease_number();
                Guard::TaskLeasedBy { id, lease }
            } else {
                let worker = self.worker().as_str().into();
                Guard::TaskHeldBy { id, worker }
            });
        }
        if self.chance(10) {
            guards.push(Guard::TaskDue {
                id: self.task(job).id,
                now: self.now,
            });
        }
        if job.revision == 1 && self.chance(40) {
            guards.push(key_guard(&key_beside(job.id, self.below(2)), "f"));
        }
        if self.chance(20) {
            guards.push(quota_guard("acme", "2026-11", 6));
        }
        guards
    }

    pub fn commit(&mut self, stored: Option<Job>, n: u16) -> Commit {
        let mut job = stored.map_or_else(|| job(n), |stored| next(&stored));
        if self.chance(5) {
            job.revision += 1;
        }
        if job.revision == 1 {
            job.client.id = if self.chance(50) { "acme" } else { "other" }.into();
            job.labels.insert("n".to_owned(), format!("{}", n % 3));
        }
        job.visit = 1 + self.below(2);
        job.status = JobStatus::ALL[usize::try_from(self.below(13)).expect("is small")];
        job.wake_at = self.chance(40).then(|| self.soon());
        job.keep_until = self.chance(50).then(|| self.soon());
        let count = self.small(6);
        let effects = (0..count).map(|index| self.effect(&job, index)).collect();
        let guards = self.guards(&job);
        let settles = match self.messages.len() as u64 {
            0 => None,
            count => {
                let index = usize::try_from(self.below(count)).expect("is small");
                self.chance(20).then(|| self.messages[index])
            }
        };
        Commit {
            expected_revision: job.revision - 1,
            effects: std::sync::Arc::new(effects),
            guards,
            now: self.now,
            outbox_due: self.soon(),
            settles,
            job: job.into(),
        }
    }

    pub fn query(&mut self) -> JobQuery {
        let mut query = JobQuery {
            limit: self.small(6),
            ..JobQuery::default()
        };
        if self.chance(50) {
            query.client = Some("acme".into());
        }
        if self.chance(50) {
            query.after = Some(job_id(self.job_number()));
        }
        if self.chance(50) {
            query
                .labels
                .insert("n".to_owned(), format!("{}", self.below(3)));
        }
        for _ in 0..self.below(4) {
            let index = usize::try_from(self.below(13)).expect("is small");
            query.statuses.push(JobStatus::ALL[index]);
        }
        if self.chance(30) {
            query.created_from = Some(at(i64::from(self.small(12))));
        }
        query
    }

    pub fn delivery(&mut self) -> Delivery {
        match self.below(3) {
            0 => Delivery::Delivered,
            1 => Delivery::Retry {
                at: self.soon(),
                reason: "again".to_owned(),
            },
            _ => Delivery::Dead {
                reason: "never".to_owned(),
            },
        }
    }
}
