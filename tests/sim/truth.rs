//! The true store of a world: in memory, or in a real Redis.
//!
//! A world lives on virtual time, a server on real time. So a call to Redis holds its whole world still
//! until it is answered: the world's thread waits, and the clock of its runtime stands. What comes of it
//! is decided by the caller's `now` and by the order of the calls, as with the store in memory. Real
//! time does three things in the store's scripts, none of which shows: it orders messages (as their
//! commits came), numbers a feed that is off here, and forgets what is older than any test.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use async_trait::async_trait;
use avtomatika::base::{ClientId, JobId, TaskId, Timestamp, WorkerId};
use avtomatika::domain::{Event, Job, JobStatus, Lease, Task, Worker};
use avtomatika::engine::DataStores;
use avtomatika::store::{
    BlueprintRevision, Commit, CommitError, Committed, Delivery, DeliveryRecord, Due, Durability,
    FleetNews, HistoryStore, JobQuery, JobStore, KnownKey, MemoryStore, MessageKind, OutboxItem,
    RedisSettings, RedisStore, RefreshOutcome, StoreError, TokenRecord, WorkerStore,
};
use tokio::runtime::{Builder, Handle, Runtime};
use uuid::Uuid;

/// All that an orchestrator asks of its store.
pub trait Truth: JobStore + WorkerStore + HistoryStore {}

impl<S: JobStore + WorkerStore + HistoryStore> Truth for S {}

/// Where worlds keep their truth.
pub trait Truths: Sync {
    /// Makes an empty store for a world of that name.
    fn store(&self, world: &str) -> Arc<dyn Truth>;
}

/// Each world has a store in memory.
pub struct InMemory;

impl Truths for InMemory {
    fn store(&self, _: &str) -> Arc<dyn Truth> {
        Arc::new(MemoryStore::new())
    }
}

/// Each world has names of its own in one Redis, or one cluster.
pub struct InRedis {
    url: String,
    /// Where real time passes.
    real: Runtime,
}

impl InRedis {
    /// Makes worlds in the server or the cluster at that URL.
    pub fn new(url: String) -> Self {
        let real = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        Self {
            url,
            real: real.expect("a runtime starts"),
        }
    }
}

impl Truths for InRedis {
    fn store(&self, world: &str) -> Arc<dyn Truth> {
        let settings = RedisSettings {
            prefix: world.to_owned(),
            ..RedisSettings::new(self.url.as_str().into())
        };
        let real = self.real.handle().clone();
        let store = held_still(&real, RedisStore::open(&settings));
        Arc::new(Apart {
            store: store.expect("Redis is there"),
            real,
        })
    }
}

/// The store in Redis, called from a world.
struct Apart {
    store: RedisStore,
    real: Handle,
}

impl Drop for Apart {
    fn drop(&mut self) {
        // Otherwise each world would leave its connections behind.
        held_still(&self.real, JobStore::close(&self.store));
    }
}

/// Wakes the thread of a world.
struct Sleeper(Thread);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for what happens in real time, and lets nothing else happen on this thread meanwhile.
fn held_still<F: Future>(real: &Handle, happens: F) -> F::Output {
    let _entered = real.enter();
    // The world's own task would otherwise run out of its share of work, and be put off for ever.
    let mut happens = pin!(tokio::task::unconstrained(happens));
    let waker = Waker::from(Arc::new(Sleeper(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match happens.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Implements a port by holding the world still during each of its calls.
macro_rules! held_still {
    ($port:ident { $(fn $call:ident($($name:ident: $kind:ty),*) -> $answer:ty;)* } $($rest:item)*) => {
        #[async_trait]
        impl $port for Apart {
            $(async fn $call(&self, $($name: $kind),*) -> $answer {
                held_still(&self.real, $port::$call(&self.store, $($name),*))
            })*
            $($rest)*
        }
    };
}

held_still! { JobStore {
    fn load(id: JobId) -> Result<Option<Job>, StoreError>;
    fn load_task(id: &TaskId) -> Result<Option<Task>, StoreError>;
    fn branches(job: JobId, visit: u64) -> Result<Vec<Task>, StoreError>;
    fn open_tasks(job: JobId, limit: u32) -> Result<Vec<Task>, StoreError>;
    fn commit(commit: Commit) -> Result<Committed, CommitError>;
    fn lease_task(id: &TaskId, lease: Lease) -> Result<Option<Task>, StoreError>;
    fn extend_leases(worker: &WorkerId, tasks: &[TaskId], until: Timestamp)
        -> Result<Vec<TaskId>, StoreError>;
    fn release_task(id: &TaskId, lease: Uuid) -> Result<Option<Task>, StoreError>;
    fn queued_tasks(after: Option<&TaskId>, limit: u32) -> Result<Vec<Task>, StoreError>;
    fn leased_tasks(worker: &WorkerId) -> Result<Vec<Task>, StoreError>;
    fn due(now: Timestamp, limit: u32) -> Result<Due, StoreError>;
    fn take_outbox(kind: MessageKind, now: Timestamp, until: Timestamp, limit: u32)
        -> Result<Vec<OutboxItem>, StoreError>;
    fn extend_outbox(ids: &[Uuid], until: Timestamp) -> Result<(), StoreError>;
    fn next_outbox(kind: MessageKind) -> Result<Option<Timestamp>, StoreError>;
    fn settle_outbox(id: Uuid, delivery: Delivery, now: Timestamp) -> Result<(), StoreError>;
    fn deliveries(job: JobId, limit: u32) -> Result<Vec<DeliveryRecord>, StoreError>;
    fn data_stores(blueprint: &str) -> Result<DataStores, StoreError>;
    fn deployment_id(proposed: Uuid) -> Result<Uuid, StoreError>;
    fn find_by_key(client: &ClientId, key: &str, now: Timestamp)
        -> Result<Option<KnownKey>, StoreError>;
    fn list(query: JobQuery) -> Result<Vec<Job>, StoreError>;
    fn counts(client: Option<&ClientId>) -> Result<BTreeMap<JobStatus, u64>, StoreError>;
    fn purge(now: Timestamp, limit: u32) -> Result<Vec<JobId>, StoreError>;
    fn put_blueprint(name: &str, revision: &str, source: &str) -> Result<(), StoreError>;
    fn blueprint_source(name: &str, revision: &str) -> Result<Option<String>, StoreError>;
    fn purge_blueprints(in_use: &[BlueprintRevision])
        -> Result<Vec<BlueprintRevision>, StoreError>;
    fn health() -> Result<(), StoreError>;
    fn tell(news: &FleetNews) -> Result<(), StoreError>;
    fn close() -> ();
}
    fn durability(&self) -> Durability {
        self.store.durability()
    }
}

held_still! { WorkerStore {
    fn put_worker(worker: Worker) -> Result<Worker, StoreError>;
    fn beat(worker: Worker) -> Result<(), StoreError>;
    fn extend_workers(until: Vec<(WorkerId, Timestamp)>) -> Result<(), StoreError>;
    fn list_workers() -> Result<Vec<Worker>, StoreError>;
    fn load_workers(ids: &[WorkerId]) -> Result<Vec<Worker>, StoreError>;
    fn forget_workers(expired_before: Timestamp) -> Result<Vec<WorkerId>, StoreError>;
    fn adjust_reputation(worker: &WorkerId, delta: f64) -> Result<f64, StoreError>;
    fn put_tokens(tokens: Vec<TokenRecord>) -> Result<(), StoreError>;
    fn find_access_token(hash: &str) -> Result<Option<TokenRecord>, StoreError>;
    fn take_refresh_token(hash: &str, worker: &WorkerId, now: Timestamp)
        -> Result<RefreshOutcome, StoreError>;
    fn remember_nonce(worker: &WorkerId, nonce: &str, now: Timestamp, until: Timestamp)
        -> Result<bool, StoreError>;
    fn knows_nonce(worker: &WorkerId, nonce: &str, now: Timestamp) -> Result<bool, StoreError>;
    fn purge_secrets(now: Timestamp) -> Result<(), StoreError>;
} }

held_still! { HistoryStore {
    fn append(events: Vec<Event>) -> Result<(), StoreError>;
    fn by_job(job: JobId, after: Option<(u64, u32)>, limit: u32)
        -> Result<Vec<Event>, StoreError>;
} }
