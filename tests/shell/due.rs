//! What is due while nothing can be done about it, or about some of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use avtomatika::base::JobId;
use avtomatika::domain::JobStatus;
use avtomatika::runtime::Settings;
use avtomatika::store::{BlobBody, BlobError, BlobInfo, BlobStore, MemoryStore, Offloading};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::away::{Fickle, LATE};
use crate::fixture::Fixture;

/// More than one look brings.
const JOBS: u32 = 600;

/// However much is due, it is tried about once a second, and all of it goes on afterwards.
#[tokio::test(start_paused = true)]
async fn what_is_due_is_not_tried_without_a_pause() {
    let store = Arc::new(Fickle::default());
    let world = Fixture::start_on(Arc::clone(&store), Settings::default(), LATE).await;
    let mut jobs = Vec::new();
    for _ in 0..JOBS {
        jobs.push(world.submit("late", json!({})).await);
    }
    store.refuses(true, true);
    tokio::time::sleep(Duration::from_secs(70)).await;
    let failed = store.failed.load(Ordering::Relaxed);
    assert!((JOBS..=12 * JOBS).contains(&failed), "{failed} tries");
    store.refuses(false, true);
    for job in jobs {
        world.ended(job).await;
    }
    world.stop().await;
}

/// How large values can be had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Way {
    #[default]
    Open,
    /// Whoever asks is told so at once.
    Refused,
    /// Whoever asks waits until that has changed.
    Silent,
}

/// Large values in memory.
#[derive(Default)]
struct Values {
    kept: Mutex<BTreeMap<String, Bytes>>,
    way: watch::Sender<Way>,
    /// How often one could not be had.
    refused: AtomicU32,
}

#[async_trait]
impl BlobStore for Values {
    async fn put(&self, key: &str, body: BlobBody, _: u64) -> Result<BlobInfo, BlobError> {
        let content = Bytes::from(body.try_collect::<Vec<Bytes>>().await?.concat());
        let info = info(key, &content);
        self.kept.lock().unwrap().insert(key.to_owned(), content);
        Ok(info)
    }

    async fn get(&self, key: &str) -> Result<Option<(BlobInfo, BlobBody)>, BlobError> {
        let mut way = self.way.subscribe();
        let is_refused = *way.wait_for(|way| *way != Way::Silent).await.unwrap() == Way::Refused;
        if is_refused {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(BlobError::Unavailable("away".to_owned()));
        }
        let found = self.kept.lock().unwrap().get(key).cloned();
        Ok(found.map(|content| (info(key, &content), stream::iter([Ok(content)]).boxed())))
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

fn info(key: &str, content: &Bytes) -> BlobInfo {
    BlobInfo {
        key: key.to_owned(),
        bytes: content.len() as u64,
        sha256: None,
    }
}

/// Returns a process that has read no values yet, heavy jobs that are due in a minute, and one without large
/// values that is due half a minute after them.
async fn world(heavy: u32) -> (Arc<Values>, Fixture, Vec<JobId>, JobId) {
    let (values, store) = (Arc::new(Values::default()), Arc::new(MemoryStore::new()));
    let mut world = Fixture::start_on(store.clone(), Settings::default(), LATE).await;
    let with_values = || Arc::new(Offloading::new(store.clone(), values.clone(), 64));
    world.ports.jobs = with_values();
    world = world.restart_with(LATE).await;
    let mut jobs = Vec::new();
    for _ in 0..heavy {
        jobs.push(world.submit("late", json!({"x": "a".repeat(1_000)})).await);
    }
    world.ports.jobs = with_values();
    let world = world.restart_with(LATE).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let light = world.submit("late", json!({})).await;
    (values, world, jobs, light)
}

/// A server of files that does not even refuse holds up the jobs that need it, and those alone.
#[tokio::test(start_paused = true)]
async fn what_is_due_waits_for_no_files_of_another() {
    let (values, world, heavy, light) = world(1).await;
    values.way.send_replace(Way::Silent);
    let began = Instant::now();
    world.ended(light).await;
    assert!(
        (60..62).contains(&began.elapsed().as_secs()),
        "{:?}",
        began.elapsed()
    );
    values.way.send_replace(Way::Open);
    for job in heavy {
        assert_eq!(world.ended(job).await.status, JobStatus::Finished);
    }
    world.stop().await;
}

/// Nor do so many that one look brings no others.
#[tokio::test(start_paused = true)]
async fn what_cannot_go_on_keeps_nothing_else_from_it() {
    let (values, world, heavy, light) = world(JOBS).await;
    values.way.send_replace(Way::Refused);
    let began = Instant::now();
    world.ended(light).await;
    assert!(
        (60..62).contains(&began.elapsed().as_secs()),
        "{:?}",
        began.elapsed()
    );
    tokio::time::sleep(Duration::from_secs(30)).await;
    // They have been due for a minute.
    let refused = values.refused.load(Ordering::Relaxed);
    assert!((JOBS..=10 * JOBS).contains(&refused), "{refused} tries");
    values.way.send_replace(Way::Open);
    let began = Instant::now();
    for job in heavy {
        assert_eq!(world.ended(job).await.status, JobStatus::Finished);
    }
    assert!(began.elapsed() < Duration::from_secs(12));
    world.stop().await;
}
