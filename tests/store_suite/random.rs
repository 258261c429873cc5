//! The same random calls on memory and on SQLite have the same results. Memory is the model.

use avtomatika::base::{Timestamp, crypto};
use avtomatika::domain::task::Answer;
use avtomatika::domain::{EventKind, Job, JobStatus, Task, TaskReport, TaskStatus};
use avtomatika::engine::{Effect, Guard, Signal};
use avtomatika::store::{
    Commit, Delivery, JobQuery, SqliteSettings, SqliteStore, Synchronous, TokenKind, TokenRecord,
};
use uuid::Uuid;

use crate::fixtures::*;
use crate::{AnyStore, open_memory};

const SEEDS: u64 = 25;
const CALLS: usize = 300;

#[tokio::test]
async fn memory_and_sqlite_agree() {
    for seed in 0..SEEDS {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let settings = SqliteSettings {
            synchronous: Synchronous::Off,
            ..SqliteSettings::default()
        };
        let sqlite = SqliteStore::open(&folder.path().join("jobs.db"), &settings).expect("opens");
        let (memory, _) = open_memory();
        let mut world = World {
            seed,
            drawn: 0,
            now: NOW,
            messages: Vec::new(),
        };
        for call in 0..CALLS {
            let kind = world.below(KINDS);
            // What the call is made of comes from the same draws for both.
            let before = world.clone();
            let expected = world.call(&*memory, kind).await;
            let mut twin = before;
            let seen = twin.call(&sqlite, kind).await;
            assert_eq!(seen, expected, "seed {seed}, call {call} of kind {kind}");
            assert_eq!(
                twin.drawn, world.drawn,
                "seed {seed}, call {call} of kind {kind}"
            );
        }
    }
}

/// A seeded source of calls.
#[derive(Debug, Clone)]
struct World {
    seed: u64,
    drawn: u64,
    now: Timestamp,
    messages: Vec<Uuid>,
}

const KINDS: u64 = 30;

impl World {
    fn below(&mut self, bound: u64) -> u64 {
        self.drawn += 1;
        let digest = crypto::sha256(&[&self.seed.to_be_bytes(), &self.drawn.to_be_bytes()]);
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&digest[..8]);
        u64::from_be_bytes(bytes) % bound
    }

    fn small(&mut self, bound: u64) -> u32 {
        u32::try_from(self.below(bound)).expect("is small")
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn soon(&mut self) -> Timestamp {
        let ms = self.below(400);
        self.now.after_ms(ms)
    }

    fn job_number(&mut self) -> u16 {
        u16::try_from(self.below(12)).expect("is small")
    }

    fn worker(&mut self) -> String {
        format!("w{}", self.below(3))
    }

    fn task(&mut self, job: &Job) -> Task {
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

    fn effect(&mut self, job: &Job, index: u32) -> Effect {
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
            _ => Effect::Record(Box::new(event(job, index, EventKind::Log))),
        }
    }

    fn guards(&mut self, job: &Job) -> Vec<Guard> {
        let mut guards = Vec::new();
        if self.chance(10) {
            let (id, worker) = (self.task(job).id, self.worker().as_str().into());
            guards.push(Guard::TaskHeldBy { id, worker });
        }
        if self.chance(10) {
            guards.push(Guard::TaskDue {
                id: self.task(job).id,
                now: self.now,
            });
        }
        if job.revision == 1 && self.chance(40) {
            guards.push(key_guard(&format!("k{}", self.below(6)), "f"));
        }
        if self.chance(20) {
            guards.push(quota_guard("acme", "2026-11", 6));
        }
        guards
    }

    fn commit(&mut self, stored: Option<Job>, n: u16) -> Commit {
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
        Commit {
            expected_revision: job.revision - 1,
            effects,
            guards,
            now: self.now,
            outbox_due: self.soon(),
            job,
        }
    }

    fn query(&mut self) -> JobQuery {
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

    fn delivery(&mut self) -> Delivery {
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

    /// Makes one call; returns what it came to, as text.
    async fn call(&mut self, store: &dyn AnyStore, kind: u64) -> String {
        match kind {
            0..=9 => self.step(store).await,
            10..=19 => self.call_tasks(store, kind).await,
            20..=24 => self.call_jobs(store, kind).await,
            _ => self.call_workers(store, kind).await,
        }
    }

    async fn step(&mut self, store: &dyn AnyStore) -> String {
        let n = self.job_number();
        let stored = store.load(job_id(n)).await.expect("loads");
        let result = store.commit(self.commit(stored, n)).await;
        if let Ok(committed) = &result {
            self.messages.extend(&committed.outbox);
        }
        let stored = store.load(job_id(n)).await;
        format!("{result:?} {stored:?}")
    }

    async fn call_tasks(&mut self, store: &dyn AnyStore, kind: u64) -> String {
        let mut job = job(self.job_number());
        job.visit = 1 + self.below(2);
        let id = self.task(&job).id;
        let worker = self.worker();
        let until = self.soon();
        let limit = self.small(6);
        match kind {
            10..=12 => {
                let mut given = lease(&worker, 0);
                given.until = until;
                given.deadline = self.soon();
                format!("{:?}", store.lease_task(&id, given).await)
            }
            13 => {
                let other = self.task(&job).id;
                let ids = [id, other, "task-unknown".into()];
                format!(
                    "{:?}",
                    store
                        .extend_leases(&worker.as_str().into(), &ids, until)
                        .await
                )
            }
            14 => format!(
                "{:?}",
                store.release_task(&id, &worker.as_str().into()).await
            ),
            15 => format!("{:?}", store.due(self.now, limit).await),
            16 => format!(
                "{:?} {:?}",
                store
                    .queued_tasks(self.chance(50).then_some(&id), limit)
                    .await,
                store.leased_tasks(&worker.as_str().into()).await
            ),
            17 => format!("{:?}", store.branches(job.id, job.visit).await),
            18 => format!("{:?}", store.open_tasks(job.id, limit).await),
            _ => {
                self.now = self.soon();
                String::new()
            }
        }
    }

    async fn call_jobs(&mut self, store: &dyn AnyStore, kind: u64) -> String {
        let job = job_id(self.job_number());
        let limit = self.small(6);
        match kind {
            20 => format!(
                "{:?} {:?}",
                store.list(self.query()).await,
                store
                    .counts(self.chance(50).then(|| "acme".into()).as_ref())
                    .await
            ),
            21 => {
                let place = self.chance(50).then(|| (self.below(3), self.small(3)));
                format!("{:?}", store.by_job(job, place, limit).await)
            }
            22 => format!("{:?}", store.purge(self.now, limit).await),
            23 => {
                let until = self.soon();
                format!(
                    "{:?} {:?}",
                    store.take_outbox(self.now, until, limit).await,
                    store.next_outbox().await
                )
            }
            _ => {
                let count = self.messages.len() as u64;
                let settled = if count == 0 {
                    None
                } else {
                    let index = usize::try_from(self.below(count)).expect("is small");
                    let (id, delivery) = (self.messages[index], self.delivery());
                    Some(store.settle_outbox(id, delivery, self.now).await)
                };
                let key = format!("k{}", self.below(6));
                format!(
                    "{settled:?} {:?} {:?} {:?}",
                    store.deliveries(job, limit).await,
                    store.find_by_key(&"acme".into(), &key, self.now).await,
                    store.data_stores("render").await
                )
            }
        }
    }

    async fn call_workers(&mut self, store: &dyn AnyStore, kind: u64) -> String {
        let mut record = worker(&self.worker(), 0);
        record.expires_at = self.soon();
        record.registered_at = self.now;
        let id = record.id.clone();
        let hash = format!("t{}", self.below(8));
        match kind {
            25 => format!("{:?}", store.put_worker(record).await),
            26 => format!(
                "{:?} {:?}",
                store.beat(record).await,
                store.list_workers().await
            ),
            27 => {
                let delta = if self.chance(50) { -0.3 } else { 0.1 };
                let forgotten = store.forget_workers(self.now).await;
                format!(
                    "{forgotten:?} {:?}",
                    store.adjust_reputation(&id, delta).await
                )
            }
            28 => {
                let token = TokenRecord {
                    hash: hash.clone(),
                    kind: if self.chance(70) {
                        TokenKind::Refresh
                    } else {
                        TokenKind::Access
                    },
                    worker: id.clone(),
                    family: Uuid::from_u128(self.below(3).into()),
                    expires_at: self.soon(),
                };
                let stored = store.put_tokens(vec![token]).await;
                format!("{stored:?} {:?}", store.find_access_token(&hash).await)
            }
            _ => {
                let taken = store.take_refresh_token(&hash, &id, self.now).await;
                let until = self.soon();
                let is_new = store.remember_nonce(&id, &hash, self.now, until).await;
                let purged = if self.chance(30) {
                    Some(store.purge_secrets(self.now).await)
                } else {
                    None
                };
                format!("{taken:?} {is_new:?} {purged:?}")
            }
        }
    }
}
