//! Files that no job has any more.

use std::sync::Arc;
use std::time::Duration;

use avtomatika::base::JobId;
use avtomatika::domain::TaskReport;
use avtomatika::runtime::Settings;
use avtomatika::store::{BlobStore, DirBlobStore};
use bytes::Bytes;
use futures::StreamExt as _;
use serde_json::json;

use crate::blueprints::BLUEPRINTS;
use crate::fixture::{Fixture, data};

const DAY: Duration = Duration::from_hours(24);

async fn put(blobs: &DirBlobStore, key: &str) {
    let body = futures::stream::iter([Ok(Bytes::from_static(b"x"))]).boxed();
    blobs.put(key, body, 9).await.unwrap();
}

async fn files_of(blobs: &DirBlobStore, job: JobId) -> usize {
    blobs.list(&format!("jobs/{job}/")).await.unwrap().len()
}

/// As a crash leaves them between the purge of a job and the deletion of its files.
#[tokio::test(start_paused = true)]
async fn files_of_no_job_go_after_a_day() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Arc::new(DirBlobStore::open(folder.path(), "files").await.unwrap());
    let world = Fixture::start_with_files(blobs.clone()).await;
    let now = world.runtime.clock().now();
    let alive = world.submit("one", json!({})).await;
    let young = JobId::from_parts(now.after(DAY / 2), [1; 10]);
    let old = JobId::from_parts(avtomatika::base::Timestamp(now.0 - 86_400_000), [2; 10]);
    for job in [alive, young, old] {
        put(&blobs, &format!("jobs/{job}/in.png")).await;
        put(&blobs, &format!("jobs/{job}/out/a.png")).await;
    }
    put(&blobs, "jobs/readme/x").await;
    tokio::time::sleep(DAY).await;
    world.until(async || files_of(&blobs, old).await == 0).await;
    assert_eq!(files_of(&blobs, alive).await, 2);
    assert_eq!(
        files_of(&blobs, young).await,
        2,
        "its job may be on its way"
    );
    tokio::time::sleep(DAY).await;
    world
        .until(async || files_of(&blobs, young).await == 0)
        .await;
    assert_eq!(files_of(&blobs, alive).await, 2);
    assert_eq!(
        blobs.folders("jobs/").await.unwrap(),
        [alive.to_string(), "readme".to_owned()]
    );
    world.stop().await;
}

/// Nor while a second deployment has the same files, or this one's store has lost its jobs.
#[tokio::test(start_paused = true)]
async fn files_of_no_job_stay_while_they_may_be_another_deployments() {
    const OTHER: &str = "deployments/f7c80e3e-5b52-4b5c-a1ea-6b6f0e7f0000";
    let folder = tempfile::tempdir().unwrap();
    let blobs = Arc::new(DirBlobStore::open(folder.path(), "files").await.unwrap());
    let world = Fixture::start_with_files(blobs.clone()).await;
    let now = world.runtime.clock().now();
    let old = JobId::from_parts(avtomatika::base::Timestamp(now.0 - 86_400_000), [2; 10]);
    put(&blobs, &format!("jobs/{old}/x")).await;
    let write = async |text: String| {
        let body = futures::stream::iter([Ok(Bytes::from(text))]).boxed();
        blobs.put(OTHER, body, 99).await.unwrap();
    };
    write(json!({"since": now, "seen": now}).to_string()).await;
    tokio::time::sleep(DAY * 6 + DAY / 2).await;
    assert_eq!(files_of(&blobs, old).await, 1, "the other may have its job");
    // The other was not heard of for a week.
    tokio::time::sleep(DAY).await;
    world.until(async || files_of(&blobs, old).await == 0).await;
    let markers = blobs.list("deployments/").await.unwrap();
    assert_eq!(markers.len(), 1, "its own is left");

    // Whose this one is cannot be told.
    write("damaged".to_owned()).await;
    put(&blobs, &format!("jobs/{old}/x")).await;
    tokio::time::sleep(DAY * 9).await;
    assert_eq!(files_of(&blobs, old).await, 1);
    blobs.delete_prefix(OTHER).await.unwrap();
    tokio::time::sleep(DAY).await;
    world.until(async || files_of(&blobs, old).await == 0).await;
    world.stop().await;
}

/// It has files there, whatever becomes of them: the others are to know.
#[tokio::test(start_paused = true)]
async fn a_deployment_that_deletes_no_files_leaves_its_marker() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Arc::new(DirBlobStore::open(folder.path(), "files").await.unwrap());
    let settings = Settings {
        deletes_files: false,
        ..Settings::default()
    };
    let world = Fixture::start_heavy(blobs.clone(), usize::MAX, settings).await;
    let old = JobId::from_parts(avtomatika::base::Timestamp(0), [2; 10]);
    put(&blobs, &format!("jobs/{old}/x")).await;
    let has_marker = async || blobs.list("deployments/").await.unwrap().len() == 1;
    world.until(has_marker).await;
    tokio::time::sleep(DAY * 3).await;
    assert_eq!(files_of(&blobs, old).await, 1);
    world.stop().await;
}

/// All that is below the job's own prefix, whoever has put it there, and nothing else.
#[tokio::test(start_paused = true)]
async fn files_go_with_their_job() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Arc::new(DirBlobStore::open(folder.path(), "files").await.unwrap());
    let world = Fixture::start_with_files(blobs.clone()).await;
    let brief = BLUEPRINTS.replace(
        "blueprint: one\n",
        "blueprint: one\nlimits: { retention: 1h }\n",
    );
    assert_eq!(world.load(&brief).await, Vec::<String>::new());
    let worker = world.worker("w1", &["work"]).await;
    let over = world.submit("one", json!({})).await;
    let task = world.take(&worker).await;
    let open = world.submit("one", json!({})).await;
    for job in [over, open] {
        put(&blobs, &format!("jobs/{job}/in.png")).await;
        put(&blobs, &format!("jobs/{job}/out/a.png")).await;
    }
    let report = TaskReport::success(data(json!({})));
    world.report(&worker, &task, report).await;
    tokio::time::sleep(Duration::from_mins(58)).await;
    assert_eq!(files_of(&blobs, over).await, 2);
    tokio::time::sleep(Duration::from_mins(4)).await;
    world
        .until(async || files_of(&blobs, over).await == 0)
        .await;
    assert!(world.runtime.job(over).await.unwrap().is_none());
    assert_eq!(files_of(&blobs, open).await, 2);
    world.stop().await;
}
