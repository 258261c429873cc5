//! What only a file has: versions, damage, a second opener, other programs at work on it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use avtomatika::base::JobId;
use avtomatika::domain::EventKind;
use avtomatika::domain::task::Answer;
use avtomatika::engine::Effect;
use avtomatika::store::{
    CommitError, Durability, HistoryStore, JobStore, MessageKind, SqliteSettings, SqliteStore,
    StoreError, Synchronous, TokenKind, TokenRecord, WorkerStore,
};
use futures::future::join_all;
use rusqlite::Connection;
use uuid::Uuid;

use crate::fixtures::*;

pub fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, &SqliteSettings::default()).expect("opens")
}

fn refusal(path: &Path) -> StoreError {
    SqliteStore::open(path, &SqliteSettings::default()).expect_err("is refused")
}

#[tokio::test]
async fn reopening_keeps_everything() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("jobs.db");
    let job = job(1);
    let task = task(&job, None, 1);
    let hook = webhook(&job, 5);
    let line = event(&job, 0, EventKind::JobCreated);
    let token = TokenRecord {
        hash: "h".to_owned(),
        kind: TokenKind::Access,
        worker: "w1".into(),
        family: Uuid::from_u128(1),
        expires_at: at(9),
    };
    let store = open(&path);
    let effects = vec![
        put(&task),
        Effect::Record(Arc::new(line.clone())),
        Effect::SendWebhook(Box::new(hook.clone())),
        Effect::PutData {
            store: "s".to_owned(),
            key: "k".to_owned(),
            value: 0.1.into(),
        },
    ];
    store
        .commit(commit(job.clone(), effects, vec![]))
        .await
        .expect("commits");
    let leased = store
        .lease_task(&task.id, lease("w1", 10))
        .await
        .expect("leases");
    store.put_worker(worker("w1", 100)).await.expect("stores");
    store
        .adjust_reputation(&"w1".into(), -0.5)
        .await
        .expect("changes");
    store.put_tokens(vec![token.clone()]).await.expect("stores");
    store
        .put_blueprint("render", "r1", "source")
        .await
        .expect("stores");
    store.close().await;
    // The second time without a farewell.
    drop(open(&path));

    let store = open(&path);
    assert_eq!(store.load(job.id).await.expect("loads"), Some(job.clone()));
    assert_eq!(store.load_task(&task.id).await.expect("loads"), leased);
    assert_eq!(store.by_job(job.id, None, 9).await.expect("reads"), [line]);
    assert_eq!(
        store.deliveries(job.id, 9).await.expect("reads")[0].id,
        hook.id
    );
    assert_eq!(
        store.data_stores("render").await.expect("reads")["s"]["k"],
        0.1
    );
    assert_eq!(
        store.find_access_token("h").await.expect("reads"),
        Some(token)
    );
    assert!((store.list_workers().await.expect("reads")[0].reputation - 0.5).abs() < 1e-9);
    let source = store.blueprint_source("render", "r1").await.expect("reads");
    assert_eq!(source.as_deref(), Some("source"));
}

#[tokio::test]
async fn reopening_keeps_keys_and_quotas() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("jobs.db");
    let store = open(&path);
    let guards = vec![key_guard("k", "f"), quota_guard("acme", "2026-11", 1)];
    store
        .commit(commit(keyed(1, "k"), vec![], guards))
        .await
        .expect("commits");
    store.close().await;
    let store = open(&path);
    let key = commit(keyed(2, "k"), vec![], vec![key_guard("k", "f")]);
    assert!(matches!(
        store.commit(key).await,
        Err(CommitError::KeyTaken { .. })
    ));
    let quota = commit(job(2), vec![], vec![quota_guard("acme", "2026-11", 1)]);
    assert!(matches!(
        store.commit(quota).await,
        Err(CommitError::QuotaExceeded { limit: 1 })
    ));
}

#[tokio::test]
async fn refuses_what_it_cannot_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("newer.db");
    drop(open(&path));
    let db = Connection::open(&path).expect("opens");
    db.pragma_update(None, "user_version", 999).expect("sets");
    drop(db);
    match refusal(&path) {
        StoreError::Corrupt(text) => {
            assert!(
                text.contains("version 999") && text.contains("newer"),
                "{text}"
            );
        }
        other => panic!("{other}"),
    }
    let path = folder.path().join("letter.db");
    std::fs::write(&path, "Dear reader, this is no database. ".repeat(100)).expect("writes");
    assert!(matches!(refusal(&path), StoreError::Corrupt(_)));
    let path = folder.path().join("no/such/folder/jobs.db");
    assert!(matches!(refusal(&path), StoreError::Unavailable(_)));
}

#[tokio::test]
async fn refuses_a_second_opener_until_the_first_has_closed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("jobs.db");
    let first = open(&path);
    let error = refusal(&path);
    assert!(
        error.to_string().contains("in use by another orchestrator"),
        "{error}"
    );
    first.health().await.expect("is not disturbed");
    first.close().await;
    let second = open(&path);
    drop(first);
    second.health().await.expect("is not disturbed either");
}

/// A full disk takes nothing and can be read: whoever asks how the store is learns that by a write.
#[tokio::test]
async fn asking_how_it_is_writes_something() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("jobs.db");
    let store = open(&path);
    let written = || {
        let log = folder.path().join("jobs.db-wal");
        std::fs::metadata(log).expect("is there").len()
    };
    let mut before = written();
    for _ in 0..3 {
        store.health().await.expect("is well");
        assert!(written() > before, "nothing was written");
        before = written();
    }
    let db = Connection::open(&path).expect("opens");
    let left = db.query_row("SELECT count(*) FROM revoked_families", [], |row| {
        row.get(0)
    });
    assert_eq!(left, Ok(0), "asking leaves nothing behind");
    store.close().await;
}

#[tokio::test]
async fn damaged_records_are_reported_and_disturb_nobody_else() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("jobs.db");
    let store = open(&path);
    let mut broken = job(1);
    broken.wake_at = Some(at(5));
    let task = task(&broken, None, 1);
    let hook = Effect::SendWebhook(Box::new(webhook(&broken, 5)));
    let effects = vec![put(&task), hook];
    store
        .commit(commit(broken.clone(), effects, vec![]))
        .await
        .expect("commits");
    let db = Connection::open(&path).expect("opens");
    for table in ["jobs", "tasks", "outbox"] {
        db.execute(&format!("UPDATE {table} SET body = '{{\"id\": 7'"), [])
            .expect("damages");
    }
    drop(db);
    // Opened anew: what has just been written is still in memory.
    store.close().await;
    let store = open(&path);
    let is_corrupt = |error: StoreError| matches!(error, StoreError::Corrupt(_));
    assert!(is_corrupt(
        store.load(broken.id).await.expect_err("is damaged")
    ));
    assert!(is_corrupt(
        store.load_task(&task.id).await.expect_err("is damaged")
    ));
    assert!(is_corrupt(
        store
            .lease_task(&task.id, lease("w", 1))
            .await
            .expect_err("is damaged")
    ));
    // Whoever looks through many leaves it out.
    let end = at(99_999);
    let taken = store.take_outbox(MessageKind::Webhook, end, end, 9).await;
    assert_eq!(taken.expect("the others come"), []);
    let queued = store.queued_tasks(None, 9).await;
    assert_eq!(queued.expect("the others come"), []);
    let due = store.due(end, 9).await.expect("the others come");
    assert_eq!((due.jobs, due.tasks), (vec![broken.id], vec![]));
    assert!(is_corrupt(
        store
            .deliveries(broken.id, 9)
            .await
            .expect_err("is damaged")
    ));

    // In one batch with it, others come through; of the damaged one nothing is stored.
    let end = Effect::EndTask {
        id: task.id.clone(),
        answer: Answer::None,
        report: None,
    };
    let line = Effect::Record(Arc::new(event(&next(&broken), 0, EventKind::Log)));
    let bad = store.commit(commit(next(&broken), vec![line, end], vec![]));
    let good = (10..40).map(|n| store.commit(commit(job(n), vec![], vec![])));
    let (bad, good) = tokio::join!(bad, join_all(good));
    assert!(
        matches!(bad, Err(CommitError::Store(StoreError::Corrupt(_)))),
        "{bad:?}"
    );
    assert!(good.iter().all(Result::is_ok));
    assert_eq!(store.by_job(broken.id, None, 9).await.expect("reads"), []);
    let db = Connection::open(&path).expect("opens");
    let revision: i64 = db
        .query_row(
            "SELECT revision FROM jobs WHERE id = ?1",
            [broken.id.0.as_bytes()],
            |r| r.get(0),
        )
        .expect("reads");
    assert_eq!(revision, 1);
}

#[tokio::test]
async fn what_is_damaged_hides_nothing_behind_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("jobs.db");
    let stores = async |store: &SqliteStore, n: u16, count: u32| {
        let job = job(n);
        let tasks = (1..=count).map(|branch| {
            let mut task = task(&job, Some(branch), 1);
            task.dispatch_deadline = Some(at(n.into()));
            put(&task)
        });
        let stored = commit(job.clone(), tasks.collect(), vec![]);
        store.commit(stored).await.expect("commits");
        let id = format!("w{n}");
        let put = store.put_worker(worker(&id, 1_000_000)).await;
        put.expect("puts");
    };
    let store = open(&path);
    stores(&store, 1, 5).await;
    store.close().await;
    let db = Connection::open(&path).expect("opens");
    for table in ["tasks", "workers"] {
        db.execute(&format!("UPDATE {table} SET body = '{{\"id\": 7'"), [])
            .expect("damages");
    }
    drop(db);
    let store = open(&path);
    stores(&store, 2, 1).await;
    let due = store.due(at(9), 2).await.expect("looks").tasks;
    let queued = store.queued_tasks(None, 2).await.expect("reads");
    let found = [due, queued].map(|tasks| tasks.iter().map(|task| task.job_id).collect());
    let workers = store.list_workers().await.map(|workers| workers.len());
    let expected: [Vec<JobId>; 2] = [vec![job_id(2)], vec![job_id(2)]];
    assert_eq!((found, workers.ok()), (expected, Some(1)));
    store.close().await;
}

#[tokio::test]
async fn is_unavailable_while_another_program_writes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("jobs.db");
    let settings = SqliteSettings {
        synchronous: Synchronous::Normal,
        call_timeout: Duration::from_millis(100),
        ..SqliteSettings::default()
    };
    let store = SqliteStore::open(&path, &settings).expect("opens");
    assert_eq!(store.durability(), Durability::Os);
    let db = Connection::open(&path).expect("opens");
    db.execute_batch("BEGIN IMMEDIATE").expect("locks");
    let late = store.commit(commit(job(1), vec![], vec![])).await;
    assert!(
        matches!(late, Err(CommitError::Store(StoreError::Unavailable(_)))),
        "{late:?}"
    );
    assert_eq!(store.load(job_id(1)).await.expect("reads go on"), None);
    db.execute_batch("ROLLBACK").expect("unlocks");
    // The writer has that call in hand still; the next one waits for it at most as long as SQLite
    // sleeps between two looks at the lock.
    let mut tries = 0;
    while store.commit(commit(job(2), vec![], vec![])).await.is_err() {
        tries += 1;
        assert!(tries < 100, "the store has not recovered");
        if store.load(job_id(2)).await.expect("reads").is_some() {
            break;
        }
    }
    assert!(store.load(job_id(2)).await.expect("reads").is_some());
}

#[test]
fn durability_follows_the_setting() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (synchronous, expected) in [
        (Synchronous::Full, Durability::Fsync),
        (Synchronous::Normal, Durability::Os),
        (Synchronous::Off, Durability::None),
    ] {
        let settings = SqliteSettings {
            synchronous,
            ..SqliteSettings::default()
        };
        let path = folder.path().join("jobs.db");
        let store = SqliteStore::open(&path, &settings).expect("opens");
        assert_eq!(store.durability(), expected);
    }
}
