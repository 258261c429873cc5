//! Messages that take long, and the process that sends them.

use std::sync::Arc;
use std::time::Duration;

use avtomatika::domain::JobStatus;
use avtomatika::runtime::Settings;
use avtomatika::store::MemoryStore;
use serde_json::json;

use crate::fixture::{Fixture, new_job};

/// Longer than a message is left to a process that says nothing of it.
const LONG: Duration = Duration::from_secs(20);

const AT_ONCE: &str = "blueprint: at_once\nstart: done\nstates:\n  done: { end: finished }\n";

/// Two processes on one store, of which the first sends a webhook to a receiver that says nothing.
async fn two_and_a_slow_receiver() -> (Fixture, Fixture) {
    let store = Arc::new(MemoryStore::new());
    let first = Fixture::start_on(store.clone(), Settings::default(), AT_ONCE).await;
    let settings = Settings {
        look_every_ms: 2_000,
        ..Settings::default()
    };
    let second = Fixture::start_on(store, settings, AT_ONCE).await;
    // Both have looked at the empty outbox: the first one looks again after half a minute only, and
    // so keeps its message by saying that it is at work with it, or not at all.
    tokio::time::sleep(Duration::from_millis(1)).await;
    first.webhooks.stuck.send_replace(true);
    let mut new = new_job(json!({}));
    new.webhook_url = Some("http://127.0.0.1/hook".to_owned());
    let created = first.runtime.submit("at_once", new).await.unwrap();
    first.webhooks.wait_for(1).await;
    let job = first.job(created.job_id).await;
    assert_eq!(job.status, JobStatus::Finished);
    (first, second)
}

#[tokio::test(start_paused = true)]
async fn a_slow_message_is_left_to_the_process_that_sends_it() {
    let (first, second) = two_and_a_slow_receiver().await;
    tokio::time::sleep(LONG).await;
    first.webhooks.stuck.send_replace(false);
    tokio::time::sleep(LONG).await;
    assert_eq!(first.webhooks.count(), 1);
    assert_eq!(second.webhooks.count(), 0, "the other is still at it");
    first.stop().await;
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_of_a_process_that_is_gone_is_sent_within_seconds() {
    let (first, second) = two_and_a_slow_receiver().await;
    first.runtime.begin_shutdown();
    let sent = second.webhooks.wait_for(1);
    tokio::time::timeout(Duration::from_secs(5), sent)
        .await
        .expect("virtual seconds are enough");
    first.webhooks.stuck.send_replace(false);
    first.stop().await;
    second.stop().await;
}
