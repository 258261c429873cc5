//! What is due while nothing can be done about it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use avtomatika::runtime::Settings;
use serde_json::json;

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
