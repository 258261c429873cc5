//! The way into the archive: outages stop no job and lose no event; what comes twice is there once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use avtomatika::base::{ClientId, Clock as _, JobId, Secret, SystemClock, SystemEntropy};
use avtomatika::domain::{ClientRef, JobStatus};
use avtomatika::runtime::{
    Export, NewJob, Ports, Runtime, SendFailure, Settings, WebhookRequest, WebhookSecrets,
    WebhookSender,
};
use avtomatika::store::{
    Archive, DirBlobStore, HistoryFeed, HistoryStore, JobQuery, JobStore, SqliteArchive,
    SqliteSettings, SqliteStore, WorkerStore,
};
use serde_json::json;
use tempfile::TempDir;

use crate::servers::postgres::Postgres;
use crate::unsteady::Unsteady;
use crate::{hasher, links, on_server};

const BLUEPRINTS: &str = "
blueprint: short
start: first
states:
  first: { log: \"one\", go_to: second }
  second: { log: \"two\", go_to: done }
  done: { end: finished }
";

const TOLD: &str = "
blueprint: told
start: first
states:
  first: { log: \"{{ initial_data.said }}\", go_to: done }
  done: { end: finished }
";

/// Takes no webhooks.
struct Nobody;

#[async_trait]
impl WebhookSender for Nobody {
    async fn send(&self, _: WebhookRequest) -> Result<(), SendFailure> {
        Ok(())
    }
}

impl WebhookSecrets for Nobody {
    fn secret(&self, _: &ClientId) -> Option<Secret> {
        None
    }
}

/// A store that hands out its history.
pub trait Feeding: JobStore + WorkerStore + HistoryStore + HistoryFeed {}

impl<S: JobStore + WorkerStore + HistoryStore + HistoryFeed> Feeding for S {}

/// An orchestrator without its API, whose history goes to an archive.
pub struct World {
    pub runtime: Runtime,
    pub store: Arc<dyn Feeding>,
    archive: Arc<dyn Archive>,
    _folder: TempDir,
}

impl World {
    pub async fn start(archive: Arc<dyn Archive>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = in_folder(&folder);
        Self::on(store, archive, folder, Settings::default()).await
    }

    /// Starts on a store that is open.
    pub async fn on(
        store: Arc<dyn Feeding>,
        archive: Arc<dyn Archive>,
        folder: TempDir,
        settings: Settings,
    ) -> Self {
        Self::with(store, archive, folder, settings, |_| {}).await
    }

    /// Likewise, with some of its ports changed.
    pub async fn with(
        store: Arc<dyn Feeding>,
        archive: Arc<dyn Archive>,
        folder: TempDir,
        settings: Settings,
        change: impl FnOnce(&mut Ports),
    ) -> Self {
        let blobs = DirBlobStore::open(&folder.path().join("blobs"), "jobs").await;
        let mut ports = Ports {
            jobs: store.clone(),
            workers: store.clone(),
            history: store.clone(),
            export: Some(Export {
                archive: Arc::clone(&archive),
                feed: store.clone(),
                retention: None,
                runs_on: None,
            }),
            blobs: Arc::new(blobs.expect("a folder")),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            webhooks: Arc::new(Nobody),
            secrets: Arc::new(Nobody),
            metrics: avtomatika::observe::Metrics::new(),
            traces: avtomatika::observe::Traces::default(),
        };
        change(&mut ports);
        let runtime = Runtime::start(ports, settings).await.expect("starts");
        let files = [("short.yaml", BLUEPRINTS), ("told.yaml", TOLD)];
        let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let problems = runtime
            .load_blueprints(files.to_vec())
            .await
            .expect("a store");
        assert_eq!(problems, []);
        Self {
            runtime,
            store,
            archive,
            _folder: folder,
        }
    }

    /// Runs so many jobs to their end.
    pub async fn run(&self, count: usize) -> Vec<JobId> {
        let mut all = Vec::new();
        for _ in 0..count {
            let client = ClientRef {
                id: "acme".into(),
                plan: "free".to_owned(),
                params: avtomatika::domain::Object::new(),
            };
            let new = NewJob::new(client, json!({}));
            let created = self.runtime.submit("short", new).await.expect("accepts");
            let job = self.runtime.job(created.job_id).await.expect("reads");
            assert_eq!(job.expect("is there").status, JobStatus::Finished);
            all.push(created.job_id);
        }
        all
    }

    /// Waits until nothing waits in the feed any more.
    pub async fn is_through(&self) {
        let through = async {
            while self.store.feed_length().await.expect("counts") > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(2), through)
            .await
            .expect("everything arrives");
    }

    /// Checks that the archive has exactly what the store has.
    pub async fn has_arrived(&self, jobs: &[JobId]) {
        for id in jobs {
            let own = self.runtime.history(*id, None, 100).await.expect("reads");
            let archived = self.archive.by_job(*id, None, 100).await.expect("reads");
            assert!(own.len() >= 4);
            assert_eq!(archived, own);
            let job = self.runtime.job(*id).await.expect("reads");
            assert_eq!(self.archive.job(*id).await.expect("reads"), job);
        }
        let listed = self.store.list(JobQuery {
            limit: 100_000,
            ..JobQuery::default()
        });
        let listed = listed.await.expect("lists");
        let mut events = 0;
        for job in &listed {
            let own = self
                .runtime
                .history(job.id, None, 100)
                .await
                .expect("reads");
            events += own.len() as u64;
        }
        assert_eq!(links::verify_days(&self.archive).await, Ok(events));
    }

    pub async fn state(&self) -> String {
        let readiness = self.runtime.readiness().await;
        assert!(readiness.ready, "work goes on: {:?}", readiness.checks);
        readiness.checks["history"].clone()
    }

    pub async fn says(&self, what: &str) {
        let said = async {
            while !self.state().await.starts_with(what) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), said)
            .await
            .expect("the state is told");
    }
}

/// Opens a store of jobs in a folder, which feeds an archive.
pub fn in_folder(folder: &TempDir) -> Arc<SqliteStore> {
    let settings = SqliteSettings {
        feed: true,
        ..SqliteSettings::default()
    };
    let store = SqliteStore::open(&folder.path().join("jobs.db"), &settings);
    Arc::new(store.expect("opens"))
}

pub fn in_file(folder: &TempDir) -> Arc<dyn Archive> {
    let archive = SqliteArchive::open(&folder.path().join("history.db"), hasher());
    Arc::new(archive.expect("opens"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_is_away_holds_up_nothing_and_gets_everything() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archive = Unsteady::over(in_file(&folder));
    let world = World::start(archive.clone()).await;
    let mut jobs = world.run(5).await;
    world.is_through().await;
    assert_eq!(world.state().await, "ok");
    archive.goes(true);
    jobs.extend(world.run(20).await);
    world.says("degraded since").await;
    assert_eq!(world.store.feed_length().await.expect("counts"), 20);
    archive.goes(false);
    world.is_through().await;
    world.says("ok").await;
    world.has_arrived(&jobs).await;
    world.runtime.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_doubles_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archive = Unsteady::over(in_file(&folder));
    archive.answers_lost.store(2, Ordering::SeqCst);
    let world = World::start(archive.clone()).await;
    let jobs = world.run(10).await;
    world.is_through().await;
    assert_eq!(archive.answers_lost.load(Ordering::SeqCst), 0);
    world.has_arrived(&jobs).await;
    world.runtime.shutdown().await;
}

/// A job goes from the store only when the archive has all of it, and is found there then.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_has_left_the_store_is_read_from_the_archive() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archive = Unsteady::over(in_file(&folder));
    archive.goes(true);
    let world = World::start(archive.clone()).await;
    let id = world.run(1).await[0];
    let own = world
        .runtime
        .job(id)
        .await
        .expect("reads")
        .expect("is there");
    let told = world.runtime.history(id, None, 100).await.expect("reads");
    let late = SystemClock.now().after(Duration::from_hours(24 * 365));
    assert_eq!(world.store.purge(late, 9).await.expect("purges"), []);
    archive.goes(false);
    world.is_through().await;
    assert_eq!(world.store.purge(late, 9).await.expect("purges"), [id]);
    assert_eq!(world.runtime.job(id).await.expect("reads"), None);
    let archived = world.runtime.archived_job(id).await.expect("reads");
    assert_eq!(archived, Some(own));
    let archived = world.runtime.archived_history(id, None, 100).await;
    assert_eq!(archived.expect("reads"), told);
    world.runtime.shutdown().await;
}

/// PostgreSQL goes away under load, twice, and is not there at the start either.
#[tokio::test(flavor = "multi_thread")]
async fn server_postgres_goes_away_under_load_and_misses_nothing() {
    let mut server = Postgres::start();
    server.kill();
    let world = World::start(on_server(&server)).await;
    let mut jobs = world.run(10).await;
    world.says("degraded since").await;
    server.restart();
    for _ in 0..2 {
        jobs.extend(world.run(50).await);
        server.kill();
        jobs.extend(world.run(50).await);
        server.restart();
    }
    jobs.extend(world.run(10).await);
    world.is_through().await;
    world.says("ok").await;
    world.has_arrived(&jobs).await;
    assert_eq!(server.run("SELECT count(*) FROM history_jobs"), "220");
    world.runtime.shutdown().await;
}
