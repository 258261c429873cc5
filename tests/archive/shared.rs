//! A feed that another orchestrator is at: nothing is to be had from it here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use avtomatika::runtime::Settings;
use avtomatika::store::{FeedBatch, HistoryFeed, StoreError};

use crate::export::{World, in_file, in_folder};
use crate::unsteady::Unsteady;

struct Shared {
    inner: Arc<dyn HistoryFeed>,
    is_elsewhere: AtomicBool,
    looks: AtomicU32,
}

#[async_trait]
impl HistoryFeed for Shared {
    async fn read_feed(&self, limit: u32) -> Result<FeedBatch, StoreError> {
        if self.is_elsewhere.load(Ordering::SeqCst) {
            self.looks.fetch_add(1, Ordering::SeqCst);
            return Ok(FeedBatch::default());
        }
        self.inner.read_feed(limit).await
    }

    async fn acknowledge_feed(&self, through: &str) -> Result<(), StoreError> {
        self.inner.acknowledge_feed(through).await
    }

    async fn feed_length(&self) -> Result<u64, StoreError> {
        self.inner.feed_length().await
    }
}

impl Shared {
    /// Waits until it has been looked into so many times more.
    async fn is_looked_into(&self, times: u32) {
        let until = self.looks.load(Ordering::SeqCst) + times;
        let looked = async {
            while self.looks.load(Ordering::SeqCst) < until {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), looked)
            .await
            .expect("it is looked into");
    }
}

/// Two orchestrators take the feed by turns: who has it finds the archive full, the other finds that it
/// answers.
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_is_full_is_one_outage_whoever_has_the_feed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archive = Unsteady::over(in_file(&folder));
    let store = in_folder(&folder);
    let shared = Arc::new(Shared {
        inner: store.clone(),
        is_elsewhere: AtomicBool::new(false),
        looks: AtomicU32::new(0),
    });
    let settings = Settings {
        look_every_ms: 50,
        ..Settings::default()
    };
    let feed = Arc::clone(&shared);
    let world = World::with(store, archive.clone(), folder, settings, |ports| {
        let export = ports.export.as_mut().expect("there is an archive");
        export.feed = feed;
    });
    let world = world.await;
    archive.is_full.store(true, Ordering::SeqCst);
    let jobs = world.run(3).await;
    world.says("degraded since").await;
    shared.is_elsewhere.store(true, Ordering::SeqCst);
    shared.is_looked_into(4).await;
    assert!(world.state().await.starts_with("degraded since"));

    // The other one gets on with it.
    archive.is_full.store(false, Ordering::SeqCst);
    let batch = shared.inner.read_feed(1).await.expect("reads");
    let through = batch.through.clone();
    let appended = avtomatika::store::Archive::append(archive.as_ref(), Arc::new(batch));
    appended.await.expect("appends");
    shared.acknowledge_feed(&through).await.expect("forgets");
    assert!(shared.feed_length().await.expect("counts") > 0);
    world.says("ok").await;
    shared.is_elsewhere.store(false, Ordering::SeqCst);
    world.is_through().await;
    world.has_arrived(&jobs).await;
    world.runtime.shutdown().await;
}
