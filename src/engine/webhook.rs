//! The bodies of webhooks. Source: http-api §5. All eight members are always there; what is new
//! stands beside them.

use serde_json::{Value, json};
use uuid::Uuid;

use super::passage::Passage;
use super::{Effect, WorkerEvent};
use crate::domain::{JobStatus, Object, Webhook};

/// Tells the client that the job has ended. One for each terminal event, with its id (I5).
pub(super) fn job_ended(passage: &mut Passage<'_>, id: Uuid) {
    let event = match passage.job.status {
        JobStatus::Finished => "job_finished",
        JobStatus::Quarantined => "job_quarantined",
        JobStatus::Cancelled => "job_cancelled",
        _ => "job_failed",
    };
    let body = body(
        passage,
        event,
        passage.job.result.clone().unwrap_or_default(),
    );
    send(passage, id, event, body);
}

/// Asks the client for a person's decision (fixes HQ4). `approval` has what whoever decides needs.
pub(super) fn approval_required(passage: &mut Passage<'_>, id: Uuid, approval: Value) {
    let mut body = body(passage, "approval_required", Value::Null);
    body.insert("approval".to_owned(), approval);
    send(passage, id, "approval_required", body);
}

/// Hands on a worker's event: `result` is its payload, `timestamp` its own.
pub(super) fn worker_event(passage: &mut Passage<'_>, id: Uuid, event: &WorkerEvent) {
    let name = format!("worker_event:{}", event.event_type);
    let mut body = body(passage, &name, Value::Object(event.payload.clone()));
    if let Some(timestamp) = event.timestamp {
        body.insert("timestamp".to_owned(), json!(timestamp));
    }
    send(passage, id, &name, body);
}

/// Sends an event of the blueprint's own, under the name that the original has for it.
pub(super) fn emitted(passage: &mut Passage<'_>, id: Uuid, event_type: &str, payload: Value) {
    let name = format!("worker_event:{event_type}");
    let body = body(passage, &name, payload);
    send(passage, id, &name, body);
}

/// Returns the eight members. `security` is always null: the original shows it only when it is set
/// to show everything, and a receiver has no use for it.
fn body(passage: &Passage<'_>, event: &str, result: Value) -> Object {
    let job = &passage.job;
    let members = [
        ("event", json!(event)),
        ("job_id", json!(job.id)),
        ("status", json!(job.status)),
        ("result", result),
        (
            "error",
            json!(job.error.as_ref().map(|error| &error.message)),
        ),
        ("security", Value::Null),
        ("metadata", json!(job.metadata)),
        ("timestamp", json!(passage.world.now.as_secs())),
    ];
    members
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn send(passage: &mut Passage<'_>, id: Uuid, event: &str, body: Object) {
    let Some(url) = passage.job.webhook_url.clone() else {
        return;
    };
    let webhook = Webhook {
        id,
        job_id: passage.job.id,
        client: passage.job.client.id.clone(),
        url,
        event: event.to_owned(),
        body: Value::Object(body),
        tracing_context: passage.job.tracing_context.clone(),
        created_at: passage.world.now,
    };
    passage.effects.push(Effect::SendWebhook(Box::new(webhook)));
}
