//! Jobs as a whole: families, retries, keys, quotas, restarts, revisions, webhooks, watchers.

use std::sync::atomic::Ordering;
use std::time::Duration;

use avtomatika::base::JobId;
use avtomatika::domain::task::status;
use avtomatika::domain::{EventKind, JobStatus, TaskReport};
use avtomatika::engine::{Ignored, Input};
use avtomatika::runtime::{Applied, RuntimeError};
use serde_json::json;

use crate::POLL;
use crate::fixture::{self, Fixture, data};

#[tokio::test(start_paused = true)]
async fn a_parent_goes_on_when_its_child_has_ended() {
    let world = Fixture::start().await;
    let worker = world.worker("w1", &["work"]).await;
    let parent = world.submit("nested", json!({"x": 7})).await;
    let task = world.take(&worker).await;
    assert_ne!(task.job_id, parent);
    assert_eq!(task.spec.depth, 1);
    world
        .report(&worker, &task, TaskReport::success(data(json!({"y": 8}))))
        .await;
    let ended = world.ended(parent).await;
    assert_eq!(ended.status, JobStatus::Finished);
    assert_eq!(ended.child_job_id, Some(task.job_id));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn cancel_reaches_the_children() {
    let world = Fixture::start().await;
    let worker = world.worker("w1", &["work"]).await;
    let parent = world.submit("nested", json!({})).await;
    let task = world.take(&worker).await;
    let reason = "enough".to_owned();
    world
        .runtime
        .apply(parent, Input::Cancel { reason })
        .await
        .unwrap();
    assert_eq!(
        world.ended(task.job_id).await.status,
        JobStatus::Cancelled,
        "the child"
    );
    assert_eq!(world.job(parent).await.status, JobStatus::Cancelled);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_transient_failure_is_tried_again_after_its_pause() {
    let world = Fixture::start().await;
    let worker = world.worker("w1", &["work"]).await;
    let job = world.submit("one", json!({})).await;
    let first = world.take(&worker).await;
    world
        .report(&worker, &first, TaskReport::failure("TRANSIENT_ERROR", "x"))
        .await;
    let started = tokio::time::Instant::now();
    let second = world.take(&worker).await;
    assert!(started.elapsed() >= Duration::from_millis(800));
    assert_eq!(second.failures, 1);
    let finished = TaskReport {
        status: status::SUCCESS.to_owned(),
        ..TaskReport::success(data(json!({})))
    };
    world.report(&worker, &second, finished).await;
    assert_eq!(world.job(job).await.status, JobStatus::Finished);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_key_makes_one_job() {
    let world = Fixture::start().await;
    let key = |fingerprint: &str| Some(("key-1".to_owned(), fingerprint.to_owned()));
    let mut new = fixture::new_job(json!({}));
    new.idempotency = key("a");
    let submits = (0..20).map(|_| world.runtime.submit("one", new.clone()));
    let created: Vec<_> = futures::future::join_all(submits)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(created.iter().filter(|one| !one.repeated).count(), 1);
    assert!(created.iter().all(|one| one.job_id == created[0].job_id));
    new.idempotency = key("b");
    let other = world.runtime.submit("one", new).await;
    assert!(
        matches!(other, Err(RuntimeError::KeyReused { job_id }) if job_id == created[0].job_id)
    );
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_quota_is_taken_by_creations_only() {
    let world = Fixture::start().await;
    let mut new = fixture::new_job(json!({}));
    new.quota = Some(2);
    for _ in 0..2 {
        world.runtime.submit("one", new.clone()).await.unwrap();
    }
    let third = world.runtime.submit("one", new).await;
    assert!(matches!(
        third,
        Err(RuntimeError::QuotaExceeded { limit: 2 })
    ));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn everything_goes_on_after_a_restart() {
    let world = Fixture::start().await;
    let worker = world.worker("w1", &["work"]).await;
    let queued = world.submit("one", json!({"n": 1})).await;
    let waiting = world.submit("sleeper", json!({})).await;
    let held = world.submit("one", json!({"n": 2})).await;
    let task = world.take(&worker).await;
    let world = world.restart().await;
    let other = world.take(&worker).await;
    assert_ne!(other.id, task.id);
    for task in [&task, &other] {
        let report = TaskReport::success(data(json!({})));
        world.report(&worker, task, report).await;
    }
    for job in [queued, waiting, held] {
        assert_eq!(world.ended(job).await.status, JobStatus::Finished);
    }
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn running_jobs_keep_the_revision_that_they_started_with() {
    let world = Fixture::start().await;
    let worker = world.worker("w1", &["work", "other"]).await;
    let old = world.submit("chain", json!({})).await;
    let changed = fixture::BLUEPRINTS.replace("skill: second", "skill: other");
    world.load(&changed).await;
    let bad = changed.replace("go_to: finished", "go_to: nowhere");
    let problems = world.load(&bad).await;
    assert!(!problems.is_empty());
    let new = world.submit("chain", json!({})).await;
    let world = world.restart_with(&changed).await;
    let second = world.worker("w2", &["second"]).await;
    for _ in 0..2 {
        let task = world.take(&worker).await;
        let report = TaskReport::success(data(json!({})));
        world.report(&worker, &task, report).await;
    }
    let task = world.take(&second).await;
    assert_eq!(task.job_id, old);
    let task = world.take(&worker).await;
    assert_eq!((task.job_id, task.spec.skill.as_str()), (new, "other"));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn webhooks_are_tried_until_the_receiver_answers() {
    let world = Fixture::start().await;
    world.webhooks.refuse_next(3);
    let worker = world.worker("w1", &["work"]).await;
    let mut new = fixture::new_job(json!({}));
    new.webhook_url = Some("https://example.org/hook".to_owned());
    let job = world.runtime.submit("one", new).await.unwrap().job_id;
    let task = world.take(&worker).await;
    let report = TaskReport::success(data(json!({})));
    world.report(&worker, &task, report).await;
    let tries = world.webhooks.wait_for(4).await;
    let bodies: Vec<_> = tries.iter().map(|request| &request.body).collect();
    assert!(bodies.windows(2).all(|two| two[0] == two[1]), "same bytes");
    let id = |n: usize| &tries[n].headers[0];
    assert!((1..4).all(|n| id(n) == id(0)), "same id");
    assert!(
        tries[0]
            .headers
            .iter()
            .any(|(name, _)| *name == "webhook-signature")
    );
    world
        .until(async || world.runtime.deliveries(job, 10).await.unwrap()[0].status == "delivered")
        .await;
    world.stop().await;
}

/// Runs a job to its end whose webhook nobody takes; returns the job.
async fn end_untold(world: &Fixture) -> JobId {
    world.webhooks.refuse_next(u64::MAX);
    let worker = world.worker("w1", &["work"]).await;
    let mut new = fixture::new_job(json!({}));
    new.webhook_url = Some("https://example.org/hook".to_owned());
    let job = world.runtime.submit("one", new).await.unwrap().job_id;
    let task = world.take(&worker).await;
    world
        .report(&worker, &task, TaskReport::success(data(json!({}))))
        .await;
    world.webhooks.wait_for(1).await;
    job
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_nobody_takes_is_a_dead_letter_after_a_day() {
    let world = Fixture::start().await;
    let job = end_untold(&world).await;
    let log = async || world.runtime.deliveries(job, 10).await.unwrap().remove(0);
    tokio::time::sleep(Duration::from_hours(21)).await;
    let trying = log().await;
    assert_eq!(trying.status, "pending", "{trying:?}");
    tokio::time::sleep(Duration::from_hours(4)).await;
    let dead = log().await;
    assert_eq!(dead.status, "dead", "{dead:?}");
    assert_eq!(dead.last_error.as_deref(), Some("503"));
    let day = Duration::from_hours(24);
    let tried_for = dead.updated_at.since(dead.created_at);
    assert!(
        tried_for <= day && tried_for > Duration::from_hours(21),
        "{tried_for:?}"
    );
    let sent = world.webhooks.wait_for(1).await.len();
    assert_eq!(dead.attempts as usize, sent);
    tokio::time::sleep(Duration::from_hours(48)).await;
    assert_eq!(log().await, dead);
    assert_eq!(
        world.webhooks.wait_for(1).await.len(),
        sent,
        "no try after it"
    );
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_webhook_to_an_address_that_is_refused_is_a_dead_letter_at_once() {
    let world = Fixture::start().await;
    world.webhooks.is_final.store(true, Ordering::Relaxed);
    let job = end_untold(&world).await;
    world
        .until(async || world.runtime.deliveries(job, 10).await.unwrap()[0].status == "dead")
        .await;
    tokio::time::sleep(Duration::from_hours(25)).await;
    let log = world.runtime.deliveries(job, 10).await.unwrap();
    assert_eq!((log.len(), log[0].attempts), (1, 1), "{log:?}");
    assert_eq!(world.webhooks.wait_for(1).await.len(), 1, "one try");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn watchers_see_every_event_in_order() {
    let world = Fixture::start().await;
    let worker = world.worker("w1", &["work"]).await;
    let job = world.submit("one", json!({})).await;
    let mut watch = world.runtime.watch(job);
    let task = world.take(&worker).await;
    let report = TaskReport::success(data(json!({})));
    world.report(&worker, &task, report).await;
    let mut seen = Vec::new();
    while let Some(event) = watch.next().await {
        seen.push((event.revision, event.index));
        if event.kind == EventKind::JobFinished {
            break;
        }
    }
    assert!(seen.windows(2).all(|two| two[0] < two[1]), "{seen:?}");
    let stored = world.runtime.history(job, Some((1, u32::MAX)), 100).await;
    let stored: Vec<_> = stored
        .unwrap()
        .iter()
        .map(|e| (e.revision, e.index))
        .collect();
    assert_eq!(seen, stored);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_reliable_worker_is_preferred_once_the_cheap_one_has_failed_enough() {
    let world = Fixture::start().await;
    let cheap = world.priced_worker("cheap", 0.000_09).await;
    let dear = world.priced_worker("dear", 0.000_1).await;
    let mut chosen = Vec::new();
    for _ in 0..8 {
        let (a, b) = (world.runtime.clone(), world.runtime.clone());
        let polls = async {
            tokio::select! {
                biased;
                handout = a.poll(&cheap, POLL) => handout,
                handout = b.poll(&dear, POLL) => handout,
            }
        };
        let (handout, _) = tokio::join!(polls, world.submit_later("valued", json!({})));
        let handout = handout.unwrap().unwrap();
        let task = handout.task().clone();
        handout.delivered();
        let worker = task.lease.as_ref().unwrap().worker.clone();
        chosen.push(worker.to_string());
        let report = if worker == cheap {
            TaskReport::failure("PERMANENT_ERROR", "broken")
        } else {
            TaskReport::success(data(json!({})))
        };
        world.report(&worker, &task, report).await;
        world.settle_reputation().await;
    }
    assert_eq!(chosen[0], "cheap");
    assert_eq!(chosen[7], "dear", "{chosen:?}");
    assert!(world.runtime.worker(&cheap).unwrap().reputation < 0.95);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn shutting_down_answers_polls_and_takes_what_is_on_its_way() {
    let world = Fixture::start().await;
    let worker = world.worker("w1", &["work"]).await;
    let poll = world.runtime.poll(&worker, POLL);
    let (answer, ()) = tokio::join!(poll, async { world.runtime.begin_shutdown() });
    assert!(answer.unwrap().is_none());
    assert!(!world.runtime.readiness().await.ready);
    let submit = || world.runtime.submit("one", fixture::new_job(json!({})));
    let on_its_way = submit().await.expect("it is still taken");
    let job = world.job(on_its_way.job_id).await;
    assert_eq!(job.status, JobStatus::WaitingForWorker);
    world.runtime.shutdown().await;
    assert!(matches!(submit().await, Err(RuntimeError::ShuttingDown)));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_decision_counts_for_its_own_question_only() {
    let world = Fixture::start().await;
    let job = world.submit("asked", json!({})).await;
    let visit = world.job(job).await.visit;
    let decision = Input::Decided {
        visit,
        decision: "yes".to_owned(),
        metadata: None,
        security: None,
    };
    world.runtime.apply(job, decision.clone()).await.unwrap();
    let late = world.runtime.apply(job, decision).await.unwrap();
    assert_eq!(late, Applied::Ignored(Ignored::NotWaiting));
    assert_eq!(world.job(job).await.state, "second");
    world.stop().await;
}
