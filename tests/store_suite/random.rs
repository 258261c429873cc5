//! The same random calls on memory and on another store have the same results. Memory is the model.

use avtomatika::store::{
    JobStore as _, MessageKind, RedisSettings, RedisStore, SqliteSettings, SqliteStore,
    Synchronous, TokenKind, TokenRecord,
};
use uuid::Uuid;

use crate::draws::World;
use crate::fixtures::*;
use crate::servers::redis::Redis;
use crate::{AnyStore, open_memory};

const SEEDS: u64 = 25;
const CALLS: usize = 300;
const KINDS: u64 = 30;

/// What the calls must have come to at least once, or they test less than they seem to.
const REACHED: [&str; 12] = [
    "Ok(Committed",
    "released: [Task",
    "ended_leases: [(",
    "Err(Conflict)",
    "Err(KeyTaken",
    "Err(QuotaExceeded",
    "Err(TaskChanged",
    "lease: Some(Lease",
    "report: Some(TaskReport",
    "status: \"dead\"",
    "Ok(Reused)",
    "reputation: 0.7",
];

#[tokio::test]
async fn memory_and_sqlite_agree() {
    let mut missing = REACHED.to_vec();
    for seed in 0..SEEDS {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let settings = SqliteSettings {
            synchronous: Synchronous::Off,
            ..SqliteSettings::default()
        };
        let sqlite = SqliteStore::open(&folder.path().join("jobs.db"), &settings).expect("opens");
        agrees_with_memory(&sqlite, seed, &mut missing).await;
    }
    assert_eq!(missing, [""; 0], "never reached");
}

#[tokio::test]
async fn server_redis_and_memory_agree() {
    let redis = Redis::start();
    let mut missing = REACHED.to_vec();
    for seed in 0..SEEDS {
        // Every other seed's bodies are encrypted.
        let keys = if seed % 2 == 0 {
            vec![]
        } else {
            vec!["key".into()]
        };
        let settings = RedisSettings {
            prefix: format!("seed-{seed}"),
            encryption_keys: keys,
            ..RedisSettings::new(redis.url().as_str().into())
        };
        let store = RedisStore::open(&settings).await.expect("opens");
        agrees_with_memory(&store, seed, &mut missing).await;
        store.close().await;
    }
    assert_eq!(missing, [""; 0], "never reached");
}

/// Makes the same calls to a store and to one in memory; crosses out what they have come to.
async fn agrees_with_memory(store: &dyn AnyStore, seed: u64, missing: &mut Vec<&str>) {
    let (memory, _) = open_memory().await;
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
        missing.retain(|word| !expected.contains(word));
        let mut twin = before;
        let answer = twin.call(store, kind).await;
        assert_eq!(answer, expected, "seed {seed}, call {call} of kind {kind}");
        assert_eq!(
            twin.drawn, world.drawn,
            "seed {seed}, call {call} of kind {kind}"
        );
    }
}

impl World {
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
                given.id = self.lease_number();
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
            14 => {
                let lease = self.lease_number();
                format!("{:?}", store.release_task(&id, lease).await)
            }
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
                let kind = if self.chance(50) {
                    MessageKind::Signal
                } else {
                    MessageKind::Webhook
                };
                format!(
                    "{:?} {:?}",
                    store.take_outbox(kind, self.now, until, limit).await,
                    store.next_outbox(kind).await
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
                let key = key_beside(job_id(self.job_number()), self.below(2));
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
        let hash = format!("t{}", self.below(5));
        match kind {
            25 => format!("{:?}", store.put_worker(record).await),
            26 => format!(
                "{:?} {:?} {:?}",
                store.beat(record).await,
                store.extend_workers(vec![(id, self.soon())]).await,
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
                    // Long enough for some to be used twice.
                    expires_at: self.soon().after_ms(5_000),
                };
                let stored = store.put_tokens(vec![token]).await;
                format!("{stored:?} {:?}", store.find_access_token(&hash).await)
            }
            _ => {
                let taken = store.take_refresh_token(&hash, &id, self.now).await;
                let until = self.soon();
                let is_new = store.remember_nonce(&id, &hash, self.now, until).await;
                let purged = if self.chance(15) {
                    Some(store.purge_secrets(self.now).await)
                } else {
                    None
                };
                format!("{taken:?} {is_new:?} {purged:?}")
            }
        }
    }
}
