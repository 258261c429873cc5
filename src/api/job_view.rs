//! A job as its owner sees it. Source: http-api §4.2 and §6, with HQ15 fixed: owners always see
//! where the job stands, how far it is and why it failed.

use serde_json::{Map, Value, json};

use crate::base::Timestamp;
use crate::domain::{Job, Object, Waiting};

/// What of a job is shown.
#[derive(Debug, Clone, Copy, Default)]
pub struct View<'a> {
    /// Everything but secrets, instead of the common members.
    pub detailed: bool,
    /// Only these members, and `id`.
    pub fields: Option<&'a str>,
}

impl View<'_> {
    /// Returns the job's members that the view shows.
    pub fn of(self, job: &Job) -> Value {
        let mut object = common(job);
        if self.detailed {
            object.extend(details(job));
        }
        if let Some(fields) = self.fields {
            let wanted: Vec<&str> = fields.split(',').map(str::trim).collect();
            object.retain(|name, _| name == "id" || wanted.contains(&name.as_str()));
        }
        Value::Object(object)
    }
}

/// Leaves out those members of a job that is shown which are larger; `left_out` has the size of each. Units:
/// bytes of JSON.
pub fn shorten(shown: &mut Value, bytes_max: usize) {
    let Value::Object(members) = shown else {
        return;
    };
    let mut left_out = Map::new();
    members.retain(|name, value| {
        let bytes = value.to_string().len();
        if bytes > bytes_max {
            left_out.insert(name.clone(), json!(bytes));
        }
        bytes <= bytes_max
    });
    if !left_out.is_empty() {
        members.insert("left_out".to_owned(), Value::Object(left_out));
    }
}

fn time(at: Timestamp) -> Value {
    Value::String(at.to_rfc3339())
}

/// The members that every owner sees; those that say nothing are null, which the wire leaves out.
fn common(job: &Job) -> Object {
    let result = job.result.clone().filter(|_| job.status.is_terminal());
    let mut object = Map::new();
    for (name, value) in [
        ("id", json!(job.id)),
        ("job_id", json!(job.id)),
        ("blueprint_name", json!(job.blueprint)),
        ("status", json!(job.status)),
        ("current_state", json!(job.state)),
        ("step", json!(job.step)),
        ("depth", json!(job.depth)),
        ("max_transitions", json!(job.max_transitions)),
        (
            "parent_job_id",
            json!(job.parent.as_ref().map(|parent| parent.job_id)),
        ),
        ("child_job_id", json!(job.child_job_id)),
        ("progress", json!(job.progress)),
        ("progress_message", json!(job.progress_message)),
        ("error", json!(job.error)),
        (
            "error_message",
            json!(job.error.as_ref().map(|error| &error.message)),
        ),
        ("state_history", Value::Object(job.state_history.clone())),
        ("result", result.unwrap_or(Value::Null)),
        ("labels", json!(job.labels)),
        ("created_at", time(job.created_at)),
        ("updated_at", time(job.updated_at)),
        ("ended_at", job.ended_at.map_or(Value::Null, time)),
        ("branches", branches(job)),
        ("current_task_id", current_task(job)),
    ] {
        object.insert(name.to_owned(), value);
    }
    // There while a person is asked, and only then: leaving the state forgets the token.
    if let Some(Waiting::Human {
        token,
        integration,
        message,
    }) = &job.waiting
    {
        object.insert("approval_token".to_owned(), json!(token));
        object.insert(
            "approval".to_owned(),
            json!({"integration": integration, "message": message}),
        );
    }
    object
}

fn branches(job: &Job) -> Value {
    match &job.waiting {
        Some(Waiting::Branches(counts)) => json!({
            "total": counts.total,
            "released": counts.released,
            "ended": counts.ended,
            "succeeded": counts.succeeded,
        }),
        _ => Value::Null,
    }
}

fn current_task(job: &Job) -> Value {
    match &job.waiting {
        Some(Waiting::Task { task_id }) => json!(task_id),
        _ => Value::Null,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a timeout is far below 2^53 ms")]
fn seconds(ms: Option<u64>) -> Value {
    ms.map_or(Value::Null, |ms| json!(ms as f64 / 1000.0))
}

/// What the detailed view adds. Never the client's record nor its security context.
fn details(job: &Job) -> Object {
    let waiting = match &job.waiting {
        Some(Waiting::Event { name }) => json!({"for": "event", "name": name}),
        Some(Waiting::Retry { failures, .. }) => json!({"for": "retry", "failures": failures}),
        Some(Waiting::Timer) => json!({"for": "timer"}),
        _ => Value::Null,
    };
    let mut object = Map::new();
    for (name, value) in [
        ("initial_data", job.initial_data.as_ref().clone()),
        (
            "aggregation_results",
            job.aggregation_results.clone().unwrap_or(Value::Null),
        ),
        ("data_metadata", json!(job.data_metadata)),
        ("metadata", json!(job.metadata)),
        ("policy", json!(job.policy)),
        ("webhook_url", json!(job.webhook_url)),
        ("dispatch_timeout", seconds(job.dispatch_timeout_ms)),
        ("result_timeout", seconds(job.result_timeout_ms)),
        ("tracing_context", json!(job.tracing_context)),
        ("blueprint_revision", json!(job.blueprint_revision)),
        ("revision", json!(job.revision)),
        ("entered_at", time(job.entered_at)),
        ("wake_at", job.wake_at.map_or(Value::Null, time)),
        ("lost_workers", json!(job.lost_workers)),
        ("waiting", waiting),
    ] {
        object.insert(name.to_owned(), value);
    }
    object
}
