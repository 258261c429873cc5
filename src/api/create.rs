//! A new job: every member of the request is checked before anything is stored.
//!
//! Source: http-api §3.1. Unknown members are ignored, as the original does.

pub(super) mod members;

use std::collections::BTreeMap;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use super::auth::Caller;
use super::envelope::{Below, PARENT};
use super::error::ApiError;
use super::{ApiState, json as answers};
use crate::base::crypto;
use crate::base::trace::{BAGGAGE, TRACEPARENT, TRACESTATE};
use crate::domain::Object;
use crate::protocol::to_wire_bytes;

/// The header that makes a request safe to repeat.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Longest idempotency key, in characters, all of which are ASCII.
pub(super) const KEY_CHARS_MAX: usize = 255;
/// Longest of the trace headers, in bytes.
const TRACE_BYTES_MAX: usize = 8192;

/// Creates a job of the blueprint whose endpoint was asked.
pub(super) async fn create(
    state: &ApiState,
    caller: &Caller,
    blueprint: &str,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let body = answers::read_object(body, state.settings.body()).await?;
    let key = idempotency_key(&parts.headers)?;
    let mut new = members::request_of(state, caller, &body)?;
    new.tracing_context = tracing_context(&parts.headers);
    if let Some(Below(place)) = parts.extensions.get() {
        new.tracing_context
            .insert(TRACEPARENT.to_owned(), place.to_string());
    }
    new.idempotency = key.map(|key| (key, fingerprint(blueprint, body)));
    let created = state.runtime.submit(blueprint, new).await?;
    Ok(answers::reply(
        StatusCode::ACCEPTED,
        &json!({"job_id": created.job_id, "status": "accepted"}),
    ))
}

/// Returns the digest of a request: the same members in another order are the same request.
fn fingerprint(blueprint: &str, body: Object) -> String {
    let digest = crypto::sha256(&[blueprint.as_bytes(), &to_wire_bytes(&Value::Object(body))]);
    crypto::hex(&digest)
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    value
        .to_str()
        .ok()
        .filter(|key| (1..=KEY_CHARS_MAX).contains(&key.len()))
        .filter(|key| key.bytes().all(|byte| matches!(byte, b' '..=b'~')))
        .map(|key| Some(key.to_owned()))
        .ok_or_else(|| {
            ApiError::invalid(format!(
                "Idempotency-Key must be 1 to {KEY_CHARS_MAX} printable ASCII characters"
            ))
        })
}

/// Takes over the W3C trace headers, and no other (HQ6).
fn tracing_context(headers: &HeaderMap) -> BTreeMap<String, String> {
    const NAMES: [HeaderName; 3] = [
        PARENT,
        HeaderName::from_static(TRACESTATE),
        HeaderName::from_static(BAGGAGE),
    ];
    NAMES
        .iter()
        .filter_map(|name| {
            let value = headers.get(name)?.to_str().ok()?;
            (value.len() <= TRACE_BYTES_MAX).then(|| (name.to_string(), value.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(value: Value) -> Object {
        match value {
            Value::Object(object) => object,
            other => panic!("{other} is no object"),
        }
    }

    /// A tab is no character of a key: the description says which are.
    #[test]
    fn keys_are_printable() {
        for (key, is_good) in [
            ("order-4711", true),
            ("a b", true),
            ("a\tb", false),
            ("", false),
            (&"k".repeat(255), true),
            (&"k".repeat(256), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(IDEMPOTENCY_KEY, key.parse().expect("a header"));
            assert_eq!(idempotency_key(&headers).is_ok(), is_good, "{key:?}");
        }
    }

    #[test]
    fn a_fingerprint_does_not_depend_on_order() {
        let first = body(json!({"a": 1, "b": {"c": 1.0, "d": null}}));
        let second = body(json!({"b": {"c": 1}, "a": 1}));
        assert_eq!(fingerprint("x", first.clone()), fingerprint("x", second));
        assert_ne!(fingerprint("x", first.clone()), fingerprint("y", first));
    }

    #[test]
    fn only_trace_headers_are_kept() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("traceparent", "00-a-b-01"),
            ("cookie", "secret"),
            ("x-client-token", "secret"),
        ] {
            headers.insert(name, value.parse().expect("a header"));
        }
        assert_eq!(
            tracing_context(&headers).into_keys().collect::<Vec<_>>(),
            ["traceparent"]
        );
    }
}
