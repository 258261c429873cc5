//! Revisions of blueprints: each job keeps its own, and what no job has goes.

use std::sync::Arc;
use std::time::Duration;

use avtomatika::domain::{JobStatus, TaskReport};
use avtomatika::runtime::Settings;
use avtomatika::store::{JobStore, MemoryStore};
use serde_json::json;

use crate::blueprints::BLUEPRINTS;
use crate::fixture::{Fixture, data};

/// Takes over files in which every blueprint `one` has another default; returns its revision.
async fn change(world: &Fixture, number: u32) -> String {
    let text = BLUEPRINTS.replace("default(0)", &format!("default({number})"));
    assert_eq!(world.load(&text).await, Vec::<String>::new());
    let catalog = world.runtime.blueprints();
    catalog.get("one").expect("is there").revision.clone()
}

#[tokio::test(start_paused = true)]
async fn a_replaced_revision_goes_with_its_last_job() {
    let store = Arc::new(MemoryStore::new());
    let world = Fixture::start_over(store.clone(), None, Settings::default()).await;
    let worker = world.worker("w1", &["work"]).await;
    let first = change(&world, 1).await;
    let job = world.submit("one", json!({})).await;
    let second = change(&world, 2).await;
    let newest = change(&world, 3).await;
    let known = async |revision: &str| {
        let source = store.blueprint_source("one", revision).await;
        source.unwrap().is_some()
    };
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert!(known(&second).await, "a submission may be on its way");
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert!(!known(&second).await);
    assert!(known(&first).await && known(&newest).await);

    // What has gone comes back with its file.
    assert_eq!(change(&world, 2).await, second);
    assert!(known(&second).await);
    tokio::time::sleep(Duration::from_mins(15)).await;
    assert!(known(&second).await && !known(&newest).await);
    let world = world.restart().await;
    let task = world.take(&world.worker("w1", &["work"]).await).await;
    assert_eq!((task.job_id, &task.spec.params["x"]), (job, &json!(1)));
    let report = TaskReport::success(data(json!({})));
    world.report(&worker, &task, report).await;
    assert_eq!(world.job(job).await.status, JobStatus::Finished);
    world.stop().await;
}
