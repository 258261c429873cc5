//! What is read from memory is what the file says, whatever has come to pass in between.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use avtomatika::base::TaskId;
use avtomatika::domain::task::Answer;
use avtomatika::domain::{JobStatus, Object, Task, TaskReport};
use avtomatika::engine::Effect;
use avtomatika::store::{
    Commit, CommitError, JobQuery, JobStore, SqliteSettings, SqliteStore, StoreError, Synchronous,
};
use futures::future::join_all;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::draws::World;
use crate::fixtures::*;
use crate::sqlite_only::open;

const SEEDS: u64 = 12;
const ROUNDS: usize = 40;
/// Calls at once, so that the writer has batches.
const CALLS: usize = 6;
/// Jobs that the draws are about.
const JOBS: u16 = 12;
/// A task whose record cannot be read: each call that needs it fails and undoes its batch.
const DAMAGED: &str = "task-damaged";

/// One call of a round.
enum Call {
    Commit(Commit),
    Lease(TaskId, String),
    Extend(Vec<TaskId>, String),
    Release(TaskId),
    Purge,
}

/// How often the calls came to what the test is about.
#[derive(Default)]
struct Reached {
    undone: u32,
    refused: u32,
    purged: u32,
}

async fn draw(world: &mut World, store: &SqliteStore) -> Call {
    let mut job = job(world.job_number());
    job.visit = 1 + world.below(2);
    let task = world.task(&job).id;
    match world.below(10) {
        0..=4 => {
            let n = world.job_number();
            let stored = store.load(job_id(n)).await.expect("loads");
            let mut commit = world.commit(stored, n);
            if world.chance(10) {
                let damaged = Effect::EndTask {
                    id: DAMAGED.into(),
                    answer: Answer::None,
                    report: None,
                };
                Arc::make_mut(&mut commit.effects).push(damaged);
            }
            Call::Commit(commit)
        }
        5..=6 => Call::Lease(task, world.worker()),
        7 => {
            let mut tasks = vec![task];
            if world.chance(20) {
                tasks.push(DAMAGED.into());
            }
            Call::Extend(tasks, world.worker())
        }
        8 => Call::Release(task),
        _ => {
            world.now = world.soon();
            Call::Purge
        }
    }
}

async fn make(call: Call, world: &World, store: &SqliteStore) -> Reached {
    let mut reached = Reached::default();
    let failed = match call {
        Call::Commit(commit) => match store.commit(commit).await {
            Ok(_) => None,
            Err(CommitError::Store(error)) => Some(error),
            Err(_) => {
                reached.refused += 1;
                None
            }
        },
        Call::Lease(task, worker) => store.lease_task(&task, lease(&worker, 9)).await.err(),
        Call::Extend(tasks, worker) => {
            let worker = worker.as_str().into();
            store.extend_leases(&worker, &tasks, world.now).await.err()
        }
        Call::Release(task) => store.release_task(&task, uuid::Uuid::nil()).await.err(),
        Call::Purge => match store.purge(world.now, 3).await {
            Ok(gone) => {
                reached.purged += u32::try_from(gone.len()).expect("is small");
                None
            }
            Err(error) => Some(error),
        },
    };
    if let Some(error) = failed {
        assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
        reached.undone += 1;
    }
    reached
}

/// Returns the tasks in the file.
fn tasks_in(path: &Path) -> BTreeMap<TaskId, Task> {
    let db = Connection::open(path).expect("opens");
    let mut statement = db
        .prepare("SELECT body FROM tasks WHERE id <> ?1")
        .expect("is SQL");
    let bodies = statement
        .query_map([DAMAGED], |row| row.get::<_, String>(0))
        .expect("reads");
    let read = |body: rusqlite::Result<String>| {
        let task: Task = serde_json::from_str(&body.expect("is text")).expect("is a task");
        (task.id.clone(), task)
    };
    bodies.map(read).collect()
}

async fn assert_same(store: &SqliteStore, path: &Path, seen: &mut Vec<TaskId>, place: &str) {
    let all = JobQuery {
        limit: 99,
        ..JobQuery::default()
    };
    let listed = store.list(all).await.expect("lists");
    for n in 0..JOBS {
        let in_file = listed.iter().find(|job| job.id == job_id(n));
        let loaded = store.load(job_id(n)).await.expect("loads");
        assert_eq!(loaded.as_ref(), in_file, "{place}, job {n}");
    }
    let in_file = tasks_in(path);
    seen.extend(in_file.keys().cloned());
    seen.sort_unstable();
    seen.dedup();
    for id in seen {
        let loaded = store.load_task(id).await.expect("loads");
        assert_eq!(loaded.as_ref(), in_file.get(id), "{place}");
    }
}

#[tokio::test]
async fn memory_says_what_the_file_says() {
    let mut reached = Reached::default();
    for seed in 0..SEEDS {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("jobs.db");
        let settings = SqliteSettings {
            synchronous: Synchronous::Off,
            ..SqliteSettings::default()
        };
        let store = SqliteStore::open(&path, &settings).expect("opens");
        let db = Connection::open(&path).expect("opens");
        db.execute(
            "INSERT INTO tasks (id, job, visit, ordinal, status, available_at, body)
             VALUES (?1, x'00', 1, 1, 'ended', 0, '{')",
            [DAMAGED],
        )
        .expect("writes");
        let mut world = World {
            seed,
            drawn: 0,
            now: NOW,
            messages: Vec::new(),
        };
        let mut seen = Vec::new();
        for round in 0..ROUNDS {
            let mut calls = Vec::new();
            for _ in 0..CALLS {
                calls.push(draw(&mut world, &store).await);
            }
            let made = join_all(calls.into_iter().map(|call| make(call, &world, &store))).await;
            for one in made {
                reached.undone += one.undone;
                reached.refused += one.refused;
                reached.purged += one.purged;
            }
            let place = format!("seed {seed}, round {round}");
            assert_same(&store, &path, &mut seen, &place).await;
        }
        store.close().await;
    }
    let Reached {
        undone,
        refused,
        purged,
    } = reached;
    assert!(
        undone > 20 && refused > 20 && purged > 20,
        "{undone} undone, {refused} refused, {purged} purged"
    );
}

/// A value is the same before it has gone to the file and after it has come from there.
#[tokio::test]
async fn records_are_the_same_after_the_way_through_the_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("jobs.db");
    let mut job = job(1);
    job.status = JobStatus::Finished;
    job.state_history = data(&json!({"nothing": null, "list": [[], {}], "ratio": 0.1}));
    job.metadata = Some(data(&json!({})));
    job.policy = Some(data(&json!({})));
    job.security = Some(Value::Null);
    job.result = Some(Value::Null);
    job.aggregation_results = Some(Value::Null);
    let mut task = task(&job, Some(0), 1);
    task.report = Some(TaskReport {
        data: Some(data(&json!({}))),
        security: Some(Value::Null),
        costs: Some(data(&json!({}))),
        ..TaskReport::failure("", "")
    });
    let spec = Arc::make_mut(&mut task.spec);
    spec.security = Some(Value::Null);
    spec.metadata = Some(data(&json!({})));
    let mut store = open(&path);
    let stored = commit(job.clone(), vec![put(&task)], vec![]);
    store.commit(stored).await.expect("commits");
    for _ in 0..2 {
        assert_eq!(store.load(job.id).await.expect("loads"), Some(job.clone()));
        assert_eq!(
            store.load_task(&task.id).await.expect("loads"),
            Some(task.clone())
        );
        store.close().await;
        store = open(&path);
    }
}

fn data(value: &Value) -> Object {
    value.as_object().expect("is an object").clone()
}
