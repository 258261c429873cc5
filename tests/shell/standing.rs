//! Parts that do some of their work and not all of it: readiness and figures tell, and nothing flaps.

use std::sync::Arc;
use std::time::Duration;

use avtomatika::runtime::Settings;
use avtomatika::store::{BlobStore, DirBlobStore};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use serde_json::json;

use crate::away::{Fickle, LATE};
use crate::fixture::{Fixture, new_job};

/// Returns whether work can be accepted, what readiness says of a part, whether the figures have it up, and
/// how many outages they know.
async fn seen(world: &Fixture, part: &str) -> (bool, String, bool, u32) {
    let figures = world.runtime.scrape().await;
    let figure = |name: &str| {
        let series = format!("orchestrator_{name}{{part=\"{part}\"}} ");
        let found = figures.lines().find_map(|line| line.strip_prefix(&series));
        found.unwrap().parse::<u32>().unwrap()
    };
    let readiness = world.runtime.readiness().await;
    let check = readiness.checks[part].clone();
    let (up, outages) = (figure("part_up"), figure("part_outages_total"));
    (readiness.ready, check, up == 1, outages)
}

/// As one whose disk has room for what is small: it answers who asks how it is.
#[tokio::test(start_paused = true)]
async fn a_store_that_takes_nothing_large_is_ready_and_says_so() {
    let store = Arc::new(Fickle::default());
    let world = Fixture::start_on(Arc::clone(&store), Settings::default(), LATE).await;
    assert_eq!(
        seen(&world, "store").await,
        (true, "ok".to_owned(), true, 0)
    );
    let degraded = "degraded: it answers, but has failed within the last minute".to_owned();
    for _ in 0..5 {
        store.refuses(true, true);
        let refused = world.runtime.submit("late", new_job(json!({}))).await;
        refused.unwrap_err();
        store.refuses(false, true);
        tokio::time::sleep(Duration::from_secs(50)).await;
        assert_eq!(
            seen(&world, "store").await,
            (true, degraded.clone(), false, 1)
        );
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(
        seen(&world, "store").await,
        (true, "ok".to_owned(), true, 1)
    );
    world.stop().await;
}

/// Whoever asks for readiness again and again has nothing written more often than once a second.
#[tokio::test(start_paused = true)]
async fn a_store_is_asked_how_it_is_once_a_second() {
    let store = Arc::new(Fickle::default());
    let world = Fixture::start_on(Arc::clone(&store), Settings::default(), LATE).await;
    let is_ready = async || world.runtime.readiness().await.ready;
    assert!(is_ready().await);
    store.refuses(true, false);
    assert!(is_ready().await, "it was asked just now");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!is_ready().await);
    store.refuses(false, false);
    assert!(!is_ready().await, "it was asked just now");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(is_ready().await);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_takes_nothing_large_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_owned();
    let blobs = Arc::new(DirBlobStore::open(&root, "files").await.unwrap());
    let world = Fixture::start_with_files(blobs.clone()).await;
    assert_eq!(
        seen(&world, "files").await,
        (true, "ok".to_owned(), true, 0)
    );
    // What comes in is gone before it is put into place: as good as one that could not be written.
    let lost = stream::once(async move {
        for entry in std::fs::read_dir(root.join(".incoming")).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        Ok(Bytes::from_static(b"larger than nothing"))
    });
    let body = stream::iter([Ok(Bytes::new())]).chain(lost).boxed();
    blobs.put("jobs/j/f", body, 99).await.unwrap_err();
    let later = Duration::from_secs(2);
    tokio::time::sleep(later).await;
    let degraded = "degraded: some files could not be read or written within the last minute";
    assert_eq!(
        seen(&world, "files").await,
        (true, degraded.to_owned(), false, 1)
    );
    world.stop().await;
}
