//! Commits a second, by store, durability and the number of rivals: `cargo bench --bench store`.
//!
//! One round is what a task costs a job: a commit that queues it, a lease, and a commit that ends
//! it, with five lines of history. Every call waits until it is on disk, as the shell does.

use std::sync::Arc;

use avtomatika::base::{JobId, Timestamp};
use avtomatika::domain::task::Answer;
use avtomatika::domain::{Event, EventKind, Job, Lease, Object, Task};
use avtomatika::engine::{Effect, Guard};
use avtomatika::store::{Commit, JobStore, MemoryStore, SqliteSettings, SqliteStore, Synchronous};
use serde_json::json;

const ROUNDS: u32 = 6_000;
const NOW: Timestamp = Timestamp(1_795_422_000_000);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        for rivals in [1, 16, 64] {
            measure("memory", rivals, Arc::new(MemoryStore::new())).await;
            for synchronous in [Synchronous::Full, Synchronous::Normal, Synchronous::Off] {
                let folder = tempfile::tempdir().expect("a temporary folder");
                let settings = SqliteSettings {
                    synchronous,
                    ..SqliteSettings::default()
                };
                let path = folder.path().join("jobs.db");
                let store = Arc::new(SqliteStore::open(&path, &settings).expect("opens"));
                let name = format!("sqlite {synchronous:?}");
                measure(&name, rivals, Arc::clone(&store) as Arc<dyn JobStore>).await;
                store.close().await;
            }
        }
    });
}

#[expect(clippy::print_stdout, reason = "figures are what a bench is for")]
async fn measure(name: &str, rivals: u32, store: Arc<dyn JobStore>) {
    let started = tokio::time::Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for rival in 0..rivals {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            for n in (rival..ROUNDS).step_by(rivals as usize) {
                round(&*store, n).await;
            }
        });
    }
    tasks.join_all().await;
    let seconds = started.elapsed().as_secs_f64();
    let rate = f64::from(ROUNDS) / seconds;
    println!(
        "{name:14} {rivals:3} rivals: {:8.0} commits/s, {rate:7.0} tasks/s, {:6.0} us a task for one",
        rate * 2.0,
        f64::from(rivals) / rate * 1e6,
    );
}

async fn round(store: &dyn JobStore, n: u32) {
    let job = job(n);
    let task = task(&job);
    let mut effects = vec![Effect::PutTask(Box::new(task.clone()))];
    effects.extend((0..2).map(|index| record(&job, index)));
    commit(store, job.clone(), effects, vec![]).await;

    let worker = avtomatika::base::WorkerId::new("cpu-worker-01");
    let lease = Lease {
        id: uuid::Uuid::nil(),
        worker: worker.clone(),
        since: NOW,
        until: NOW.after_ms(60_000),
        deadline: NOW.after_ms(300_000),
    };
    store
        .lease_task(&task.id, lease)
        .await
        .expect("leases")
        .expect("is queued");
    let loaded = store.load(job.id).await.expect("loads").expect("is there");

    let job = Job {
        revision: 2,
        ..loaded
    };
    let answer = Answer::SuccessTransition;
    let mut effects = vec![Effect::EndTask {
        id: task.id.clone(),
        answer,
        report: None,
    }];
    effects.extend((0..3).map(|index| record(&job, index)));
    commit(
        store,
        job,
        effects,
        vec![Guard::TaskHeldBy {
            id: task.id,
            worker,
        }],
    )
    .await;
}

async fn commit(store: &dyn JobStore, job: Job, effects: Vec<Effect>, guards: Vec<Guard>) {
    let expected_revision = job.revision - 1;
    let outbox_due = NOW.after_ms(30_000);
    let commit = Commit {
        expected_revision,
        job: job.into(),
        effects: effects.into(),
        guards,
        now: NOW,
        outbox_due,
        settles: None,
    };
    store.commit(commit).await.expect("commits");
}

fn record(job: &Job, index: u32) -> Effect {
    Effect::Record(Arc::new(Event {
        event_id: Event::derive_id(job.id, job.revision, index),
        job_id: job.id,
        client: job.client.id.clone(),
        revision: job.revision,
        index,
        at: NOW,
        kind: EventKind::StateStarted,
        state: job.state.clone(),
        previous_state: Some("check_quality".to_owned()),
        next_state: None,
        worker_id: None,
        task_id: None,
        attempt: None,
        duration_ms: Some(12),
        details: Object::new(),
    }))
}

fn job(n: u32) -> Job {
    let mut random = [7; 10];
    random[..4].copy_from_slice(&n.to_be_bytes());
    let at = NOW.after_ms(u64::from(n));
    serde_json::from_value(json!({
        "id": JobId::from_parts(at, random),
        "revision": 1,
        "blueprint": "full_showcase",
        "blueprint_revision": "5f1c0c4b6a7d",
        "client": {"id": "user_vip", "plan": "premium", "params": {"languages": ["en", "de"]}},
        "status": "waiting_for_worker",
        "state": "transcode",
        "visit": 3,
        "initial_data": {"video_url": "s3://media/in/clip.mp4", "quality": "high", "user": "u-17"},
        "state_history": {"preferences": {"codec": "h265", "crf": 21.5}, "checked": true},
        "step": 3,
        "max_transitions": 100,
        "wake_at": at.after_ms(300_000),
        "created_at": at,
        "updated_at": at,
        "entered_at": at,
    }))
    .expect("a job")
}

fn task(job: &Job) -> Task {
    serde_json::from_value(json!({
        "id": avtomatika::base::TaskId::derive(job.id, job.visit, None, 1),
        "job_id": job.id,
        "visit": job.visit,
        "branch": null,
        "ordinal": 1,
        "failures": 0,
        "losses": 0,
        "client": job.client.id,
        "blueprint": job.blueprint,
        "spec": {
            "skill": "transcode_video",
            "params": {"video_url": "s3://media/in/clip.mp4", "codec": "h265", "crf": 21.5},
            "strategy": "default",
            "priority": 1.0,
            "max_cost": null,
            "requires": {},
            "execution_timeout_ms": 300_000,
            "retry": {
                "max_attempts": 4,
                "backoff": {"initial_ms": 1000, "factor": 2.0, "max_ms": 60000, "jitter": 0.2},
            },
            "max_deliveries": 3,
            "step": 3,
            "depth": 0,
        },
        "status": "queued",
        "queued_at": NOW,
        "available_at": NOW,
    }))
    .expect("a task")
}
