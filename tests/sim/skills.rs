//! What a task comes to: how long it takes, what is said meanwhile, and how it ends.

use avtomatika::domain::task::status;
use avtomatika::domain::{Object, Task, TaskErrorCode, TaskReport};
use avtomatika::engine::WorkerEvent;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::blueprints::{CUSTOM_STATUS, ESCALATION};
use crate::cluster::Cluster;
use crate::rng::Rng;
use crate::seen::Seen;
use crate::workers::SimWorker;

/// Runs a task; returns what there is to report.
pub async fn perform(
    worker: &SimWorker,
    cluster: &Cluster,
    task: &Task,
    stop: &CancellationToken,
    rng: &mut Rng,
) -> TaskReport {
    let world = &worker.world;
    let calm = world.is_calm();
    let duration = match rng.within(0..=19) {
        _ if calm => rng.within(10..=300),
        0 => rng.within(10_000..=70_000),
        1..=5 => rng.within(1_000..=8_000),
        _ => rng.within(10..=900),
    };
    world.sleep(duration / 2).await;
    if !calm && rng.chance(250) {
        speak(worker, cluster, task, rng).await;
    }
    let stopped = tokio::select! {
        biased;
        () = stop.cancelled() => true,
        _ = world.sleep(duration / 2) => false,
    };
    if stopped && rng.chance(700) {
        return with_status(status::CANCELLED);
    }
    if !world.is_calm() && rng.chance(world.plan.task_fails) {
        return some_report(rng);
    }
    success(rng)
}

/// Sends an event about a task under way.
async fn speak(worker: &SimWorker, cluster: &Cluster, task: &Task, rng: &mut Rng) {
    let Some(line) = cluster.any(rng) else { return };
    let event_type = if rng.chance(300) {
        ESCALATION
    } else {
        "progress"
    };
    let event = WorkerEvent {
        id: format!("event-{}", rng.next()),
        event_type: event_type.to_owned(),
        payload: Object::from_iter([("progress".to_owned(), json!(0.5))]),
        worker: worker.id.clone(),
        task_id: Some(task.id.clone()),
        timestamp: None,
    };
    let said = line.runtime.worker_event(task.job_id, event);
    match line.request(rng, said).await {
        Some(Err(error)) => {
            let text = error.to_string();
            worker
                .world
                .note(worker.id.to_string(), Seen::Said { text });
        }
        Some(Ok(_)) => worker.say(format!("said {event_type}")),
        None => {}
    }
}

fn success(rng: &mut Rng) -> TaskReport {
    let data = json!({ "answer": rng.within(0..=99) });
    TaskReport::success(data.as_object().cloned().unwrap_or_default())
}

fn with_status(status: &str) -> TaskReport {
    TaskReport {
        status: status.to_owned(),
        ..TaskReport::success(Object::new())
    }
}

/// Draws a report of any kind.
pub fn some_report(rng: &mut Rng) -> TaskReport {
    match rng.within(0..=9) {
        0 => success(rng),
        1 => with_status(CUSTOM_STATUS),
        2 => with_status("never_heard_of"),
        3 => with_status(status::CANCELLED),
        _ => {
            let code = rng.pick(&TaskErrorCode::ALL).as_str();
            TaskReport::failure(code, format!("it went wrong with {code}"))
        }
    }
}
