//! The shell over the memory store on virtual time: what happens around a step, not in it.

#![expect(
    clippy::unwrap_used,
    reason = "a fixture's surprise is the test's failure"
)]

mod away;
mod blueprints;
mod claims;
mod due;
mod fan_out;
mod files;
mod fixture;
mod fleet;
mod heavy;
mod jobs;
mod loads;
mod metrics;
mod missed;
mod reserved;
mod revisions;
#[expect(dead_code, reason = "shared with other tests of files in S3")]
#[path = "../servers/s3.rs"]
mod s3;
#[expect(dead_code, reason = "shared with other tests of real servers")]
#[path = "../servers/mod.rs"]
mod servers;
mod slow;
mod standing;
mod workers;

use std::time::Duration;

use avtomatika::domain::{JobStatus, TaskReport};
use avtomatika::engine::{Answer, Ignored, Input};
use avtomatika::runtime::{Applied, Beat, Notice, PollRequest, Reported};
use fixture::{Fixture, data};
use serde_json::json;
use uuid::Uuid;

pub const POLL: Duration = Duration::from_secs(30);

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
async fn what_a_worker_says_that_it_did_not_get_is_queued_again() {
    let world = Fixture::start().await;
    let (worker, other) = (
        world.worker("w1", &["work"]).await,
        world.worker("w2", &["work"]).await,
    );
    let job = world.submit("one", json!({})).await;
    let lease = Uuid::from_u128(7);
    let asks = |wait, lost: &[Uuid]| PollRequest {
        wait,
        lease: Some(Uuid::from_u128(8)),
        lost: lost.to_vec(),
    };
    let first = PollRequest {
        lease: Some(lease),
        ..PollRequest::from(POLL)
    };
    let handout = world.runtime.poll(&worker, first).await.unwrap().unwrap();
    let first = handout.task().clone();
    assert_eq!(first.lease.as_ref().unwrap().id, lease);
    // As by an orchestrator that was killed before it could answer.
    handout.delivered();

    let short = Duration::from_secs(1);
    for (who, lost) in [(&other, lease), (&worker, Uuid::from_u128(9))] {
        let polled = world.runtime.poll(who, asks(short, &[lost])).await.unwrap();
        assert!(polled.is_none(), "that is not what {who} had");
    }
    let started = tokio::time::Instant::now();
    let polled = world.runtime.poll(&worker, asks(POLL, &[lease])).await;
    let again = polled.unwrap().expect("the task");
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert_eq!((again.task().job_id, again.task().losses), (job, 1));
    let id = again.task().id.clone();
    assert_ne!(id, first.id, "it is another delivery");
    again.delivered();
    // Said once more, it does not touch what the worker has got.
    let polled = world.runtime.poll(&worker, asks(short, &[lease])).await;
    assert!(polled.unwrap().is_none());
    let success = || TaskReport::success(data(json!({"done": true})));
    let late = world.runtime.report(&worker, job, &first.id, success());
    assert_eq!(late.await.unwrap(), Reported::Ignored(Ignored::StaleTask));
    let answer = world.runtime.report(&worker, job, &id, success()).await;
    assert_eq!(
        answer.unwrap(),
        Reported::Accepted(Answer::SuccessTransition)
    );
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
    assert_eq!(
        answer.unwrap().cancel_task_ids,
        std::slice::from_ref(&task.id)
    );
    let late = world
        .runtime
        .report(&worker, job, &task.id, TaskReport::success(data(json!({}))))
        .await
        .unwrap();
    assert!(matches!(late, Reported::Ignored(_)), "{late:?}");
    assert_eq!(world.job(job).await.status, JobStatus::Cancelled);
    world.stop().await;
}
