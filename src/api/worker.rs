//! The worker side of the wire: registration, heartbeats, tasks, results, events, tokens.
//!
//! Source: wire-protocol §8, with its quirks fixed. The socket is in [`socket`](super::socket).

pub mod auth;
pub mod event;
mod handout;
pub mod tokens;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::error::{ApiError, Code};
use super::limits::{Rate, RateLimits, too_many};
use super::query::Parameters;
use super::server::{Draining, Patience};
use super::{ApiState, contracts, json, verify};
use crate::base::WorkerId;
use crate::domain::TaskReport;
use crate::engine::Ignored;
use crate::protocol::errors::ignored;
use crate::protocol::headers::{LOST_LEASES_MAX, RXON_VERSION};
use crate::protocol::wire::{
    Heartbeat, HeartbeatAnswer, RegisterAnswer, Registration, ResultAnswer, TaskResult,
};
use crate::protocol::{parse_json, task_message};
use crate::runtime::{Beat, Handout, PollRequest, Reported};

use auth::{Shown, WorkerCaller, worker_of};
pub(super) use handout::HandoutBody;

/// The answer of every handler here.
type Answer = Result<Response, ApiError>;

/// A message that was counted against its worker's rate.
pub(super) struct Counted(Option<(u64, Rate)>);

impl Counted {
    /// Gives the count back: the message was useful work, which the rate is not for.
    pub(super) fn refund(&self, state: &ApiState) {
        if let Some((key, rate)) = self.0 {
            state.buckets.refund(key, rate);
        }
    }
}

/// Counts a message of a kind; refuses it when there are too many. Source: wire-protocol §9.
///
/// The key is the worker's id, which is its certificate's common name where it showed one. Whatever
/// it authenticates with, it has one allowance.
pub(super) fn count(
    state: &ApiState,
    worker: &WorkerId,
    kind: &str,
    rate: fn(&RateLimits) -> Rate,
) -> Result<Counted, ApiError> {
    let Some(limits) = &state.settings.rate_limits else {
        return Ok(Counted(None));
    };
    let (key, rate) = (
        state.buckets.key(&["worker", worker.as_str(), kind]),
        rate(limits),
    );
    match state.buckets.take(key, rate, state.now()) {
        Ok(()) => Ok(Counted(Some((key, rate)))),
        Err(wait_ms) => Err(too_many(Code::LimitExceeded, wait_ms)),
    }
}

fn not_yours() -> ApiError {
    ApiError::new(
        Code::Forbidden,
        "Forbidden: the message is another worker's",
    )
}

/// Authenticates a message whose id may be claimed by header or body, and reads it.
async fn message_of(
    state: &ApiState,
    shown: &Shown,
    body: Body,
) -> Result<(WorkerCaller, Value), ApiError> {
    let limits = state.settings.body();
    if let Some(id) = shown.claimed_id() {
        let caller = worker_of(state, shown, Some(id)).await?;
        let message = parse_json(&json::read(body, limits).await?)?;
        return Ok((caller, message));
    }
    let message = parse_json(&json::read(body, limits).await?)?;
    let hint = message.get("worker_id").and_then(Value::as_str);
    let caller = worker_of(state, shown, hint).await?;
    Ok((caller, message))
}

/// E1: a worker says who it is and what it can do.
#[utoipa::path(
    post, path = "/_worker/workers/register", tag = "worker",
    params(("X-Worker-ID" = Option<String>, Header, description = "the worker, unless the message says it")),
    request_body(content = ref("#/components/schemas/WorkerRegistration"), description = "signed"),
    responses(
        (status = 200, description = "known from now on", body = ref("#/components/schemas/Registered")),
        (status = 400, description = "invalid_json, invalid_message"),
        (status = 403, description = "worker_unauthorized, invalid_signature, forbidden"),
        (status = 429, description = "LIMIT_EXCEEDED_ERROR"),
    ),
)]
pub async fn register(State(state): State<Arc<ApiState>>, shown: Shown, body: Body) -> Answer {
    let (caller, message) = message_of(&state, &shown, body).await?;
    count(&state, &caller.id, "register", |rates| rates.worker)?;
    verify::verify(&message, &caller, &[], state.now())?;
    let registration = Registration::decode(&message)?;
    if registration.worker_id != caller.id {
        return Err(not_yours());
    }
    state.runtime.register(registration.into_worker()).await?;
    let deployment = state.runtime.deployment().await?;
    let version = shown
        .headers
        .get(RXON_VERSION)
        .and_then(|value| value.to_str().ok());
    let answer = RegisterAnswer::to(version, Some(deployment.to_string()));
    Ok(json::ok(&answer.encode()))
}

/// E2: a worker says that it lives, and how it stands.
#[utoipa::path(
    patch, path = "/_worker/workers/{worker_id}", tag = "worker",
    params(("worker_id" = String, Path, description = "the worker")),
    request_body(content = ref("#/components/schemas/HeartbeatOrNothing"), description = "signed; may be left out, which only keeps the worker alive"),
    responses(
        (status = 200, description = "heard", body = ref("#/components/schemas/HeartbeatAnswer")),
        (status = 400, description = "invalid_json, invalid_message"),
        (status = 403, description = "worker_unauthorized, invalid_signature, forbidden"),
        (status = 404, description = "worker_not_found: register again"),
        (status = 429, description = "LIMIT_EXCEEDED_ERROR"),
    ),
)]
pub async fn heartbeat(
    State(state): State<Arc<ApiState>>,
    Path(worker_id): Path<String>,
    shown: Shown,
    body: Body,
) -> Answer {
    let caller = worker_of(&state, &shown, Some(&worker_id)).await?;
    count(&state, &caller.id, "heartbeat", |rates| rates.heartbeat)?;
    let bytes = json::read(body, state.settings.body()).await?;
    let message = if bytes.is_empty() {
        Value::Null
    } else {
        parse_json(&bytes)?
    };
    let is_empty = match &message {
        Value::Null => bytes.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    };
    let beat = if is_empty {
        Beat {
            empty: true,
            ..Beat::default()
        }
    } else {
        verify::verify(&message, &caller, &[], state.now())?;
        let beat = Heartbeat::decode(&message)?;
        if beat.worker_id != caller.id {
            return Err(not_yours());
        }
        beat_of(beat)
    };
    let Some(answer) = state.runtime.heartbeat(&caller.id, beat).await? else {
        return Err(ApiError::new(Code::WorkerNotFound, "Worker not found"));
    };
    let deployment = if answer.cancel_task_ids.is_empty() {
        None
    } else {
        Some(state.runtime.deployment().await?.to_string())
    };
    let answer = HeartbeatAnswer {
        ttl_refreshed: is_empty,
        require_full_sync: answer.require_full_sync,
        cancel_task_ids: answer.cancel_task_ids,
        deployment,
        next_heartbeat_jitter_ms: None,
    };
    Ok(json::ok(&answer.encode()))
}

fn beat_of(beat: Heartbeat) -> Beat {
    Beat {
        empty: false,
        status: Some(beat.status),
        usage: beat
            .usage
            .as_ref()
            .map(crate::protocol::wire::Usage::encode),
        current_tasks: beat.current_tasks,
        skills: beat.supported_skills,
        available_skills: beat.available_skills,
        hot_skills: beat.hot_skills,
        skills_hash: beat.skills_hash,
        metadata: beat.metadata,
    }
}

/// What a poll asks for. The original's lists of skills come with the heartbeat already.
#[derive(Debug, Deserialize)]
pub struct PollQuery {
    timeout: Option<String>,
    lease_id: Option<Uuid>,
    lost_lease_ids: Option<String>,
}

impl PollQuery {
    /// Returns how long the poll is kept open: as asked, within the server's window. What is no
    /// number of seconds takes the window, as the original does.
    fn wait(&self, window: Duration) -> Duration {
        let asked = self
            .timeout
            .as_deref()
            .and_then(|text| text.trim().parse::<f64>().ok());
        match asked.map(Duration::try_from_secs_f64) {
            Some(Ok(asked)) => asked.min(window),
            _ => window,
        }
    }

    fn request(&self, window: Duration) -> Result<PollRequest, ApiError> {
        let lost = self.lost_lease_ids.as_deref().unwrap_or_default();
        let lost = lost.split(',').filter(|id| !id.is_empty());
        let lost: Vec<Uuid> = lost
            .map(Uuid::parse_str)
            .collect::<Result<_, _>>()
            .map_err(|error| invalid_ids(&format!("an id is no UUID: {error}")))?;
        if lost.len() > LOST_LEASES_MAX {
            return Err(invalid_ids(&format!("{} ids", lost.len())));
        }
        Ok(PollRequest {
            wait: self.wait(window),
            lease: self.lease_id,
            lost,
        })
    }
}

fn invalid_ids(seen: &str) -> ApiError {
    let expected = format!("at most {LOST_LEASES_MAX} UUIDs with commas between");
    ApiError::new(
        Code::InvalidQuery,
        format!("lost_lease_ids: {seen}; expected {expected}"),
    )
}

/// E3: a worker asks for a task; the answer comes as soon as there is one.
#[utoipa::path(
    get, path = "/_worker/workers/{worker_id}/tasks/next", tag = "worker",
    params(
        ("worker_id" = String, Path, description = "the worker"),
        ("timeout" = Option<f64>, Query, description = "seconds, at most the server's window; what is no number takes the window"),
        ("lease_id" = Option<String>, Query, pattern = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", description = "a new UUID by which the lease is known, should the answer not arrive"),
        ("lost_lease_ids" = Option<String>, Query, pattern = r"^([0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(,[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}){0,7})?$", description = "the lease_id of up to 8 polls that brought no answer, with commas between: a task that one of them was given is queued again at once"),
    ),
    responses(
        (status = 200, description = "a task, signed and leased to the worker", body = ref("#/components/schemas/TaskPayload")),
        (status = 204, description = "nothing to do"),
        (status = 400, description = "invalid_query"),
        (status = 403, description = "worker_unauthorized"),
        (status = 429, description = "LIMIT_EXCEEDED_ERROR"),
    ),
)]
pub async fn next_task(
    State(state): State<Arc<ApiState>>,
    Path(worker_id): Path<String>,
    Parameters(query): Parameters<PollQuery>,
    (Draining(drained), patience): (Draining, Patience),
    shown: Shown,
) -> Answer {
    let caller = worker_of(&state, &shown, Some(&worker_id)).await?;
    let counted = count(&state, &caller.id, "poll", |rates| rates.poll)?;
    // The request's header lies in the connection's buffer, which goes with it: a poll that waits
    // takes the less memory the less it keeps.
    drop(shown);
    let request = query.request(state.settings.poll_window)?;
    let handout = tokio::select! {
        biased;
        () = drained.cancelled() => None,
        handout = state.runtime.poll(&caller.id, request) => handout?,
        never = patience.wait() => match never {},
    };
    let Some(handout) = handout else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    counted.refund(&state);
    let task = handout.task();
    let context = state.runtime.traces().of_task(task);
    let secret = &state.settings.task_secret;
    match task_message(task, &context, secret, state.now()) {
        Ok(message) => Ok(HandoutBody::answer(&message, handout)),
        Err(error) => {
            // On the heap: it is rare, and every poll would carry its size.
            Box::pin(unreadable(&state, &caller.id, handout, error.to_string())).await
        }
    }
}

/// Tells a job that no worker could read its task, and the worker that there is none.
async fn unreadable(state: &ApiState, worker: &WorkerId, handout: Handout, why: String) -> Answer {
    let (job, task) = (handout.task().job_id, handout.task().id.clone());
    handout.delivered();
    let report = TaskReport::failure("INVALID_INPUT_ERROR", why);
    state.runtime.report(worker, job, &task, report).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// E4: a worker says how a task ended. Late and repeated results are answered, never refused.
#[utoipa::path(
    post, path = "/_worker/tasks/result", tag = "worker",
    params(("X-Worker-ID" = Option<String>, Header, description = "the worker, unless the message says it")),
    request_body(content = ref("#/components/schemas/TaskResult"), description = "signed"),
    responses(
        (status = 200, description = "whether it counts", body = ref("#/components/schemas/ResultAnswer")),
        (status = 400, description = "invalid_json, invalid_message"),
        (status = 403, description = "worker_unauthorized, invalid_signature, forbidden"),
        (status = 429, description = "LIMIT_EXCEEDED_ERROR"),
    ),
)]
pub async fn result(State(state): State<Arc<ApiState>>, shown: Shown, body: Body) -> Answer {
    let (caller, message) = message_of(&state, &shown, body).await?;
    let counted = count(&state, &caller.id, "result", |rates| rates.worker)?;
    verify::verify(&message, &caller, &[], state.now())?;
    let result = TaskResult::decode(&message)?;
    if result.worker_id.as_ref().is_some_and(|id| *id != caller.id) {
        return Err(not_yours());
    }
    let Some(job) = result.job() else {
        return Ok(job_unknown(&result.job_id));
    };
    let task = result.task_id.clone();
    let mut report = result.into_report();
    report.worker_id = Some(caller.id.clone());
    let report = contracts::checked(&state, &caller.id, &task, report).await?;
    let answer = match state.runtime.report(&caller.id, job, &task, report).await? {
        Reported::Accepted(answer) => {
            counted.refund(&state);
            ResultAnswer::accepted(answer)
        }
        Reported::Ignored(reason) => {
            let (reason, why) = ignored_reason(reason);
            ResultAnswer::ignored(reason, format!("task {task} of job {job}: {why}"))
        }
        Reported::JobNotFound => return Ok(job_unknown(&job.to_string())),
    };
    Ok(json::ok(&answer.encode()))
}

fn job_unknown(job: &str) -> Response {
    json::ok(
        &ResultAnswer::ignored(ignored::JOB_NOT_FOUND, format!("Job {job} not found")).encode(),
    )
}

/// Returns the wire's word for why a result does not count, and what it means.
fn ignored_reason(reason: Ignored) -> (&'static str, &'static str) {
    match reason {
        Ignored::WorkerMismatch => (ignored::WORKER_MISMATCH, "it is with another worker"),
        Ignored::JobCancelled => (ignored::JOB_CANCELLED, "the job was cancelled"),
        Ignored::DeadlineExceeded => (ignored::DEADLINE_EXCEEDED, "its deadline has passed"),
        Ignored::JobAlreadyTerminated => (ignored::JOB_ALREADY_TERMINATED, "the job has ended"),
        Ignored::Repeated(_)
        | Ignored::StaleTask
        | Ignored::NotWaiting
        | Ignored::UnknownDecision
        | Ignored::InvalidForm
        | Ignored::NotDue
        | Ignored::NotRetryable => (ignored::STALE_TASK, "the job has moved on"),
    }
}
