//! Messages that take long, and the process that sends them.

use std::sync::Arc;
use std::time::Duration;

use avtomatika::base::JobId;
use avtomatika::domain::{Job, JobStatus};
use avtomatika::engine::{Effect, Signal};
use avtomatika::runtime::Settings;
use avtomatika::store::{Commit, JobStore as _, MemoryStore};
use serde_json::json;

use crate::fixture::{Fixture, new_job};

/// Longer than a message is left to a process that says nothing of it.
const LONG: Duration = Duration::from_secs(20);

const WAITING: &str = "blueprint: waiting\nstart: wait\nstates:\n  wait: { wait: { for: 30d }, go_to: done }\n  done: { end: finished }\n";
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

/// A job that ends at once, and whose end is told to this address.
async fn tell(world: &Fixture, url: &str) -> JobId {
    let mut new = new_job(json!({}));
    new.webhook_url = Some(url.to_owned());
    let created = world.runtime.submit("at_once", new).await.unwrap();
    created.job_id
}

/// However many webhooks are overdue, as their receiver does not answer, what a process that is gone has
/// left for a job reaches it.
#[tokio::test(start_paused = true)]
async fn a_signal_does_not_wait_behind_webhooks() {
    let store = Arc::new(MemoryStore::new());
    let settings = Settings {
        outbox_concurrency: 1,
        look_every_ms: 2_000,
        ..Settings::default()
    };
    let blueprints = format!("{AT_ONCE}---\n{WAITING}");
    let world = Fixture::start_on(store.clone(), settings, &blueprints).await;
    world.webhooks.stuck.send_replace(true);
    for _ in 0..5 {
        tell(&world, "http://127.0.0.1/hook").await;
    }
    let (sender, child) = (
        world.submit("waiting", json!({})).await,
        world.submit("waiting", json!({})).await,
    );
    // Longer than webhooks are left to whoever has no place for them.
    tokio::time::sleep(LONG).await;
    let (job, now) = (world.job(sender).await, world.runtime.clock().now());
    let signal = Signal::CancelChild {
        child,
        reason: "enough".to_owned(),
    };
    let left = Commit {
        expected_revision: job.revision,
        job: Arc::new(Job {
            revision: job.revision + 1,
            ..job
        }),
        effects: Arc::new(vec![Effect::Signal(signal)]),
        guards: Vec::new(),
        now,
        outbox_due: now,
        settles: None,
    };
    store.commit(left).await.expect("commits");
    let ended = tokio::time::timeout(LONG, world.ended(child)).await;
    assert_eq!(ended.expect("soon").status, JobStatus::Cancelled);
    world.webhooks.stuck.send_replace(false);
    world.webhooks.wait_for(5).await;
    world.stop().await;
}

/// Receivers that do not answer leave places for others.
#[tokio::test(start_paused = true)]
async fn one_receiver_does_not_take_all_places() {
    let settings = Settings {
        outbox_concurrency: 8,
        look_every_ms: 2_000,
        ..Settings::default()
    };
    let store = Arc::new(MemoryStore::new());
    let world = Fixture::start_on(store, settings, AT_ONCE).await;
    world.webhooks.stuck.send_replace(true);
    for _ in 0..20 {
        tell(&world, "http://127.0.0.1:1/hook").await;
    }
    // The scan, too, has found what waits.
    tokio::time::sleep(Duration::from_secs(14)).await;
    tell(&world, "http://127.0.0.1:2/hook").await;
    let sent = world.webhooks.wait_for(5).await;
    let urls: Vec<&str> = sent.iter().map(|sent| sent.url.as_str()).collect();
    let (slow, other) = ("http://127.0.0.1:1/hook", "http://127.0.0.1:2/hook");
    assert_eq!(urls, [slow, slow, slow, slow, other]);
    world.webhooks.stuck.send_replace(false);
    let all = world.webhooks.wait_for(21);
    let all = tokio::time::timeout(Duration::from_secs(5), all).await;
    all.expect("it answers again, and is held up no longer");
    world.stop().await;
}
