//! The shell over the memory store on virtual time: what happens around a step, not in it.

mod fixture;

use std::time::Duration;

use avtomatika::domain::task::status;
use avtomatika::domain::{EventKind, JobStatus, TaskReport};
use avtomatika::engine::{Answer, Ignored, Input};
use avtomatika::runtime::{Applied, Beat, Notice, Reported, RuntimeError};
use fixture::{Fixture, data};
use serde_json::json;

const POLL: Duration = Duration::from_secs(30);

#[tokio::test(start_paused = true)]
async fn a_queued_task_is_handed_out_at_once() {
    let world = Fixture::start().await;
    let worker = world.worker("w1", &["work"]).await;
    let job = world.submit("one", json!({"x": 1})).await;
    let handout = world
        .runtime
        .poll(&worker, POLL)
        .await
        .unwrap()
        .expect("a task");
    let task = handout.task().clone();
    assert_eq!(task.job_id, job);
    assert_eq!(task.spec.params["x"], 1);
    assert_eq!(task.lease.as_ref().unwrap().worker, worker);
    handout.delivered();
    let report = TaskReport::success(data(json!({"done": true})));
    let answer = world
        .runtime
        .report(&worker, job, &task.id, report.clone())
        .await
        .unwrap();
    assert_eq!(answer, Reported::Accepted(Answer::SuccessTransition));
    let ended = world.job(job).await;
    assert_eq!(ended.status, JobStatus::Finished);
    assert_eq!(ended.result, Some(json!(true)));
    // The worker did not hear the answer and sends the result again.
    let again = world
        .runtime
        .report(&worker, job, &task.id, report)
        .await
        .unwrap();
    assert_eq!(again, Reported::Accepted(Answer::SuccessTransition));
    assert_eq!(world.job(job).await.revision, ended.revision);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_open_poll_is_answered_by_the_submission() {
    let world = Fixture::start().await;
    let worker = world.worker("w1", &["work"]).await;
    let started = tokio::time::Instant::now();
    let (polled, job) = tokio::join!(world.runtime.poll(&worker, POLL), async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        world.submit("one", json!({})).await
    });
    assert_eq!(polled.unwrap().expect("a task").task().job_id, job);
    assert_eq!(started.elapsed(), Duration::from_secs(3));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_poll_without_work_ends_with_its_window() {
    let world = Fixture::start().await;
    let worker = world.worker("w1", &["other"]).await;
    world.submit("one", json!({})).await;
    let started = tokio::time::Instant::now();
    assert!(world.runtime.poll(&worker, POLL).await.unwrap().is_none());
    assert_eq!(started.elapsed(), POLL);
    assert_eq!(world.runtime.queue_depth(), 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_undelivered_handout_goes_back_to_the_queue() {
    let world = Fixture::start().await;
    let first = world.worker("w1", &["work"]).await;
    let second = world.worker("w2", &["work"]).await;
    let job = world.submit("one", json!({})).await;
    let handout = world.runtime.poll(&first, POLL).await.unwrap().unwrap();
    let id = handout.task().id.clone();
    drop(handout);
    let started = tokio::time::Instant::now();
    let handout = world.runtime.poll(&second, POLL).await.unwrap().unwrap();
    assert_eq!(handout.task().id, id, "no attempt is counted");
    assert_eq!(started.elapsed(), Duration::ZERO);
    let late = world
        .runtime
        .report(&first, job, &id, TaskReport::success(data(json!({}))))
        .await
        .unwrap();
    assert_eq!(late, Reported::Ignored(Ignored::WorkerMismatch));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_closed_poll_takes_no_task_with_it() {
    let world = Fixture::start().await;
    let gone = world.worker("gone", &["work"]).await;
    let here = world.worker("here", &["work"]).await;
    {
        let poll = world.runtime.poll(&gone, POLL);
        let waited = tokio::time::timeout(Duration::from_secs(1), poll).await;
        assert!(waited.is_err(), "the connection goes before work comes");
    }
    let job = world.submit("one", json!({})).await;
    let handout = world.runtime.poll(&here, POLL).await.unwrap().unwrap();
    assert_eq!(handout.task().job_id, job);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_workers_task_goes_to_another_within_its_lease() {
    let world = Fixture::start().await;
    let dead = world.worker("dead", &["work"]).await;
    let alive = world.worker("alive", &["work"]).await;
    let job = world.submit("one", json!({})).await;
    let first = world.take(&dead).await;
    let started = tokio::time::Instant::now();
    let second = world.take(&alive).await;
    assert!(started.elapsed() <= Duration::from_secs(30));
    assert_ne!(first.id, second.id, "each delivery has an id of its own");
    assert_eq!((second.losses, second.failures), (1, 0));
    let stale = TaskReport::success(data(json!({})));
    let answer = world
        .runtime
        .report(&dead, job, &first.id, stale)
        .await
        .unwrap();
    assert_eq!(answer, Reported::Ignored(Ignored::StaleTask));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn heartbeats_that_name_the_task_keep_its_lease() {
    let world = Fixture::start().await;
    let worker = world.worker("w1", &["work"]).await;
    let job = world.submit("one", json!({})).await;
    let task = world.take(&worker).await;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(15)).await;
        let beat = Beat {
            current_tasks: Some(vec![task.id.clone()]),
            ..Beat::default()
        };
        let answer = world
            .runtime
            .heartbeat(&worker, beat)
            .await
            .unwrap()
            .expect("known");
        assert_eq!(answer.cancel_task_ids, []);
    }
    let done = TaskReport::success(data(json!({})));
    let answer = world
        .runtime
        .report(&worker, job, &task.id, done)
        .await
        .unwrap();
    assert_eq!(answer, Reported::Accepted(Answer::SuccessTransition));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_kills_its_workers_is_quarantined() {
    let world = Fixture::start().await;
    let job = world.submit("one", json!({})).await;
    for number in 1..=3 {
        let victim = world.worker(&format!("victim{number}"), &["work"]).await;
        world.take(&victim).await;
    }
    let ended = world.ended(job).await;
    assert_eq!(ended.status, JobStatus::Quarantined);
    let error = ended.error.unwrap();
    assert_eq!(error.code, "worker_lost");
    assert!(error.message.contains("victim2"), "{}", error.message);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn cancel_tells_the_socket_and_the_heartbeat() {
    let world = Fixture::start().await;
    let worker = world.worker("w1", &["work"]).await;
    let mut notices = world.runtime.open_socket(&worker);
    let job = world.submit("one", json!({})).await;
    let task = world.take(&worker).await;
    let reason = "enough".to_owned();
    let applied = world.runtime.apply(job, Input::Cancel { reason }).await;
    assert!(matches!(applied, Ok(Applied::Advanced { .. })));
    let notice = notices.recv().await.unwrap();
    let expected = Notice::CancelTask {
        task_id: task.id.clone(),
        job_id: job,
    };
    assert_eq!(notice, expected);
    let beat = Beat {
        current_tasks: Some(vec![task.id.clone()]),
        ..Beat::default()
    };
    let answer = world.runtime.heartbeat(&worker, beat).await.unwrap();
    assert_eq!(answer.unwrap().cancel_task_ids, [task.id.clone()]);
    let late = world
        .runtime
        .report(&worker, job, &task.id, TaskReport::success(data(json!({}))))
        .await
        .unwrap();
    assert!(matches!(late, Reported::Ignored(_)), "{late:?}");
    assert_eq!(world.job(job).await.status, JobStatus::Cancelled);
    world.stop().await;
}

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
async fn shutting_down_answers_polls_and_takes_no_more() {
    let world = Fixture::start().await;
    let worker = world.worker("w1", &["work"]).await;
    let poll = world.runtime.poll(&worker, POLL);
    let (answer, ()) = tokio::join!(poll, async { world.runtime.begin_shutdown() });
    assert!(answer.unwrap().is_none());
    let refused = world
        .runtime
        .submit("one", fixture::new_job(json!({})))
        .await;
    assert!(matches!(refused, Err(RuntimeError::ShuttingDown)));
    assert!(!world.runtime.readiness().await.ready);
    world.stop().await;
}
