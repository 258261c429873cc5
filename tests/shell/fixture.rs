//! A shell over the memory store, with a clock that follows tokio's paused time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use avtomatika::base::{ClientId, Clock, Entropy, JobId, Secret, Timestamp, WorkerId};
use avtomatika::domain::worker::{Capabilities, Resources, SkillInfo, WorkerStatus};
use avtomatika::domain::{ClientRef, Job, Object, Task, TaskReport, Worker};
use avtomatika::observe::{Metrics, StoreWatch, WatchedHistory, WatchedJobs, WatchedWorkers};
use avtomatika::runtime::{
    NewJob, Ports, Reported, Runtime, SendFailure, Settings, WebhookRequest, WebhookSecrets,
    WebhookSender,
};
use avtomatika::store::{
    BlobBody, BlobError, BlobInfo, BlobStore, HistoryStore, JobStore, MemoryStore, Offloading,
    WorkerStore,
};
use serde_json::Value;

pub use crate::blueprints::BLUEPRINTS;

/// Follows tokio's time, paused or not.
struct TokioClock {
    start: tokio::time::Instant,
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_795_422_154_000).after(self.start.elapsed())
    }
}

/// Counts: unpredictable enough for a test, and the same every time.
#[derive(Default)]
struct CountingEntropy(AtomicU64);

impl Entropy for CountingEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        let number = self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let digest = avtomatika::base::crypto::sha256(&[&number]);
        for (index, byte) in buffer.iter_mut().enumerate() {
            *byte = digest[index % digest.len()];
        }
    }
}

/// Keeps what is sent, and refuses as much as it is told to.
#[derive(Default)]
pub struct Receiver {
    /// While true, nobody is answered.
    pub stuck: tokio::sync::watch::Sender<bool>,
    sent: Mutex<Vec<WebhookRequest>>,
    refuse: AtomicU64,
    /// Whether what is refused is refused for ever.
    pub is_final: AtomicBool,
    came: tokio::sync::Notify,
}

impl Receiver {
    pub fn refuse_next(&self, count: u64) {
        self.refuse.store(count, Ordering::Relaxed);
    }

    pub fn count(&self) -> usize {
        self.sent.lock().unwrap().len()
    }

    pub async fn wait_for(&self, count: usize) -> Vec<WebhookRequest> {
        loop {
            let came = self.came.notified();
            {
                let sent = self.sent.lock().unwrap();
                if sent.len() >= count {
                    return sent.clone();
                }
            }
            came.await;
        }
    }
}

#[async_trait]
impl WebhookSender for Receiver {
    async fn send(&self, request: WebhookRequest) -> Result<(), SendFailure> {
        self.sent.lock().unwrap().push(request);
        self.came.notify_waiters();
        let mut stuck = self.stuck.subscribe();
        stuck.wait_for(|stuck| !stuck).await.unwrap();
        let refused = self
            .refuse
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            });
        match refused {
            Ok(_) => Err(SendFailure {
                is_final: self.is_final.load(Ordering::Relaxed),
                reason: "503".to_owned(),
            }),
            Err(_) => Ok(()),
        }
    }
}

struct OneSecret;

impl WebhookSecrets for OneSecret {
    fn secret(&self, _client: &ClientId) -> Option<Secret> {
        Some(Secret::from("hook-secret"))
    }
}

/// The world of one test.
pub struct Fixture {
    pub runtime: Runtime,
    pub webhooks: Arc<Receiver>,
    pub ports: Ports,
}

impl Fixture {
    pub async fn start() -> Self {
        Self::start_with(Settings::default()).await
    }

    pub async fn start_with(settings: Settings) -> Self {
        Self::start_over(Arc::new(MemoryStore::new()), None, settings).await
    }

    /// Starts over a store, with another way to the workers' part of it.
    pub async fn start_over(
        store: Arc<MemoryStore>,
        workers: Option<Arc<dyn WorkerStore>>,
        settings: Settings,
    ) -> Self {
        let (mut ports, webhooks) = Self::ports(store);
        ports.workers = workers.unwrap_or(ports.workers);
        Self::begin(ports, settings, webhooks, BLUEPRINTS).await
    }

    /// Starts over a store of another kind, with other blueprints.
    pub async fn start_on<S>(store: Arc<S>, settings: Settings, blueprints: &str) -> Self
    where
        S: JobStore + WorkerStore + HistoryStore,
    {
        let (ports, webhooks) = Self::ports(store);
        Self::begin(ports, settings, webhooks, blueprints).await
    }

    /// Starts as one of several processes on a store; their ids are told apart by the number.
    pub async fn start_beside<S>(store: Arc<S>, number: u64, with: (Settings, &str)) -> Self
    where
        S: JobStore + WorkerStore + HistoryStore,
    {
        let (mut ports, webhooks) = Self::ports(store);
        ports.entropy = Arc::new(CountingEntropy(AtomicU64::new(number << 32)));
        Self::begin(ports, with.0, webhooks, with.1).await
    }

    /// Starts with job files.
    pub async fn start_with_files(blobs: Arc<dyn BlobStore>) -> Self {
        Self::start_heavy(blobs, usize::MAX, Settings::default()).await
    }

    /// Starts with job files, larger values than so many bytes among them.
    pub async fn start_heavy(blobs: Arc<dyn BlobStore>, max: usize, settings: Settings) -> Self {
        let store = Arc::new(MemoryStore::new());
        let (mut ports, webhooks) = Self::ports(store.clone());
        ports.jobs = Arc::new(Offloading::new(store, blobs.clone(), max));
        ports.blobs = blobs;
        Self::begin(ports, settings, webhooks, BLUEPRINTS).await
    }

    fn ports<S>(store: Arc<S>) -> (Ports, Arc<Receiver>)
    where
        S: JobStore + WorkerStore + HistoryStore,
    {
        let webhooks = Arc::new(Receiver::default());
        let clock = Arc::new(TokioClock {
            start: tokio::time::Instant::now(),
        });
        let metrics = Metrics::new();
        let watch = StoreWatch::new(metrics.clone(), clock.clone());
        let jobs = WatchedJobs::new(store.clone(), watch.clone());
        let ports = Ports {
            jobs: Arc::new(jobs),
            workers: Arc::new(WatchedWorkers::new(store.clone(), watch.clone())),
            export: None,
            history: Arc::new(WatchedHistory::new(store, watch)),
            blobs: Arc::new(NoBlobs),
            clock,
            entropy: Arc::new(CountingEntropy::default()),
            webhooks: webhooks.clone(),
            secrets: Arc::new(OneSecret),
            metrics,
            traces: avtomatika::observe::Traces::default(),
        };
        (ports, webhooks)
    }

    async fn begin(
        ports: Ports,
        settings: Settings,
        webhooks: Arc<Receiver>,
        blueprints: &str,
    ) -> Self {
        let runtime = Runtime::start(ports.clone(), settings).await.unwrap();
        let world = Self {
            runtime,
            webhooks,
            ports,
        };
        let problems = world.load(blueprints).await;
        assert_eq!(problems, Vec::<String>::new());
        world
    }

    /// Another process takes over; the first one just stops looking.
    pub async fn restart(self) -> Self {
        self.restart_with(BLUEPRINTS).await
    }

    pub async fn restart_with(self, blueprints: &str) -> Self {
        self.runtime.begin_shutdown();
        let settings = self.runtime.settings().clone();
        Self::begin(self.ports, settings, self.webhooks, blueprints).await
    }

    pub async fn load(&self, blueprints: &str) -> Vec<String> {
        let files = blueprints
            .split("---")
            .enumerate()
            .map(|(number, text)| (format!("{number}.yaml"), text.to_owned()))
            .collect();
        let problems = self.runtime.load_blueprints(files).await.unwrap();
        problems
            .into_iter()
            .map(|problem| problem.message)
            .collect()
    }

    pub async fn worker(&self, id: &str, skills: &[&str]) -> WorkerId {
        self.runtime.register(worker(id, skills)).await.unwrap().id
    }

    pub async fn priced_worker(&self, id: &str, price: f64) -> WorkerId {
        let mut worker = worker(id, &["work"]);
        worker.capabilities.cost_per_skill = Some(BTreeMap::from([("work".to_owned(), price)]));
        self.runtime.register(worker).await.unwrap().id
    }

    pub async fn submit(&self, blueprint: &str, input: Value) -> JobId {
        self.runtime
            .submit(blueprint, new_job(input))
            .await
            .unwrap()
            .job_id
    }

    /// Submits once the polls of the same test are open.
    pub async fn submit_later(&self, blueprint: &str, input: Value) -> JobId {
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.submit(blueprint, input).await
    }

    /// Polls for a task and takes it over.
    pub async fn take(&self, worker: &WorkerId) -> Task {
        let handout = self
            .runtime
            .poll(worker, Duration::from_mins(10))
            .await
            .unwrap();
        let handout = handout.expect("a task comes");
        let task = handout.task().clone();
        handout.delivered();
        task
    }

    pub async fn report(&self, worker: &WorkerId, task: &Task, report: TaskReport) {
        let answer = self
            .runtime
            .report(worker, task.job_id, &task.id, report)
            .await
            .unwrap();
        assert!(matches!(answer, Reported::Accepted(_)), "{answer:?}");
    }

    pub async fn job(&self, id: JobId) -> Job {
        self.runtime
            .job(id)
            .await
            .unwrap()
            .expect("the job is there")
    }

    /// Waits, on virtual time, until the job has ended.
    pub async fn ended(&self, id: JobId) -> Job {
        self.until(async || self.job(id).await.status.is_terminal())
            .await;
        self.job(id).await
    }

    /// Waits, on virtual time, until something holds; at most a virtual hour.
    pub async fn until(&self, holds: impl AsyncFn() -> bool) {
        for _ in 0..36_000 {
            if holds().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("did not come to pass within a virtual hour");
    }

    /// Waits until a change of reputation that is on its way has arrived: virtual time passes only
    /// when nothing else can run.
    pub async fn settle_reputation(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    pub async fn stop(self) {
        self.runtime.shutdown().await;
    }
}

fn worker(id: &str, skills: &[&str]) -> Worker {
    Worker {
        id: id.into(),
        worker_type: "test".to_owned(),
        skills: skills
            .iter()
            .map(|name| SkillInfo {
                name: (*name).to_owned(),
                ..SkillInfo::default()
            })
            .collect(),
        available_skills: None,
        hot_skills: Vec::new(),
        skills_hash: None,
        resources: Resources::default(),
        installed_software: BTreeMap::new(),
        installed_artifacts: Vec::new(),
        capabilities: Capabilities::default(),
        metadata: None,
        status: WorkerStatus::Idle,
        usage: None,
        current_tasks: Vec::new(),
        reputation: 1.0,
        registered_at: Timestamp(0),
        last_seen: Timestamp(0),
        expires_at: Timestamp(0),
    }
}

pub fn new_job(input: Value) -> NewJob {
    let client = ClientRef {
        id: "tester".into(),
        plan: "none".to_owned(),
        params: Object::new(),
    };
    NewJob::new(client, input)
}

/// Returns a JSON object's members.
pub fn data(value: Value) -> Object {
    match value {
        Value::Object(members) => members,
        other => panic!("{other} is not an object"),
    }
}

/// Holds nothing: no test here is about files.
struct NoBlobs;

#[async_trait]
impl BlobStore for NoBlobs {
    async fn put(&self, key: &str, _body: BlobBody, _max: u64) -> Result<BlobInfo, BlobError> {
        Err(BlobError::InvalidKey(key.to_owned()))
    }

    async fn get(&self, _key: &str) -> Result<Option<(BlobInfo, BlobBody)>, BlobError> {
        Ok(None)
    }

    async fn list(&self, _prefix: &str) -> Result<Vec<BlobInfo>, BlobError> {
        Ok(Vec::new())
    }

    async fn folders(&self, _prefix: &str) -> Result<Vec<String>, BlobError> {
        Ok(Vec::new())
    }

    async fn delete_prefix(&self, _prefix: &str) -> Result<(), BlobError> {
        Ok(())
    }

    fn uri(&self, key: &str) -> String {
        key.to_owned()
    }
}
