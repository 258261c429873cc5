//! Batches with so many jobs that PostgreSQL keeps what they begin with in rows of many jobs.

use std::sync::Arc;
use std::time::Duration;

use avtomatika::domain::{Event, Job, JobStatus};
use avtomatika::store::Archive;
use avtomatika::store::archive::Links;
use avtomatika::store::archive::verify::{Scope, Verifier};

use crate::fixtures::*;
use crate::links::{records, verify_days};
use crate::servers::postgres::Postgres;
use crate::suite::{all, find};
use crate::{hasher, on_server};

/// Jobs of a batch.
const JOBS: u16 = 40;

type Tested = Arc<dyn Archive>;

/// Returns a job that waits, or has ended if its number is even, and its three events.
fn told(n: u16, ms: i64) -> (Job, Vec<Event>) {
    let begun = job(n, ms);
    let mut events = vec![event(&begun, 0, ms), event(&begun, 1, ms + 1)];
    let over = ended(&begun, JobStatus::Finished, ms + 2);
    if n.is_multiple_of(2) {
        events.push(event(&over, 0, ms + 2));
        return (over, events);
    }
    events.push(event(&begun, 2, ms + 2));
    (begun, events)
}

fn all_told(ms: i64) -> (Vec<Job>, Vec<Vec<Event>>) {
    (0..JOBS).map(|n| told(n, ms)).unzip()
}

async fn append(archive: &Tested, events: impl IntoIterator<Item = Event>, jobs: &[Job]) {
    let appended = archive.append(batch(events, jobs.to_vec())).await;
    appended.expect("appends");
}

/// The job's events, its links and its record are there.
async fn has(archive: &Tested, job: &Job, events: &[Event]) {
    let read = archive.by_job(job.id, None, 99).await.expect("reads");
    assert_eq!(read, events);
    let after = Some((events[0].revision, events[0].index));
    let read = archive.by_job(job.id, after, 1).await.expect("reads");
    assert_eq!(read, events[1..2]);
    let mut verifier = Verifier::new(hasher(), Scope::Job(job.id), None);
    for link in records(archive, Links::Job(job.id)).await {
        verifier.check(&link).expect("holds");
    }
    assert_eq!(verifier.count(), events.len() as u64);
    let head = archive.head(job.id).await.expect("reads");
    assert_eq!(verifier.job(job.id), head);
    let record = archive.job(job.id).await.expect("reads");
    let expected = job.status.is_terminal().then(|| Job {
        security: None,
        ..job.clone()
    });
    assert_eq!(record, expected);
}

pub async fn keeps_what_many_jobs_begin_with(archive: Tested) {
    let (mut jobs, mut events) = all_told(0);
    append(&archive, events.concat(), &jobs).await;
    for (job, events) in jobs.iter().zip(&events) {
        has(&archive, job, events).await;
    }
    let mut search = all();
    search.jobs.limit = 99;
    assert_eq!(find(&archive, search).await.len(), usize::from(JOBS));
    let count = u64::from(JOBS) * 3;
    assert_eq!(verify_days(&archive).await, Ok(count));
    // It comes twice, then with more of a job that waits, of one that is set going again, and of a new one.
    append(&archive, events.concat(), &jobs).await;
    assert_eq!(verify_days(&archive).await, Ok(count));
    let over = ended(&jobs[1], JobStatus::Finished, 9);
    let again = Job {
        status: JobStatus::WaitingForWorker,
        ended_at: None,
        revision: jobs[2].revision + 1,
        ..jobs[2].clone()
    };
    events[1].push(event(&over, 0, 9));
    events[2].push(event(&again, 0, 9));
    let (new, of_new) = told(JOBS, 20);
    (jobs[1], jobs[2]) = (over, again);
    jobs.push(new);
    events.push(of_new);
    append(&archive, events.concat(), &jobs).await;
    for (job, events) in jobs.iter().zip(&events) {
        has(&archive, job, events).await;
    }
    jobs[2] = ended(&jobs[2], JobStatus::Failed, 30);
    let last = event(&jobs[2], 0, 30);
    events[2].push(last.clone());
    append(&archive, [last], &jobs[2..3]).await;
    has(&archive, &jobs[2], &events[2]).await;
    assert_eq!(verify_days(&archive).await, Ok(count + 6));
}

pub async fn lets_many_jobs_go(archive: Tested) {
    let (jobs, events) = all_told(-90 * DAY);
    append(&archive, events.concat(), &jobs).await;
    // One that waits tells more, an hour later and lately.
    let waits = &jobs[1];
    let later = event(waits, 3, -90 * DAY + 3_600_000);
    append(&archive, [later], std::slice::from_ref(waits)).await;
    let last = event(waits, 4, 0);
    append(&archive, [last.clone()], std::slice::from_ref(waits)).await;
    let month = Some(Duration::from_hours(24 * 30));
    archive.upkeep(NOW, month).await.expect("lets go");
    // Of those that wait something is still to come, but what they told has gone with its time.
    assert!(!find(&archive, all()).await.is_empty());
    assert_eq!(verify_days(&archive).await, Ok(1));
    let read = archive.by_job(waits.id, None, 9).await.expect("reads");
    assert_eq!(read, [last]);
    let kept_from = archive.kept_from().await.expect("reads");
    let mut verifier = Verifier::new(hasher(), Scope::Job(waits.id), kept_from);
    for link in records(&archive, Links::Job(waits.id)).await {
        verifier.check(&link).expect("holds");
    }
    assert_eq!(verifier.count(), 1);
    let over = jobs.iter().filter(|job| !job.status.is_terminal());
    let over: Vec<Job> = over
        .map(|job| ended(job, JobStatus::Finished, -90 * DAY + 9))
        .collect();
    bring(&archive, &over).await;
    archive.upkeep(at(120 * DAY), month).await.expect("lets go");
    assert_eq!(find(&archive, all()).await, []);
    for job in &jobs {
        assert_eq!(archive.job(job.id).await.expect("reads"), None);
        assert_eq!(archive.by_job(job.id, None, 9).await.expect("reads"), []);
    }
}

/// Who changes a part of a row of many jobs is found out.
#[tokio::test(flavor = "multi_thread")]
async fn server_postgres_tells_who_has_changed_a_row_of_many_jobs() {
    let server = Postgres::start();
    let archive = on_server(&server);
    let (jobs, events) = all_told(0);
    let count = u64::from(JOBS) * 3;
    let fill = async || {
        append(&archive, events.concat(), &jobs).await;
        assert_eq!(verify_days(&archive).await, Ok(count));
    };
    fill().await;
    let rows = |table: &str| server.run(&format!("SELECT count(*) FROM {table}"));
    let counts = ["history_segments", "history_events", "history_log"].map(rows);
    assert_eq!(counts, ["1", "0", "120"]);
    let counts = ["history_records", "history_bodies"].map(rows);
    assert_eq!(counts, ["1", "0"], "the records are with the segment");
    // The second job's events are the fourth to the sixth of the day.
    for (change, job_number, day_number) in [
        ("body = (body::jsonb - 4)::text", 2, 5),
        (
            "body = (body::jsonb || (body::jsonb -> 0))::text",
            1,
            count + 1,
        ),
        ("body = '[]'", 1, 1),
        ("hashes = substr(hashes, 1, 64)", 3, 3),
        (
            "hashes = set_byte(hashes, 140, get_byte(hashes, 140) # 1)",
            2,
            5,
        ),
        ("previous_in_day = set_byte(previous_in_day, 3, 1)", 1, 1),
    ] {
        server.run(&format!("UPDATE history_segments SET {change}"));
        let broken = verify_days(&archive).await.expect_err(change);
        let found = (broken.job_number, broken.day_number);
        assert_eq!(found, (job_number, day_number), "{change}: {broken}");
        server.run("TRUNCATE history_segments, history_records, history_jobs, history_days");
        fill().await;
    }
    bring_one(&archive, &job(JOBS, 0)).await;
    server.run("DELETE FROM history_segments");
    let broken = verify_days(&archive).await.expect_err("a gap");
    assert_eq!((broken.job_number, broken.day_number), (1, count + 1));
}

/// Several orchestrators append the same: one of them has come first.
#[tokio::test(flavor = "multi_thread")]
async fn server_postgres_takes_many_jobs_once_from_rivals() {
    let server = Postgres::start();
    let (jobs, events) = all_told(0);
    let mut appends = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (archive, events, jobs) = (on_server(&server), events.concat(), jobs.clone());
        appends.spawn(async move { append(&archive, events, &jobs).await });
    }
    appends.join_all().await;
    let archive = on_server(&server);
    let count = u64::from(JOBS) * 3;
    assert_eq!(verify_days(&archive).await, Ok(count));
    for (job, events) in jobs.iter().zip(&events) {
        has(&archive, job, events).await;
    }
}
