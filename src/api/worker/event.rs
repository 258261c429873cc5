//! E5: what a worker tells of its tasks, by request or by socket.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use serde_json::Value;

use super::auth::{Shown, WorkerCaller};
use super::{Answer, count, message_of, not_yours};
use crate::api::error::{ApiError, Code};
use crate::api::{ApiState, contracts, json, verify};
use crate::engine::{Ignored, WorkerEvent};
use crate::protocol::freshness;
use crate::protocol::sign::EVENT_IGNORED;
use crate::protocol::wire::{EventAnswer, WorkerEventPayload};
use crate::runtime::{Applied, RuntimeError};

/// E5: a worker tells something of a task.
#[utoipa::path(
    post, path = "/_worker/events", tag = "worker",
    params(("X-Worker-ID" = Option<String>, Header, description = "the worker, unless the message says it")),
    request_body(content = ref("#/components/schemas/WorkerEvent"), description = "signed without `bubbling_chain`"),
    responses(
        (status = 200, description = "taken, or not: then the message says why", body = ref("#/components/schemas/WorkerEventAnswer")),
        (status = 400, description = "invalid_json, invalid_message"),
        (status = 403, description = "worker_unauthorized, invalid_signature, forbidden"),
        (status = 429, description = "LIMIT_EXCEEDED_ERROR"),
    ),
)]
pub async fn event(State(state): State<Arc<ApiState>>, shown: Shown, body: Body) -> Answer {
    let (caller, message) = message_of(&state, &shown, body).await?;
    count(&state, &caller.id, "event", |rates| rates.event)?;
    let answer = take_event(&state, &caller, &message).await?;
    Ok(json::ok(&answer.encode()))
}

/// Takes an event, from wherever it came. Source: wire-protocol §8.5.
pub(in crate::api) async fn take_event(
    state: &ApiState,
    caller: &WorkerCaller,
    message: &Value,
) -> Result<EventAnswer, ApiError> {
    verify::verify(message, caller, &EVENT_IGNORED, state.now())?;
    let event = match WorkerEventPayload::decode(message) {
        Ok(event) => event,
        Err(error) => {
            return Ok(EventAnswer::Refused {
                code: None,
                message: error.to_string(),
            });
        }
    };
    if event.worker_id != caller.id {
        return Err(not_yours());
    }
    let task_id = event
        .target_task_id
        .or_else(|| event.origin_task_id.map(Into::into));
    let kind = &event.event_type;
    if let Err(reason) =
        contracts::check_event(state, &caller.id, task_id.as_ref(), kind, &event.payload).await?
    {
        let code = Some("CONTRACT_VIOLATION_ERROR");
        return Ok(EventAnswer::Refused {
            code,
            message: reason,
        });
    }
    // An event without a job of ours has nobody here who cares.
    let Some(job) = event.target_job_id.and_then(|id| id.parse().ok()) else {
        return Ok(EventAnswer::Accepted);
    };
    let nonce = freshness::nonce_of(message).unwrap_or_default();
    let event = WorkerEvent {
        id: event.event_id,
        event_type: event.event_type,
        payload: event.payload,
        worker: caller.id.clone(),
        task_id,
        timestamp: event.timestamp,
    };
    match state.runtime.worker_event_once(job, event, nonce).await {
        Ok(Applied::Ignored(Ignored::WorkerMismatch)) => Err(ApiError::new(
            Code::Forbidden,
            "Forbidden: the task is with another worker",
        )),
        Ok(_) | Err(RuntimeError::JobNotFound) => Ok(EventAnswer::Accepted),
        Err(error) => Err(error.into()),
    }
}
