//! One job: see it, stop it, set it going again, ask why it waits and what happened.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::auth::Caller;
use super::error::{ApiError, Code};
use super::job_view::View;
use super::query::Parameters;
use super::{ApiState, json as answers};
use crate::base::JobId;
use crate::domain::{Event, EventKind, Job};
use crate::engine::{Ignored, Input};
use crate::runtime::Applied;

/// The answer of every handler here.
pub(super) type Answer = Result<Response, ApiError>;

/// Where the next page begins.
pub(super) const NEXT_CURSOR: HeaderName = HeaderName::from_static("x-next-cursor");

/// Most events on a page of history.
const HISTORY_MAX: u32 = 1000;

/// Most webhooks that are shown of a job.
const DELIVERIES_MAX: u32 = 1000;

/// Longest reason of a cancellation, in characters.
const REASON_CHARS_MAX: usize = 500;

/// Returns the client's own job. Another's is not found, exactly as one that does not exist.
pub(super) async fn owned(state: &ApiState, caller: &Caller, id: &str) -> Result<Job, ApiError> {
    let id: JobId = id.parse().map_err(|_| ApiError::job_not_found())?;
    match state.runtime.job(id).await? {
        Some(job) if job.client.id == caller.0.id => Ok(job),
        _ => Err(ApiError::job_not_found()),
    }
}

/// A job of the client's own, and where it was found.
pub(super) struct Found {
    /// The job.
    pub job: Job,
    /// It has left the store: the archive has it and its history.
    pub is_archived: bool,
}

/// Returns the client's own job, also when it has left the store.
pub(super) async fn found(state: &ApiState, caller: &Caller, id: &str) -> Result<Found, ApiError> {
    let refusal = match owned(state, caller, id).await {
        Ok(job) => {
            return Ok(Found {
                job,
                is_archived: false,
            });
        }
        Err(refusal) => refusal,
    };
    let (Code::JobNotFound, Ok(id)) = (refusal.code(), id.parse()) else {
        return Err(refusal);
    };
    match state.runtime.archived_job(id).await? {
        Some(job) if job.client.id == caller.0.id => Ok(Found {
            job,
            is_archived: true,
        }),
        _ => Err(refusal),
    }
}

/// Which members of a job are wanted.
#[derive(Debug, Deserialize)]
pub struct FieldsQuery {
    fields: Option<String>,
}

/// Shows a job.
#[utoipa::path(
    get, path = "/jobs/{job_id}", tag = "jobs",
    params(
        ("job_id" = String, Path, description = "the job"),
        ("fields" = Option<String>, Query, description = "names of members, separated by commas"),
    ),
    responses(
        (status = 200, description = "the job; `result` only once it has ended", body = ref("#/components/schemas/Job")),
        (status = 401, description = "unauthorized"),
        (status = 404, description = "job_not_found"),
        (status = 405, description = "method_not_allowed: what stands there is a blueprint's endpoint"),
    ),
)]
pub async fn get(
    State(state): State<Arc<ApiState>>,
    caller: Caller,
    Path(job_id): Path<String>,
    Parameters(query): Parameters<FieldsQuery>,
) -> Answer {
    let Found { job, is_archived } = found(&state, &caller, &job_id).await?;
    let job = if is_archived {
        state.runtime.with_values(job).await?
    } else {
        job
    };
    let view = View {
        detailed: state.settings.detailed,
        fields: query.fields.as_deref(),
    };
    Ok(answers::ok(&view.of(&job)))
}

/// Stops a job, its branches and its children.
#[utoipa::path(
    post, path = "/jobs/{job_id}/cancel", tag = "jobs",
    params(("job_id" = String, Path, description = "the job")),
    request_body(content = ref("#/components/schemas/Cancellation"), description = "why, for the history; may be left out"),
    responses(
        (status = 200, description = "the job is cancelled", body = ref("#/components/schemas/CancellationAccepted")),
        (status = 400, description = "invalid_json, invalid_request"),
        (status = 404, description = "job_not_found: unknown, another's or ended already"),
    ),
)]
pub async fn cancel(
    State(state): State<Arc<ApiState>>,
    caller: Caller,
    Path(job_id): Path<String>,
    body: Body,
) -> Answer {
    let job = owned(&state, &caller, &job_id).await?;
    let request = answers::read_optional(body, state.settings.body()).await?;
    let reason = match request.get("reason") {
        None | Some(Value::Null) => "cancelled by the client",
        Some(Value::String(reason)) if reason.chars().count() <= REASON_CHARS_MAX => {
            reason.as_str()
        }
        Some(_) => {
            let message = format!("reason must be a text of at most {REASON_CHARS_MAX} characters");
            return Err(ApiError::invalid(message));
        }
    };
    let input = Input::Cancel {
        reason: reason.to_owned(),
    };
    match state.runtime.apply(job.id, input).await? {
        Applied::Advanced { .. } => Ok(answers::ok(
            &json!({"status": "cancellation_request_accepted"}),
        )),
        Applied::Ignored(_) => Err(ApiError::new(
            Code::JobNotFound,
            "Job not found or already terminal.",
        )),
    }
}

/// Sets a failed or quarantined job going again from the state in which it failed.
#[utoipa::path(
    post, path = "/jobs/{job_id}/retry", tag = "jobs",
    params(("job_id" = String, Path, description = "the job")),
    responses(
        (status = 202, description = "it goes on", body = ref("#/components/schemas/RetryAccepted")),
        (status = 401, description = "unauthorized"),
        (status = 404, description = "job_not_found"),
        (status = 409, description = "not_retryable"),
    ),
)]
pub async fn retry(
    State(state): State<Arc<ApiState>>,
    caller: Caller,
    Path(job_id): Path<String>,
) -> Answer {
    let job = owned(&state, &caller, &job_id).await?;
    match state.runtime.apply(job.id, Input::Retry).await? {
        Applied::Advanced { .. } => Ok(answers::reply(
            StatusCode::ACCEPTED,
            &json!({"job_id": job.id, "status": "retry_accepted"}),
        )),
        Applied::Ignored(Ignored::NotRetryable) if job.parent.is_some() => Err(ApiError::new(
            Code::NotRetryable,
            "a child job cannot be retried by itself: retry the job that started it",
        )),
        Applied::Ignored(_) => Err(ApiError::new(
            Code::NotRetryable,
            format!(
                "the job is {}, only a failed or quarantined one can be retried",
                job.status.as_str()
            ),
        )),
    }
}

/// Which part of a history is wanted.
#[derive(Debug, Deserialize)]
pub struct HistoryQuery {
    limit: Option<String>,
    cursor: Option<String>,
}

/// Reads a limit between 1 and a maximum.
pub(super) fn limit_of(text: Option<&str>, default: u32, max: u32) -> Result<u32, ApiError> {
    let Some(text) = text else { return Ok(default) };
    match text.parse() {
        Ok(limit) if (1..=max).contains(&limit) => Ok(limit),
        _ => Err(ApiError::new(
            Code::InvalidQuery,
            format!("Invalid limit/offset parameter: limit must be 1 to {max}"),
        )),
    }
}

/// Reads `revision.index`, a place in a history. Behind the last index that there can be nothing comes.
pub(super) fn place_of(text: &str) -> Option<(u64, u32)> {
    let (revision, index) = text.split_once('.')?;
    let index: u64 = index.parse().ok()?;
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    Some((revision.parse().ok()?, index))
}

/// Writes a place in a history.
pub(super) fn place(event: &Event) -> String {
    format!("{}.{}", event.revision, event.index)
}

/// Tells what happened to a job.
#[utoipa::path(
    get, path = "/jobs/{job_id}/history", tag = "jobs",
    params(
        ("job_id" = String, Path, description = "the job"),
        ("limit" = Option<u32>, Query, description = "by default 1000", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "the `X-Next-Cursor` of the page before", pattern = r"^[0-9]{1,18}\.[0-9]{1,10}$", example = "3.0"),
    ),
    responses(
        (status = 200, description = "events in order", body = ref("#/components/schemas/History"),
         headers(("X-Next-Cursor" = String, description = "where the next page begins, when there is one"))),
        (status = 400, description = "invalid_query"),
        (status = 401, description = "unauthorized"),
        (status = 404, description = "job_not_found"),
    ),
)]
pub async fn history(
    State(state): State<Arc<ApiState>>,
    caller: Caller,
    Path(job_id): Path<String>,
    Parameters(query): Parameters<HistoryQuery>,
) -> Answer {
    let limit = limit_of(query.limit.as_deref(), HISTORY_MAX, HISTORY_MAX)?;
    let after = match query.cursor.as_deref() {
        None => None,
        Some(text) => Some(
            place_of(text).ok_or_else(|| ApiError::new(Code::InvalidQuery, "Invalid cursor"))?,
        ),
    };
    let Found { job, is_archived } = found(&state, &caller, &job_id).await?;
    let events = if is_archived {
        let archived = state.runtime.archived_history(job.id, after, limit);
        archived.await?
    } else {
        state.runtime.history(job.id, after, limit).await?
    };
    let next = events
        .last()
        .filter(|_| events.len() == limit as usize)
        .map(place);
    let rows: Vec<Value> = events.iter().map(event_row).collect();
    Ok(with_cursor(answers::ok(&Value::Array(rows)), next))
}

/// Adds the place where the next page begins.
pub(super) fn with_cursor(mut response: Response, next: Option<String>) -> Response {
    if let Some(value) = next.and_then(|next| HeaderValue::from_str(&next).ok()) {
        response.headers_mut().insert(NEXT_CURSOR, value);
    }
    response
}

/// Returns an event under the original's names; never the client (HQ7).
pub(super) fn event_row(event: &Event) -> Value {
    let kind = serde_json::to_value(&event.kind).unwrap_or_default();
    let kind = match (
        &event.kind,
        event.details.get("type").and_then(Value::as_str),
    ) {
        (EventKind::WorkerEvent, Some(name)) => json!(format!("worker_event:{name}")),
        _ => kind,
    };
    json!({
        "event_id": event.event_id,
        "job_id": event.job_id,
        "timestamp": event.at.to_rfc3339(),
        "revision": event.revision,
        "index": event.index,
        "event_type": kind,
        "state": event.state,
        "previous_state": event.previous_state,
        "next_state": event.next_state,
        "worker_id": event.worker_id,
        "origin_task_id": event.task_id,
        "attempt_number": event.attempt,
        "duration_ms": event.duration_ms,
        "details": if event.details.is_empty() { Value::Null } else { json!(event.details) },
    })
}

/// Says why a job stands where it stands, and what would set it going.
#[utoipa::path(
    get, path = "/jobs/{job_id}/explain", tag = "jobs",
    params(("job_id" = String, Path, description = "the job")),
    responses(
        (status = 200, description = "what it waits for, and the open tasks with every worker's verdict", body = ref("#/components/schemas/Explanation")),
        (status = 401, description = "unauthorized"),
        (status = 404, description = "job_not_found"),
    ),
)]
pub async fn explain(
    State(state): State<Arc<ApiState>>,
    caller: Caller,
    Path(job_id): Path<String>,
) -> Answer {
    let job = owned(&state, &caller, &job_id).await?;
    let explanation = state
        .runtime
        .explain(job.id)
        .await?
        .ok_or_else(ApiError::job_not_found)?;
    Ok(answers::ok(&answers::value_of(&explanation)?))
}

/// Shows a job's webhooks and how their delivery stands.
#[utoipa::path(
    get, path = "/jobs/{job_id}/deliveries", tag = "jobs",
    params(("job_id" = String, Path, description = "the job")),
    responses(
        (status = 200, description = "deliveries, oldest first", body = ref("#/components/schemas/Deliveries")),
        (status = 401, description = "unauthorized"),
        (status = 404, description = "job_not_found"),
    ),
)]
pub async fn deliveries(
    State(state): State<Arc<ApiState>>,
    caller: Caller,
    Path(job_id): Path<String>,
) -> Answer {
    let job = owned(&state, &caller, &job_id).await?;
    let records = state.runtime.deliveries(job.id, DELIVERIES_MAX).await?;
    let rows: Vec<Value> = records
        .iter()
        .map(|record| {
            json!({
                "id": record.id,
                "job_id": record.job_id,
                "event": record.event,
                "url": record.url,
                "status": record.status,
                "attempts": record.attempts,
                "last_error": record.last_error,
                "created_at": record.created_at.to_rfc3339(),
                "updated_at": record.updated_at.to_rfc3339(),
            })
        })
        .collect();
    Ok(answers::ok(&Value::Array(rows)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_round_trip() {
        for (text, place) in [
            ("1.0", Some((1, 0))),
            (
                "18446744073709551615.4294967295",
                Some((u64::MAX, u32::MAX)),
            ),
            ("3.2147483648", Some((3, 1 << 31))),
            ("3.9999999999", Some((3, u32::MAX))),
            ("1", None),
            ("1.", None),
            ("-1.0", None),
            ("1.0.0", None),
            ("", None),
        ] {
            assert_eq!(place_of(text), place, "{text}");
        }
    }
}
