//! Records for the suite, made from small numbers.

use avtomatika::base::{ClientId, JobId, TaskId, Timestamp, WorkerId};
use avtomatika::domain::{Event, EventKind, Job, JobStatus, Lease, Object, Task, Webhook, Worker};
use avtomatika::engine::{Effect, Guard, IdempotencyKey, Quota};
use avtomatika::store::{Commit, rules};
use serde_json::json;
use uuid::Uuid;

/// When the tests take place.
pub const NOW: Timestamp = Timestamp(1_795_422_000_000);

/// Returns the time so many ms after [`NOW`].
pub fn at(ms: i64) -> Timestamp {
    Timestamp(NOW.0 + ms)
}

/// Returns the `n`th job's id; they sort by `n` and lie in several partitions.
pub fn job_id(n: u16) -> JobId {
    let mut random = [7; 10];
    random[..2].copy_from_slice(&n.to_be_bytes());
    random[9] += n.to_be_bytes()[1] / 3;
    JobId::from_parts(at(i64::from(n)), random)
}

/// Returns the `n`th job, new, of client `acme`.
pub fn job(n: u16) -> Job {
    serde_json::from_value(json!({
        "id": job_id(n),
        "revision": 1,
        "blueprint": "render",
        "blueprint_revision": "r1",
        "client": {"id": "acme", "plan": "free", "params": {"z": 1, "a": 2}},
        "status": "waiting_for_worker",
        "state": "start",
        "visit": 1,
        "initial_data": {"ratio": 0.1, "text": "naïve → 日本", "z": 1, "a": [null, true]},
        "step": 1,
        "max_transitions": 100,
        "created_at": at(i64::from(n)),
        "updated_at": at(i64::from(n)),
        "entered_at": at(i64::from(n)),
    }))
    .expect("a job")
}

/// Returns the job as it is after one more commit.
pub fn next(job: &Job) -> Job {
    Job {
        revision: job.revision + 1,
        ..job.clone()
    }
}

/// Returns the job as it is after one more commit, ended, to be kept until the time.
pub fn ended(job: &Job, status: JobStatus, keep_until: Timestamp) -> Job {
    Job {
        status,
        keep_until: Some(keep_until),
        ended_at: Some(NOW),
        wake_at: None,
        ..next(job)
    }
}

/// Returns the commit that stores the job.
pub fn commit(job: Job, effects: Vec<Effect>, guards: Vec<Guard>) -> Commit {
    Commit {
        expected_revision: job.revision - 1,
        job: job.into(),
        effects: effects.into(),
        guards,
        now: NOW,
        outbox_due: at(30_000),
        settles: None,
    }
}

/// Returns a queued task of the job's present visit.
pub fn task(job: &Job, branch: Option<u32>, ordinal: u32) -> Task {
    serde_json::from_value(json!({
        "id": TaskId::derive(job.id, job.visit, branch, ordinal),
        "job_id": job.id,
        "visit": job.visit,
        "branch": branch,
        "ordinal": ordinal,
        "failures": 0,
        "losses": 0,
        "client": job.client.id,
        "blueprint": job.blueprint,
        "spec": {
            "skill": "resize",
            "params": {"file": "s3://bucket/in.png"},
            "params_metadata": {"file": {"uri": "s3://bucket/in.png"}},
            "security": {"secret": "of the client"},
            "metadata": {"tenant": "t1"},
            "strategy": "default",
            "priority": 0.1,
            "max_cost": null,
            "requires": {},
            "execution_timeout_ms": 1000,
            "retry": {
                "max_attempts": 4,
                "backoff": {"initial_ms": 1, "factor": 2.0, "max_ms": 9, "jitter": 0.2},
            },
            "max_deliveries": 3,
            "step": 1,
            "depth": 0,
        },
        "status": "queued",
        "queued_at": NOW,
        "available_at": NOW,
    }))
    .expect("a task")
}

/// Returns the effect that stores the task.
pub fn put(task: &Task) -> Effect {
    Effect::PutTask(Box::new(task.clone()))
}

/// Returns a lease until the time after [`NOW`].
pub fn lease(worker: &str, until_ms: i64) -> Lease {
    Lease {
        id: Uuid::nil(),
        worker: worker.into(),
        since: NOW,
        until: at(until_ms),
        deadline: at(1_000_000),
    }
}

/// Returns the guard of a key that lasts a day.
pub fn key_guard(key: &str, fingerprint: &str) -> Guard {
    let key = IdempotencyKey {
        key: key.to_owned(),
        fingerprint: fingerprint.to_owned(),
        until: at(86_400_000),
    };
    Guard::Idempotency {
        client: ClientId::new("acme"),
        key,
    }
}

/// Returns the id of the `n`th job where it has to be to have client `acme`'s key.
pub fn keyed_id(n: u16, key: &str) -> JobId {
    job_id(n).in_partition(rules::key_partition(&"acme".into(), key))
}

/// Returns the `n`th job with that id.
pub fn keyed(n: u16, key: &str) -> Job {
    Job {
        id: keyed_id(n, key),
        ..job(n)
    }
}

/// Returns one of the keys that a job may have where it lies.
pub fn key_beside(job: JobId, n: u64) -> String {
    (0..9_999)
        .map(|attempt| format!("k{n}-{attempt}"))
        .find(|key| rules::key_partition(&"acme".into(), key) == job.partition())
        .expect("one of them is")
}

/// Returns the guard of a quota.
pub fn quota_guard(client: &str, month: &str, limit: u64) -> Guard {
    Guard::Quota {
        client: client.into(),
        quota: Quota {
            month: month.to_owned(),
            limit,
        },
    }
}

/// Returns the `n`th id of a message of the job's.
pub fn message_id(job: &Job, n: u128) -> Uuid {
    Uuid::from_u128(n << 8 | u128::from(job.id.partition()))
}

/// Returns a webhook of the job.
pub fn webhook(job: &Job, n: u128) -> Webhook {
    Webhook {
        id: message_id(job, n),
        job_id: job.id,
        client: job.client.id.clone(),
        url: "https://client.example/hook".to_owned(),
        event: "job_finished".to_owned(),
        body: json!({"event": "job_finished", "job_id": job.id}),
        tracing_context: job.tracing_context.clone(),
        created_at: NOW,
    }
}

/// Returns a line of the job's history.
pub fn event(job: &Job, index: u32, kind: EventKind) -> Event {
    Event {
        event_id: Event::derive_id(job.id, job.revision, index),
        job_id: job.id,
        client: job.client.id.clone(),
        revision: job.revision,
        index,
        at: NOW,
        kind,
        state: job.state.clone(),
        previous_state: None,
        next_state: None,
        worker_id: None,
        task_id: None,
        attempt: None,
        duration_ms: Some(3),
        details: Object::new(),
    }
}

/// Returns a worker that registered at [`NOW`] and expires so many ms later.
pub fn worker(id: &str, expires_ms: i64) -> Worker {
    serde_json::from_value(json!({
        "id": WorkerId::new(id),
        "worker_type": "generic",
        "skills": [{"name": "resize", "type": "image"}],
        "capabilities": {"cost_per_skill": {"resize": 0.3}},
        "status": "idle",
        "reputation": 1.0,
        "registered_at": NOW,
        "last_seen": NOW,
        "expires_at": at(expires_ms),
    }))
    .expect("a worker")
}
