//! A store that goes away and comes back, and what workers see of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use avtomatika::base::{ClientId, JobId, TaskId, Timestamp, WorkerId};
use avtomatika::domain::{Event, Job, JobStatus, Lease, Task, TaskReport, Worker};
use avtomatika::engine::DataStores;
use avtomatika::runtime::{Beat, PollRequest, RuntimeError, Settings};
use avtomatika::store::{
    BlobBody, BlobError, BlobInfo, BlobStore, BlueprintRevision, Commit, CommitError, Committed,
    Delivery, DeliveryRecord, Due, Durability, FleetNews, Hint, Hints, HistoryStore, JobQuery,
    JobStore, KnownKey, MemoryStore, MessageKind, Offloading, OutboxItem, RefreshOutcome,
    StoreError, TokenRecord, WorkerStore,
};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;
use tokio::sync::broadcast;
use uuid::Uuid;

use crate::POLL;
use crate::fixture::{BLUEPRINTS, Fixture, data};

/// A job that is due after a minute.
pub const LATE: &str = "blueprint: late\nstart: first\nstates:\n  first: { wait: { for: 1m }, go_to: \
                        done }\n  done: { end: finished }\n";

/// The memory store, as long as it is there.
#[derive(Default)]
pub struct Fickle {
    inner: MemoryStore,
    is_away: AtomicBool,
    /// As when a disk is full: it can only be read.
    is_full: AtomicBool,
    /// Tasks that could not be leased.
    refused: AtomicU32,
    /// Commits that could not be stored.
    pub failed: AtomicU32,
    /// Where other processes are heard.
    pub hints: Option<broadcast::Sender<Hint>>,
}

impl Fickle {
    fn ask(&self, call: &str) -> Result<(), StoreError> {
        let is_written = ["commit", "extend_leases", "lease_task", "beat"].contains(&call);
        let is_full = is_written && self.is_full.load(Ordering::Relaxed);
        if !is_full && !self.is_away.load(Ordering::Relaxed) {
            return Ok(());
        }
        match call {
            "lease_task" => drop(self.refused.fetch_add(1, Ordering::Relaxed)),
            "commit" => {
                let before = self.failed.fetch_add(1, Ordering::Relaxed);
                assert!(before < 50_000, "tried again and again, without a pause");
            }
            _ => {}
        }
        Err(StoreError::Unavailable("away".to_owned()))
    }

    fn goes(&self, is_away: bool) {
        self.refuses(is_away, false);
    }

    pub fn refuses(&self, does: bool, writes_only: bool) {
        let flag = [&self.is_away, &self.is_full][usize::from(writes_only)];
        flag.store(does, Ordering::Relaxed);
    }
}

/// Implements a port by asking first whether the store is there.
macro_rules! while_there {
    ($port:ident { $(fn $call:ident($($name:ident: $kind:ty),*) -> $answer:ty;)* } $($rest:item)*) => {
        #[async_trait]
        impl $port for Fickle {
            $(async fn $call(&self, $($name: $kind),*) -> $answer {
                self.ask(stringify!($call))?;
                $port::$call(&self.inner, $($name),*).await
            })*
            $($rest)*
        }
    };
}

while_there! { JobStore {
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
}
    fn durability(&self) -> Durability {
        self.inner.durability()
    }

    fn hints(&self) -> Hints {
        self.hints.as_ref().map(broadcast::Sender::subscribe)
    }

    async fn close(&self) {
        JobStore::close(&self.inner).await;
    }
}

while_there! { WorkerStore {
    fn put_worker(worker: Worker) -> Result<Worker, StoreError>;
    fn beat(worker: Worker) -> Result<(), StoreError>;
    fn extend_workers(until: Vec<(WorkerId, Timestamp)>) -> Result<(), StoreError>;
    fn list_workers() -> Result<Vec<Worker>, StoreError>;
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

while_there! { HistoryStore {
    fn append(events: Vec<Event>) -> Result<(), StoreError>;
    fn by_job(job: JobId, after: Option<(u64, u32)>, limit: u32)
        -> Result<Vec<Event>, StoreError>;
} }

/// Large values in memory, as long as they are there.
#[derive(Default)]
struct Values {
    kept: Mutex<BTreeMap<String, Bytes>>,
    is_away: AtomicBool,
    /// Values that could not be read.
    refused: AtomicU32,
}

#[async_trait]
impl BlobStore for Values {
    async fn put(&self, key: &str, body: BlobBody, _: u64) -> Result<BlobInfo, BlobError> {
        let content = Bytes::from(body.try_collect::<Vec<Bytes>>().await?.concat());
        let info = value_info(key, &content);
        self.kept.lock().unwrap().insert(key.to_owned(), content);
        Ok(info)
    }

    async fn get(&self, key: &str) -> Result<Option<(BlobInfo, BlobBody)>, BlobError> {
        if self.is_away.load(Ordering::Relaxed) {
            let before = self.refused.fetch_add(1, Ordering::Relaxed);
            assert!(before < 100, "asked again and again, without a pause");
            return Err(BlobError::Unavailable("away".to_owned()));
        }
        let found = self.kept.lock().unwrap().get(key).cloned();
        Ok(found.map(|content| {
            let info = value_info(key, &content);
            (info, stream::iter([Ok(content)]).boxed())
        }))
    }

    async fn list(&self, _: &str) -> Result<Vec<BlobInfo>, BlobError> {
        Ok(Vec::new())
    }

    async fn folders(&self, _: &str) -> Result<Vec<String>, BlobError> {
        Ok(Vec::new())
    }

    async fn delete_prefix(&self, _: &str) -> Result<(), BlobError> {
        Ok(())
    }

    fn uri(&self, key: &str) -> String {
        key.to_owned()
    }
}

fn value_info(key: &str, content: &Bytes) -> BlobInfo {
    BlobInfo {
        key: key.to_owned(),
        bytes: content.len() as u64,
        sha256: None,
    }
}

/// An outage is the store's affair: workers that ask meanwhile are not sent away, and however long it
/// takes and however many they are, one call a second looks whether the store is back.
#[tokio::test(start_paused = true)]
async fn workers_wait_for_a_store_that_is_away_and_work_at_once_when_it_is_back() {
    let store = Arc::new(Fickle::default());
    let world = Fixture::start_on(Arc::clone(&store), Settings::default(), BLUEPRINTS).await;
    let mut workers = Vec::new();
    for number in 0..20 {
        workers.push(world.worker(&format!("w{number}"), &["work"]).await);
        world.submit("one", json!({})).await;
    }
    store.goes(true);
    let asked = Uuid::from_u128(7);
    let polls = |wait| {
        let request = PollRequest {
            lease: Some(asked),
            ..PollRequest::from(wait)
        };
        let polls = workers.iter().map(move |worker| (worker, request.clone()));
        futures::future::join_all(polls.map(|(worker, one)| world.runtime.poll(worker, one)))
    };
    let began = tokio::time::Instant::now();
    for polled in polls(POLL).await {
        assert!(polled.unwrap().is_none(), "the window is over");
    }
    assert_eq!(began.elapsed().as_secs(), POLL.as_secs());
    // All that came at once have tried once.
    let refused = store.refused.load(Ordering::Relaxed);
    assert!(refused <= 20 + 31, "{refused} tries");

    let (polled, ()) = tokio::join!(polls(POLL), async {
        tokio::time::sleep(POLL / 2).await;
        store.goes(false);
    });
    assert!(began.elapsed() < POLL * 3 / 2 + Duration::from_secs(2));
    let mut tried = 0;
    for (worker, polled) in workers.iter().zip(polled) {
        let handout = polled.unwrap().expect("a task");
        let task = handout.task().clone();
        tried += usize::from(task.lease.as_ref().unwrap().id != asked);
        handout.delivered();
        let report = TaskReport::success(data(json!({})));
        world.report(worker, &task, report).await;
        assert_eq!(
            world.job(task.job_id).await.status,
            JobStatus::Finished,
            "{worker}"
        );
    }
    assert!(
        (1..20).contains(&tried),
        "{tried} tries, whose lease is not given again"
    );
    world.stop().await;
}

/// What is due waits no longer than a moment either, after whatever time.
#[tokio::test(start_paused = true)]
async fn what_is_due_goes_on_when_a_store_is_back() {
    let store = Arc::new(Fickle::default());
    let world = Fixture::start_on(Arc::clone(&store), Settings::default(), LATE).await;
    let job = world.submit("late", json!({})).await;
    store.goes(true);
    tokio::time::sleep(Duration::from_secs(550)).await;
    store.goes(false);
    let back = tokio::time::Instant::now();
    world.ended(job).await;
    assert!(back.elapsed() < Duration::from_secs(2));
    world.stop().await;
}

/// An outage ends no lease, be it longer than leases last or so long that a heartbeat falls into it, and be
/// it of reads and writes or, as with a full disk, of writes alone: nobody could note that the worker lives.
#[tokio::test(start_paused = true)]
async fn what_a_worker_has_it_keeps_over_an_outage() {
    for (seconds, writes_only, beats) in [
        (20, false, true),
        (100, false, true),
        (20, true, true),
        (100, true, true),
        (100, true, false),
    ] {
        let case = format!("{seconds} {writes_only} {beats}");
        let store = Arc::new(Fickle::default());
        let world = Fixture::start_on(Arc::clone(&store), Settings::default(), BLUEPRINTS).await;
        let worker = world.worker("w1", &["work"]).await;
        let job = world.submit("one", json!({})).await;
        let task = world.take(&worker).await;
        let beat = async || {
            let beat = Beat {
                current_tasks: Some(vec![task.id.clone()]),
                ..Beat::default()
            };
            world.runtime.heartbeat(&worker, beat).await
        };
        tokio::time::sleep(Duration::from_secs(10)).await;
        store.refuses(true, writes_only);
        for _ in 0..seconds / 10 {
            tokio::time::sleep(Duration::from_secs(5)).await;
            if beats {
                assert!(beat().await.is_err(), "{case}");
            }
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        store.refuses(false, writes_only);
        // Until the next heartbeat the lease is over in any case.
        tokio::time::sleep(Duration::from_secs(14)).await;
        let told = beat().await.unwrap().expect("it is known");
        assert!(told.cancel_task_ids.is_empty(), "{case}");
        let report = TaskReport::success(data(json!({})));
        world.report(&worker, &task, report).await;
        assert_eq!(world.job(job).await.status, JobStatus::Finished);
        world.stop().await;
    }
}

/// A worker that died during an outage is not waited for for ever.
#[tokio::test(start_paused = true)]
async fn a_worker_that_is_not_heard_after_an_outage_has_lost_its_task() {
    let store = Arc::new(Fickle::default());
    let world = Fixture::start_on(Arc::clone(&store), Settings::default(), BLUEPRINTS).await;
    let (dead, other) = (
        world.worker("w1", &["work"]).await,
        world.worker("w2", &["work"]).await,
    );
    let job = world.submit("one", json!({})).await;
    let first = world.take(&dead).await;
    store.refuses(true, false);
    tokio::time::sleep(Duration::from_secs(100)).await;
    store.refuses(false, false);
    let back = tokio::time::Instant::now();
    let handout = loop {
        let polled = world.runtime.poll(&other, POLL).await.unwrap();
        if let Some(handout) = polled {
            break handout;
        }
    };
    assert!(
        (30..=62).contains(&back.elapsed().as_secs()),
        "{:?}",
        back.elapsed()
    );
    assert_eq!(handout.task().job_id, job);
    assert_ne!(handout.task().id, first.id);
    drop(handout);
    world.stop().await;
}

/// A task whose parameters cannot be read is nobody's: whoever asks for it is told so when the time that
/// he gave is over, and gets it when they can be read again.
#[tokio::test(start_paused = true)]
async fn a_poll_ends_although_the_tasks_parameters_cannot_be_read() {
    let values = Arc::new(Values::default());
    let store = Arc::new(MemoryStore::new());
    let mut world = Fixture::start_on(store.clone(), Settings::default(), BLUEPRINTS).await;
    // Each process has to read for itself what another has stored.
    for is_first in [true, false] {
        world.ports.jobs = Arc::new(Offloading::new(store.clone(), values.clone(), 64));
        world = world.restart().await;
        if is_first {
            world.submit("one", json!({"x": "a".repeat(1_000)})).await;
            values.is_away.store(true, Ordering::Relaxed);
        }
    }
    let worker = world.worker("w1", &["work"]).await;
    // No more than one try at once, one a second and one at the end.
    for (wait, tries) in [(0, 1), (3, 4)] {
        let began = tokio::time::Instant::now();
        let before = values.refused.load(Ordering::Relaxed);
        let polled = world.runtime.poll(&worker, Duration::from_secs(wait)).await;
        assert!(
            matches!(polled, Err(RuntimeError::Store(StoreError::Unavailable(_)))),
            "after {wait} s: {:?}",
            polled.map(|handout| handout.is_some())
        );
        assert_eq!(began.elapsed().as_secs(), wait);
        let refused = values.refused.load(Ordering::Relaxed) - before;
        assert!(refused <= tries * 3, "{refused} values asked for");
    }
    values.is_away.store(false, Ordering::Relaxed);
    let task = world.take(&worker).await;
    assert_eq!(task.spec.params["x"], "a".repeat(1_000));
    world.stop().await;
}
