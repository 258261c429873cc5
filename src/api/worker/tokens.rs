//! E6 and E7: short-lived tokens, so that the configured one travels rarely.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use serde_json::Value;

use super::auth::{Shown, may_refresh, worker_of};
use super::{Answer, count};
use crate::api::error::{ApiError, Code};
use crate::api::{ApiState, json};
use crate::base::{Secret, WorkerId};
use crate::protocol::wire::TokenResponse;
use crate::runtime::TokenPair;

/// E6: an authenticated worker gets a pair of short-lived tokens.
#[utoipa::path(
    post, path = "/_worker/auth/token", tag = "worker",
    params(("X-Worker-ID" = Option<String>, Header, description = "the worker, unless an access token says it")),
    responses(
        (status = 200, description = "the pair", body = ref("#/components/schemas/TokenResponse")),
        (status = 403, description = "worker_unauthorized"),
        (status = 429, description = "LIMIT_EXCEEDED_ERROR"),
    ),
)]
pub async fn issue_token(State(state): State<Arc<ApiState>>, shown: Shown) -> Answer {
    let caller = worker_of(&state, &shown, shown.claimed_id()).await?;
    count(&state, &caller.id, "sts_token", |rates| rates.worker)?;
    Ok(json::ok(&token_answer(
        state.runtime.issue_tokens(&caller.id).await?,
    )))
}

/// E7: a refresh token buys the next pair, once.
#[utoipa::path(
    post, path = "/_worker/auth/token/refresh", tag = "worker",
    params(("X-Worker-ID" = Option<String>, Header, description = "the worker, unless the body says it: one of the two has to")),
    request_body(content = ref("#/components/schemas/RefreshRequest"), description = "the token"),
    responses(
        (status = 200, description = "the pair", body = ref("#/components/schemas/TokenResponse")),
        (status = 400, description = "invalid_json, invalid_message"),
        (status = 403, description = "worker_unauthorized: unknown, used, expired or another worker's"),
        (status = 429, description = "LIMIT_EXCEEDED_ERROR"),
        (status = 503, description = "store_unavailable, busy, shutting_down"),
    ),
)]
pub async fn refresh_token(State(state): State<Arc<ApiState>>, shown: Shown, body: Body) -> Answer {
    let message = Value::Object(json::read_object(body, state.settings.body()).await?);
    let text = |name: &str| {
        message
            .get(name)
            .and_then(Value::as_str)
            .filter(|t| !t.is_empty())
    };
    let missing = |what: &str| ApiError::new(Code::InvalidMessage, format!("Missing {what}"));
    let id = shown.claimed_id().or_else(|| text("worker_id"));
    let id = id.filter(|id| crate::base::ids::is_identifier(id));
    let id = WorkerId::new(id.ok_or_else(|| missing("X-Worker-ID header"))?);
    let refresh = text("refresh_token").ok_or_else(|| missing("refresh_token"))?;
    count(&state, &id, "sts_refresh", |rates| rates.worker)?;
    let pair = if may_refresh(&state, &shown, &id) {
        state.runtime.refresh_tokens(refresh, &id).await?
    } else {
        None
    };
    match pair {
        Some(pair) => Ok(json::ok(&token_answer(pair))),
        None => Err(ApiError::new(
            Code::WorkerUnauthorized,
            "Unauthorized: Invalid refresh token",
        )),
    }
}

fn token_answer(pair: TokenPair) -> Value {
    let response = TokenResponse {
        access_token: Secret::new(pair.access.expose()),
        expires_in: i64::try_from(pair.expires_in).unwrap_or(i64::MAX),
        worker_id: pair.worker,
        refresh_token: Some(Secret::new(pair.refresh.expose())),
    };
    response.encode()
}
