//! Large values in a real S3 server, and a process that dies between storing one and the commit that
//! refers to it: nothing is lost, nothing is doubled, and what was stored for nothing goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use avtomatika::base::{Secret, crypto};
use avtomatika::domain::{JobStatus, TaskReport};
use avtomatika::runtime::{Reported, Settings};
use avtomatika::store::{
    BlobBody, BlobError, BlobInfo, BlobStore, JobQuery, S3BlobStore, S3Settings,
};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::fixture::{Fixture, data, new_job};
use crate::s3::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY};

/// What is larger lies in S3. Units: bytes of JSON.
const BYTES_MAX: usize = 1024;
const POLL: Duration = Duration::from_secs(20);

/// The bucket, and a process that dies when it has stored something there.
struct Deadly {
    bucket: S3BlobStore,
    is_armed: AtomicBool,
    /// The process is dead: what it stored last is there.
    died: Notify,
}

impl Deadly {
    fn new(server: &S3Server) -> Arc<Self> {
        let (access, secret) = (Secret::from(ACCESS_KEY), Secret::from(SECRET_KEY));
        let settings = S3Settings::new(&server.endpoint(), BUCKET, access, secret);
        Arc::new(Self {
            bucket: S3BlobStore::new(&settings).expect("can be used"),
            is_armed: AtomicBool::new(false),
            died: Notify::new(),
        })
    }

    /// Does what makes a process store something, and lets it die there: it comes to nothing more.
    async fn kills<T>(&self, act: impl Future<Output = T>) {
        self.is_armed.store(true, Ordering::Relaxed);
        tokio::select! {
            _ = act => panic!("it went on"),
            () = self.died.notified() => {}
        }
        self.is_armed.store(false, Ordering::Relaxed);
    }

    async fn keys(&self) -> Vec<String> {
        let listed = self.bucket.list("jobs/").await.unwrap();
        listed.into_iter().map(|blob| blob.key).collect()
    }

    /// Returns the digest of what lies under a key.
    async fn digest(&self, key: &str) -> String {
        let (_, body) = self.bucket.get(key).await.unwrap().expect("is there");
        let pieces: Vec<Bytes> = body.try_collect().await.unwrap();
        crypto::sha256_hex(&pieces.concat())
    }
}

#[async_trait]
impl BlobStore for Deadly {
    async fn put(&self, key: &str, body: BlobBody, bytes_max: u64) -> Result<BlobInfo, BlobError> {
        let stored = self.bucket.put(key, body, bytes_max).await?;
        if self.is_armed.load(Ordering::Relaxed) {
            self.died.notify_one();
            std::future::pending::<()>().await;
        }
        Ok(stored)
    }

    async fn get(&self, key: &str) -> Result<Option<(BlobInfo, BlobBody)>, BlobError> {
        self.bucket.get(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<BlobInfo>, BlobError> {
        self.bucket.list(prefix).await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, BlobError> {
        self.bucket.folders(prefix).await
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<(), BlobError> {
        self.bucket.delete_prefix(prefix).await
    }

    fn uri(&self, key: &str) -> String {
        self.bucket.uri(key)
    }
}

fn large(letter: &str) -> Value {
    json!(letter.repeat(50_000))
}

/// Time passes at once; nothing is on its way to the server meanwhile, which lives on real time.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_crash_between_a_payload_and_its_commit_loses_and_doubles_nothing() {
    let server = S3Server::start();
    let bucket = Deadly::new(&server);
    let world = Fixture::start_heavy(bucket.clone(), BYTES_MAX, Settings::default()).await;
    let new = || {
        let mut new = new_job(json!({"x": 1, "large": large("a")}));
        new.idempotency = Some(("key".to_owned(), "same".to_owned()));
        new
    };
    // Before the job's first commit.
    bucket.kills(world.runtime.submit("one", new())).await;
    let orphan = bucket.keys().await;
    assert_eq!(orphan.len(), 1, "{orphan:?}");
    let world = world.restart().await;
    let all = async |world: &Fixture| {
        world
            .runtime
            .list(JobQuery {
                limit: 9,
                ..JobQuery::default()
            })
            .await
            .unwrap()
    };
    assert_eq!(all(&world).await, [], "it was never accepted");
    let job = world.runtime.submit("one", new()).await.unwrap();
    assert!(!job.repeated, "the key was nobody's");
    let job = job.job_id;
    assert_eq!(world.job(job).await.initial_data["large"], large("a"));

    // Before the commit of a result.
    let worker = world.worker("w1", &["work"]).await;
    let task = world.runtime.poll(&worker, POLL).await.unwrap();
    let handout = task.expect("a task");
    let task = handout.task().clone();
    handout.delivered();
    let report = || TaskReport::success(data(json!({"made": large("b")})));
    let reported = world.runtime.report(&worker, job, &task.id, report());
    bucket.kills(reported).await;
    let world = world.restart().await;
    assert!(!world.job(job).await.status.is_terminal());
    // The worker was not answered, and says it again.
    for _ in 0..2 {
        let again = world.runtime.report(&worker, job, &task.id, report()).await;
        assert!(matches!(again, Ok(Reported::Accepted(_))), "{again:?}");
    }
    let ended = world.job(job).await;
    assert_eq!(ended.status, JobStatus::Finished);
    assert_eq!(ended.state_history["made"], large("b"));
    assert_eq!(all(&world).await.len(), 1);

    // What was stored for the job that never came goes; what the other has stays.
    let deployment = world.ports.jobs.deployment_id(Uuid::nil()).await.unwrap();
    let marker = json!({"since": 0, "seen": 0}).to_string();
    let body = futures::stream::iter([Ok(Bytes::from(marker))]).boxed();
    let key = format!("deployments/{deployment}");
    bucket.put(&key, body, 99).await.unwrap();
    pass(Duration::from_hours(25)).await;
    let swept = async {
        while bucket.keys().await.iter().any(|key| orphan.contains(key)) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(2), swept)
        .await
        .expect("the orphan goes");
    assert_eq!(world.job(job).await.state_history["made"], large("b"));
    let kept = bucket.keys().await;
    let prefix = format!("jobs/{job}/payloads/");
    assert_eq!(kept.len(), 2, "{kept:?}");
    for key in &kept {
        let digest = key.strip_prefix(&prefix).expect("the job's");
        assert_eq!(bucket.digest(key).await, digest, "{key} is whole");
    }
    world.stop().await;
}
