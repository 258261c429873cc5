//! Files of earlier versions, and how the present one lays out a job.

use std::sync::Arc;

use avtomatika::base::JobId;
use avtomatika::domain::{Event, EventKind, Job, JobStatus};
use avtomatika::engine::Effect;
use avtomatika::store::{
    EventText, HistoryFeed, HistoryStore, JobQuery, JobStore, MessageKind, SqliteSettings,
    SqliteStore, StoreError, WorkerStore,
};
use rusqlite::Connection;
use serde_json::json;

use crate::fixtures::*;
use crate::sqlite_only::open;

#[tokio::test]
async fn a_file_of_version_1_stays_readable() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("jobs.db");
    let db = Connection::open(&path).expect("opens");
    db.execute_batch(include_str!("../data/store_v1.sql"))
        .expect("runs");
    drop(db);
    let store = open(&path);
    let jobs = store
        .list(JobQuery {
            limit: 9,
            ..JobQuery::default()
        })
        .await
        .expect("lists");
    let expected = |n: u16| Job {
        labels: [("team".to_owned(), "blue".to_owned())].into(),
        wake_at: Some(at(5000)),
        ..job(n)
    };
    assert_eq!(jobs, [expected(2), expected(1)]);
    for job in &jobs {
        let tasks = store.open_tasks(job.id, 9).await.expect("reads");
        let lines = store.by_job(job.id, None, 9).await.expect("reads");
        let hooks = store.deliveries(job.id, 9).await.expect("reads");
        assert_eq!(
            (tasks.len(), lines.len(), hooks.len()),
            (2, 1, 1),
            "{}",
            job.id
        );
        let ended = store.branches(job.id, job.visit).await.expect("reads");
        assert!(ended.iter().any(|task| task.report.is_some()));
        for kind in [MessageKind::Signal, MessageKind::Webhook] {
            let messages = store
                .take_outbox(kind, at(1_000_000), at(1_000_001), 9)
                .await;
            messages.expect("reads");
        }
        let step = commit(
            next(job),
            vec![Effect::EndTasks { visit: job.visit }],
            vec![],
        );
        store.commit(step).await.expect("goes on");
    }
    assert_eq!(store.list_workers().await.expect("reads").len(), 1);
    assert!(
        store
            .find_access_token("access-1")
            .await
            .expect("reads")
            .is_some()
    );
    assert!(
        store
            .find_by_key(&"acme".into(), "k1", NOW)
            .await
            .expect("reads")
            .is_some()
    );
    assert_eq!(store.data_stores("render").await.expect("reads").len(), 1);
    let forgotten = store.purge_blueprints(&[]).await.expect("purges");
    assert_eq!(forgotten, [], "its jobs are pinned to it");
    assert!(
        store
            .blueprint_source("render", "r1")
            .await
            .expect("reads")
            .is_some()
    );
}

#[tokio::test]
async fn a_job_of_version_1_keeps_what_it_was_given_exactly() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("jobs.db");
    let db = Connection::open(&path).expect("opens");
    db.execute_batch(include_str!("../data/store_v1.sql"))
        .expect("runs");
    let mut whole = job(1);
    let numbers = [f64::MAX, 5e-324, -0.0, 0.1 + 0.2, 1e21].map(serde_json::Value::from);
    let integers = [u64::MAX, 9_007_199_254_740_993].map(serde_json::Value::from);
    whole.initial_data = Arc::new(json!([numbers, integers, "\u{1}\"\\ ü\u{2028}", {"": null}]));
    whole.policy = json!({"allowed_skills": ["a"], "z": 1, "b": 2})
        .as_object()
        .cloned();
    whole.tracing_context = [("traceparent".to_owned(), "00-1".to_owned())].into();
    let body = serde_json::to_string(&whole).expect("a job is JSON");
    let set = |n: u16, body: &str| {
        let key = job_id(n).0;
        db.execute(
            "UPDATE jobs SET body = ?2 WHERE id = ?1",
            (key.as_bytes(), body),
        )
        .expect("writes")
    };
    assert_eq!((set(1, &body), set(2, "{\"id\": 7")), (1, 1));
    drop(db);

    let store = open(&path);
    assert_eq!(store.load(job_id(1)).await.expect("loads"), Some(whole));
    let damaged = store.load(job_id(2)).await;
    assert!(
        matches!(damaged, Err(StoreError::Corrupt(_))),
        "{damaged:?}"
    );
}

#[tokio::test]
async fn a_commit_writes_the_same_however_large_the_initial_data() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("jobs.db");
    let store = open(&path);
    let mut large = job(1);
    large.initial_data = Arc::new(json!("x".repeat(1 << 20)));
    for job in [&large, &job(2)] {
        store
            .commit(commit(job.clone(), vec![], vec![]))
            .await
            .expect("commits");
        let step = commit(next(job), vec![], vec![]);
        store.commit(step).await.expect("commits");
    }
    let db = Connection::open(&path).expect("opens");
    let written = |n: u16| -> i64 {
        let sql = "SELECT length(body) FROM jobs WHERE id = ?1";
        db.query_row(sql, [job_id(n).0.as_bytes()], |row| row.get(0))
            .expect("reads")
    };
    assert_eq!(written(1), written(2));
    drop(db);
    assert_eq!(
        store.load(large.id).await.expect("loads"),
        Some(next(&large))
    );
    store.close().await;
    let store = open(&path);
    for _ in 0..2 {
        let loaded = store.load(large.id).await.expect("loads");
        assert_eq!(loaded, Some(next(&large)), "from the file, then remembered");
    }
    let over = ended(&next(&large), JobStatus::Finished, at(1));
    store
        .commit(commit(over, vec![], vec![]))
        .await
        .expect("commits");
    assert_eq!(store.purge(at(2), 9).await.expect("purges"), [large.id]);
    assert_eq!(store.load(large.id).await.expect("loads"), None);
    let db = Connection::open(&path).expect("opens");
    let left: i64 = db
        .query_row("SELECT count(*) FROM given", [], |row| row.get(0))
        .expect("reads");
    assert_eq!(left, 1, "what it was given goes with the job");
}

#[tokio::test]
async fn a_history_of_version_4_stays_readable() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("jobs.db");
    let store = open(&path);
    let job = job(1);
    let records: Vec<Effect> = [(0, EventKind::JobCreated), (1, EventKind::StateStarted)]
        .into_iter()
        .map(|(index, kind)| Effect::Record(Arc::new(event(&job, index, kind))))
        .collect();
    let step = commit(job.clone(), records, vec![]);
    store.commit(step).await.expect("commits");
    let events = store.by_job(job.id, None, 9).await.expect("reads");
    assert_eq!(events.len(), 2);
    store.close().await;
    drop(store);
    let db = Connection::open(&path).expect("opens");
    let list = serde_json::to_string(&events).expect("is JSON");
    let changed = db.execute("UPDATE history SET body = ?1", [list]);
    assert_eq!(changed.expect("writes"), 1);
    drop(db);
    let again = open(&path).by_job(job.id, None, 9).await.expect("reads");
    assert_eq!(again, events);
}

/// Version 8 did not note when workers went that have a reputation.
#[tokio::test]
async fn a_reputation_of_version_8_goes_in_its_time() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("jobs.db");
    let db = Connection::open(&path).expect("opens");
    db.execute_batch(include_str!("../data/store_v1.sql"))
        .expect("runs");
    let sql = "INSERT INTO reputations (worker, value) VALUES ('worker-long-ago', 0.5)";
    db.execute(sql, []).expect("writes");
    drop(db);
    let store = open(&path);
    let kept = || -> bool {
        let db = Connection::open(&path).expect("opens");
        let sql = "SELECT count(*) FROM reputations WHERE worker = 'worker-long-ago'";
        db.query_row(sql, [], |row| row.get(0)).expect("reads")
    };
    // Its time begins when the file is opened, which is at any time.
    let century = 100 * 365 * 86_400_000;
    let forgot = store.forget_workers(at(-century)).await;
    forgot.expect("forgets");
    assert!(kept());
    let forgot = store.forget_workers(at(century)).await;
    forgot.expect("forgets");
    assert!(!kept());
    store.close().await;
}

/// A feed of version 5 was a table: what waited in it still waits, in its order, and nothing else does.
#[tokio::test]
async fn a_feed_of_version_5_goes_on_where_it_was() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("jobs.db");
    let db = Connection::open(&path).expect("opens");
    for sql in [
        include_str!("../data/store_v1.sql"),
        include_str!("../../src/store/sqlite/schema_2.sql"),
        include_str!("../../src/store/sqlite/schema_3.sql"),
        include_str!("../../src/store/sqlite/schema_4.sql"),
        include_str!("../../src/store/sqlite/schema_5.sql"),
        "PRAGMA user_version = 5; UPDATE feed_state SET is_on = 1",
    ] {
        db.execute_batch(sql).expect("runs");
    }
    let another = |id: JobId, index: u32| {
        let one = event(&Job { id, ..job(1) }, index, EventKind::Log);
        let body = serde_json::to_string(&one).expect("is JSON");
        let sql = "INSERT INTO history (job, revision, place, body) VALUES (?1, ?2, ?3, ?4)";
        let revision = i64::try_from(one.revision).expect("small");
        let row = (id.0.as_bytes(), revision, one.index, body);
        db.execute(sql, row).expect("writes");
        one
    };
    let waiting = [(job_id(2), 7), (job_id(1), 8), (job_id(2), 3)];
    let told: Vec<Event> = waiting.iter().map(|(id, n)| another(*id, *n)).collect();
    for one in &told {
        let sql = "INSERT INTO feed (job, revision, place) VALUES (?1, ?2, ?3)";
        let revision = i64::try_from(one.revision).expect("small");
        let row = (one.job_id.0.as_bytes(), revision, one.index);
        db.execute(sql, row).expect("writes");
    }
    drop(db);

    let settings = SqliteSettings {
        feed: true,
        ..SqliteSettings::default()
    };
    let store = SqliteStore::open(&path, &settings).expect("opens");
    let batch = store.read_feed(9).await.expect("reads");
    let texts: Vec<EventText> = told.iter().map(EventText::of).collect();
    assert_eq!(batch.events, texts);
    assert_eq!(store.feed_length().await.expect("counts"), 3);
    for (n, count) in [(1, 2), (2, 3)] {
        let kept = store.by_job(job_id(n), None, 9).await.expect("reads");
        assert_eq!(kept.len(), count, "of job {n} nothing has gone");
    }
    let done = store.acknowledge_feed(&batch.through).await;
    done.expect("acknowledges");
    let later = commit(next(&job(1)), vec![record(&next(&job(1)))], vec![]);
    store.commit(later).await.expect("commits");
    let batch = store.read_feed(9).await.expect("reads");
    assert_eq!(batch.events.len(), 1, "only what has come since");
}

fn record(job: &Job) -> Effect {
    Effect::Record(Arc::new(event(job, 0, EventKind::Log)))
}
