//! A person's decision: by the job's owner, or by whoever was given its single-use token.
//!
//! Source: http-api §2. Only a job that waits for a person can be decided (HQ2), and the token
//! comes in the body or a header, never in the URL, where logs would keep it (HQ5).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::auth::{CLIENT_TOKEN, Caller, client_of};
use super::error::{ApiError, Code};
use super::jobs::{Answer, owned};
use super::limits::too_many;
use super::server::Peer;
use super::{ApiState, json as answers};
use crate::base::{JobId, crypto};
use crate::domain::{Job, Object, Waiting};
use crate::engine::{Ignored, Input};
use crate::runtime::Applied;

/// The header that may carry an approval's token.
pub const APPROVAL_TOKEN: &str = "x-approval-token";

/// Longest decision, in characters.
const DECISION_CHARS_MAX: usize = 128;

/// What was decided.
struct Decision {
    choice: String,
    metadata: Option<Object>,
    security: Option<Value>,
}

fn decision_of(body: &Object) -> Result<Decision, ApiError> {
    let decision = body
        .get("decision")
        .and_then(Value::as_str)
        .filter(|text| (1..=DECISION_CHARS_MAX).contains(&text.chars().count()))
        .ok_or_else(|| {
            ApiError::invalid(format!(
                "decision must be a text of 1 to {DECISION_CHARS_MAX} characters"
            ))
        })?;
    let metadata = match body.get("metadata") {
        None | Some(Value::Null) => None,
        Some(Value::Object(metadata)) => Some(metadata.clone()),
        Some(_) => return Err(ApiError::invalid("metadata must be an object")),
    };
    let security = body
        .get("security")
        .filter(|value| !value.is_null())
        .cloned();
    Ok(Decision {
        choice: decision.to_owned(),
        metadata,
        security,
    })
}

async fn decide(state: &ApiState, job: &Job, decision: Decision) -> Answer {
    let Decision {
        choice,
        metadata,
        security,
    } = decision;
    let input = Input::Decided {
        visit: job.visit,
        decision: choice.clone(),
        metadata,
        security,
    };
    match state.runtime.apply(job.id, input).await? {
        Applied::Advanced { .. } => Ok(answers::ok(
            &json!({"job_id": job.id, "status": "approval_received"}),
        )),
        Applied::Ignored(Ignored::UnknownDecision) => Err(ApiError::new(
            Code::InvalidDecision,
            format!("decision `{choice}` is none that this approval knows"),
        )),
        Applied::Ignored(Ignored::InvalidForm) => Err(ApiError::new(
            Code::InvalidDecision,
            "metadata does not match the approval's form",
        )),
        Applied::Ignored(_) => Err(not_waiting()),
    }
}

fn not_waiting() -> ApiError {
    ApiError::new(Code::NotWaiting, "the job does not wait for a decision")
}

/// Decides for whoever holds the job's approval token, or for its owner.
#[utoipa::path(
    post, path = "/_public/webhooks/approval/{job_id}", tag = "public",
    params(
        ("job_id" = String, Path, description = "the job"),
        ("X-Approval-Token" = Option<String>, Header, description = "the token, unless it is in the body"),
        ("X-Client-Token" = Option<String>, Header, description = "the owner's token instead"),
    ),
    request_body(content = ref("#/components/schemas/DecisionByToken"), description = "what was decided"),
    responses(
        (status = 200, description = "decided", body = ref("#/components/schemas/DecisionAccepted")),
        (status = 400, description = "invalid_json, invalid_request, invalid_decision"),
        (status = 401, description = "unauthorized"),
        (status = 404, description = "job_not_found: for a client"),
        (status = 409, description = "not_waiting"),
        (status = 429, description = "rate_limited: for wrong tokens"),
        (status = 503, description = "store_unavailable, busy, shutting_down"),
    ),
)]
pub async fn by_token(
    State(state): State<Arc<ApiState>>,
    Path(job_id): Path<String>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let body = answers::read_object(body, state.settings.body()).await?;
    let decision = decision_of(&body)?;
    let peer = peer.map(|Extension(peer)| peer.0.ip().to_string());
    let header = headers
        .get(APPROVAL_TOKEN)
        .and_then(|value| value.to_str().ok());
    let token = body
        .get("token")
        .and_then(Value::as_str)
        .or(header)
        .unwrap_or_default();
    if let Some(job) =
        job_of_token(&state, &job_id, token, peer.as_deref().unwrap_or("unknown")).await?
    {
        return decide(&state, &job, decision).await;
    }
    if headers.contains_key(CLIENT_TOKEN) {
        let caller = Caller(client_of(&state, &headers)?);
        let job = owned(&state, &caller, &job_id).await?;
        return decide(&state, &job, decision).await;
    }
    // Unknown job, used token and wrong token look the same to a stranger.
    Err(ApiError::new(
        Code::Unauthorized,
        "Unauthorized: Invalid approval token",
    ))
}

/// Returns the job if this is the token of its present approval. Wrong tokens are counted by job
/// and address.
async fn job_of_token(
    state: &ApiState,
    job_id: &str,
    token: &str,
    peer: &str,
) -> Result<Option<Job>, ApiError> {
    if token.is_empty() {
        return Ok(None);
    }
    let Ok(id) = job_id.parse::<JobId>() else {
        return Ok(None);
    };
    // Counted before the store is asked, and given back when the token was right: who guesses is
    // held off, and holds nobody else off.
    let counted = state.settings.rate_limits.map(|limits| {
        let key = state.buckets.key(&["approval", &id.to_string(), peer]);
        (key, limits.approval)
    });
    if let Some((key, rate)) = counted {
        state
            .buckets
            .take(key, rate, state.now())
            .map_err(|wait_ms| too_many(Code::RateLimited, wait_ms))?;
    }
    let job = state.runtime.job(id).await?;
    let is_its_token = |job: &Job| match &job.waiting {
        Some(Waiting::Human {
            token: expected, ..
        }) => crypto::constant_time_eq(expected.as_bytes(), token.as_bytes()),
        _ => false,
    };
    let job = job.filter(is_its_token);
    if let (Some(_), Some((key, rate))) = (&job, counted) {
        state.buckets.refund(key, rate);
    }
    Ok(job)
}

/// Decides for the job's owner.
#[utoipa::path(
    post, path = "/jobs/{job_id}/approve", tag = "jobs",
    params(("job_id" = String, Path, description = "the job")),
    request_body(content = ref("#/components/schemas/Decision"), description = "what was decided"),
    responses(
        (status = 200, description = "decided", body = ref("#/components/schemas/DecisionAccepted")),
        (status = 400, description = "invalid_json, invalid_request, invalid_decision"),
        (status = 401, description = "unauthorized"),
        (status = 404, description = "job_not_found"),
        (status = 409, description = "not_waiting"),
    ),
)]
pub async fn by_owner(
    State(state): State<Arc<ApiState>>,
    caller: Caller,
    Path(job_id): Path<String>,
    body: Body,
) -> Answer {
    let body = answers::read_object(body, state.settings.body()).await?;
    let decision = decision_of(&body)?;
    let job = owned(&state, &caller, &job_id).await?;
    decide(&state, &job, decision).await
}
