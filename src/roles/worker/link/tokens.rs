//! A worker's short-lived tokens with one orchestrator: fetched, renewed, and signed with where there
//! is nothing else.

use std::sync::PoisonError;

use serde_json::json;
use tracing::{debug, warn};

use super::{Link, parse, wire};
use crate::base::{Secret, Timestamp};
use crate::net::{Call, Method, NetError};
use crate::protocol::wire::TokenResponse;
use crate::protocol::{headers, to_wire_bytes};

/// Short-lived tokens.
pub(super) struct Access {
    pub(super) token: Secret,
    refresh: Option<Secret>,
    renew_at: Timestamp,
}

impl Link {
    /// Fetches new short-lived tokens: with the refresh token if there is one, else with the
    /// static token.
    pub(in crate::roles::worker) async fn renew(&self) -> Result<(), NetError> {
        let refresh = {
            let mut access = self.access.lock().unwrap_or_else(PoisonError::into_inner);
            // Taken out: a refresh token is good for one exchange, and the static token is what
            // remains when it fails.
            access.take().and_then(|access| access.refresh)
        };
        let mut tokens = Err(NetError::Decode("no refresh token".to_owned()));
        if let Some(refresh) = refresh {
            let body = to_wire_bytes(&json!({"refresh_token": refresh.expose()}));
            tokens = self
                .tokens(
                    self.call(Method::Post, headers::TOKEN_REFRESH_PATH)
                        .json(body),
                )
                .await;
        }
        if tokens.is_err() {
            tokens = self
                .tokens(self.call(Method::Post, headers::TOKEN_PATH))
                .await;
        }
        self.keep_tokens(tokens?);
        debug!(orchestrator.url = self.base, "new access token");
        Ok(())
    }

    async fn tokens(&self, call: Call) -> Result<TokenResponse, NetError> {
        let add = |call: Call, (name, value): (&str, String)| call.header(name, value);
        let call = self.identity().into_iter().fold(call, add);
        let answer = self.http.send(call).await?.success()?;
        TokenResponse::decode(&parse(&answer)?).map_err(wire)
    }

    pub(super) fn keep_tokens(&self, tokens: TokenResponse) {
        // A fifth of the lifetime is left for the renewal.
        let lifetime_ms = u64::try_from(tokens.expires_in)
            .unwrap_or(0)
            .saturating_mul(800);
        let access = Access {
            token: tokens.access_token,
            refresh: tokens.refresh_token,
            renew_at: self.clock.now().after_ms(lifetime_ms),
        };
        *self.access.lock().unwrap_or_else(PoisonError::into_inner) = Some(access);
    }

    /// Renews the tokens when they are soon to end, or when there should be some and are none.
    pub(in crate::roles::worker) async fn rotate(&self) {
        let due = {
            let access = self.access.lock().unwrap_or_else(PoisonError::into_inner);
            match access.as_ref() {
                None => self.rotates,
                Some(access) => access.renew_at <= self.clock.now(),
            }
        };
        if due && let Err(error) = self.renew().await {
            warn!(orchestrator.url = self.base, %error, "no access token; using the static one");
        }
    }

    /// Returns what messages are signed with; empty when there is nothing.
    pub(super) fn signing_key(&self) -> Secret {
        if !self.token.is_empty() {
            return self.token.clone();
        }
        let access = self.access.lock().unwrap_or_else(PoisonError::into_inner);
        access
            .as_ref()
            .map_or_else(Secret::default, |access| access.token.clone())
    }
}
