//! A new job: every member of the request is checked before anything is stored.
//!
//! Source: http-api §3.1. Unknown members are ignored, as the original does.

use std::collections::BTreeMap;

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use serde_json::{Value, json};

use super::auth::Caller;
use super::error::ApiError;
use super::{ApiState, json as answers};
use crate::base::crypto;
use crate::domain::{ClientRef, Object};
use crate::observe::trace;
use crate::protocol::to_wire_bytes;
use crate::runtime::NewJob;

/// The header that makes a request safe to repeat.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Longest idempotency key, in bytes.
const KEY_BYTES_MAX: usize = 255;
/// Longest webhook URL, in bytes.
const URL_BYTES_MAX: usize = 2048;
/// Longest timeout that can be asked for, in seconds: a year.
const TIMEOUT_S_MAX: f64 = 31_536_000.0;
/// Most labels of a job.
const LABELS_MAX: usize = 64;
/// Longest name of a label, in bytes.
const LABEL_NAME_BYTES_MAX: usize = 63;
/// Longest value of a label, in bytes.
const LABEL_BYTES_MAX: usize = 256;
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
    let mut new = request_of(state, caller, &body)?;
    new.tracing_context = tracing_context(&parts.headers);
    if let Some(span) = trace::current() {
        new.tracing_context = trace::carried(&new.tracing_context, span);
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
        .filter(|key| (1..=KEY_BYTES_MAX).contains(&key.len()))
        .map(|key| Some(key.to_owned()))
        .ok_or_else(|| {
            ApiError::invalid(format!(
                "Idempotency-Key must be 1 to {KEY_BYTES_MAX} printable ASCII characters"
            ))
        })
}

/// Takes over the W3C trace headers, and no other (HQ6).
fn tracing_context(headers: &HeaderMap) -> BTreeMap<String, String> {
    ["traceparent", "tracestate", "baggage"]
        .into_iter()
        .filter_map(|name| {
            let value = headers.get(name)?.to_str().ok()?;
            (value.len() <= TRACE_BYTES_MAX).then(|| (name.to_owned(), value.to_owned()))
        })
        .collect()
}

/// Reads the members of the body.
fn request_of(state: &ApiState, caller: &Caller, body: &Object) -> Result<NewJob, ApiError> {
    let initial_data = match body.get("initial_data") {
        None | Some(Value::Null) => Value::Object(Object::new()),
        Some(data) => data.clone(),
    };
    let mut new = NewJob::new(ClientRef::from(caller.0.as_ref()), initial_data);
    new.quota = caller.0.monthly_attempts;
    new.webhook_url = webhook_url(body)?;
    new.dispatch_timeout_ms = timeout_ms(body, "dispatch_timeout")?;
    new.result_timeout_ms = timeout_ms(body, "result_timeout")?;
    new.policy = policy(body, state.settings.policy_bytes_max)?;
    new.security = body
        .get("security")
        .filter(|value| !value.is_null())
        .cloned();
    new.metadata = object(body, "metadata")?;
    new.data_metadata = object(body, "data_metadata")?;
    new.max_transitions = max_transitions(body, state.settings.transitions_max)?;
    new.labels = labels(body)?;
    Ok(new)
}

/// Returns a member unless it is missing or null.
fn member<'a>(body: &'a Object, name: &str) -> Option<&'a Value> {
    body.get(name).filter(|value| !value.is_null())
}

fn object(body: &Object, name: &str) -> Result<Option<Object>, ApiError> {
    match member(body, name) {
        None => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object.clone())),
        Some(_) => Err(ApiError::invalid(format!("{name} must be an object"))),
    }
}

fn webhook_url(body: &Object) -> Result<Option<String>, ApiError> {
    let Some(value) = member(body, "webhook_url") else {
        return Ok(None);
    };
    let is_good = |text: &&str| {
        text.len() <= URL_BYTES_MAX
            && text.parse::<Uri>().is_ok_and(|uri| {
                matches!(uri.scheme_str(), Some("http" | "https"))
                    && uri.host().is_some_and(|host| !host.is_empty())
                    && uri
                        .authority()
                        .is_some_and(|authority| !authority.as_str().contains('@'))
            })
    };
    value.as_str().filter(is_good).map(|text| Some(text.to_owned())).ok_or_else(|| {
        ApiError::invalid(format!(
            "webhook_url must be an http or https URL without user name, of at most {URL_BYTES_MAX} bytes"
        ))
    })
}

fn timeout_ms(body: &Object, name: &str) -> Result<Option<u64>, ApiError> {
    let Some(value) = member(body, name) else {
        return Ok(None);
    };
    match value.as_f64() {
        Some(seconds) if seconds > 0.0 && seconds <= TIMEOUT_S_MAX => {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "positive and at most a year"
            )]
            let ms = (seconds * 1000.0).ceil() as u64;
            Ok(Some(ms))
        }
        _ => Err(ApiError::invalid(format!(
            "{name} must be a number of seconds, above 0 and at most {TIMEOUT_S_MAX}"
        ))),
    }
}

fn policy(body: &Object, bytes_max: usize) -> Result<Option<Object>, ApiError> {
    let Some(policy) = object(body, "policy")? else {
        return Ok(None);
    };
    let bytes = to_wire_bytes(&Value::Object(policy.clone())).len();
    if bytes > bytes_max {
        return Err(ApiError::invalid(format!(
            "policy is {bytes} bytes, the limit is {bytes_max}"
        )));
    }
    let is_list_of_skills = |value: &Value| {
        value
            .as_array()
            .is_some_and(|list| !list.is_empty() && list.iter().all(Value::is_string))
    };
    match member(&policy, "allowed_skills") {
        Some(skills) if !is_list_of_skills(skills) => Err(ApiError::invalid(
            "policy.allowed_skills must be a non-empty list of strings",
        )),
        _ => Ok(Some(policy)),
    }
}

fn max_transitions(body: &Object, limit: u32) -> Result<Option<u32>, ApiError> {
    let Some(value) = member(body, "max_transitions") else {
        return Ok(None);
    };
    value
        .as_u64()
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| (1..=limit).contains(number))
        .map(Some)
        .ok_or_else(|| {
            ApiError::invalid(format!(
                "max_transitions must be an integer from 1 to {limit}"
            ))
        })
}

fn labels(body: &Object) -> Result<BTreeMap<String, String>, ApiError> {
    let Some(labels) = object(body, "labels")? else {
        return Ok(BTreeMap::new());
    };
    if labels.len() > LABELS_MAX {
        return Err(ApiError::invalid(format!(
            "labels: at most {LABELS_MAX} are allowed"
        )));
    }
    labels
        .into_iter()
        .map(|(name, value)| match value {
            Value::String(value)
                if is_label_name(&name) && value.len() <= LABEL_BYTES_MAX =>
            {
                Ok((name, value))
            }
            _ => Err(ApiError::invalid(format!(
                "labels must map names (1 to {LABEL_NAME_BYTES_MAX} bytes, no colon) to strings of at most {LABEL_BYTES_MAX} bytes"
            ))),
        })
        .collect()
}

/// A name without a colon, because `label=name:value` has to be read again.
fn is_label_name(name: &str) -> bool {
    (1..=LABEL_NAME_BYTES_MAX).contains(&name.len()) && !name.contains(':')
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

    #[test]
    fn webhook_urls() {
        for (url, good) in [
            (json!("http://127.0.0.1:9000/hook?x=1"), true),
            (json!("https://example.org"), true),
            (json!("ftp://example.org/"), false),
            (json!("file:///etc/passwd"), false),
            (json!("javascript:alert(1)"), false),
            (json!("/relative"), false),
            (json!("http://user:secret@example.org/"), false),
            (json!("http://"), false),
            (json!("not a url"), false),
            (
                json!(format!("http://example.org/{}", "x".repeat(2048))),
                false,
            ),
            (json!(5), false),
        ] {
            assert_eq!(
                webhook_url(&body(json!({"webhook_url": url}))).is_ok(),
                good,
                "{url}"
            );
        }
        assert_eq!(webhook_url(&body(json!({"webhook_url": null}))), Ok(None));
    }

    #[test]
    fn timeouts() {
        for (value, ms) in [
            (json!(1), Ok(Some(1000))),
            (json!(0.5), Ok(Some(500))),
            (json!(0.0001), Ok(Some(1))),
            (json!(null), Ok(None)),
            (json!(0), Err(())),
            (json!(-1), Err(())),
            (json!("10"), Err(())),
            (json!(true), Err(())),
            (json!(1e300), Err(())),
        ] {
            let seen = timeout_ms(&body(json!({"t": value})), "t").map_err(|_| ());
            assert_eq!(seen, ms, "{value}");
        }
    }

    #[test]
    fn policies_and_bounds() {
        for (value, good) in [
            (json!({"allowed_skills": ["a"]}), true),
            (json!({"anything": 1}), true),
            (json!({"allowed_skills": null}), true),
            (json!({"allowed_skills": []}), false),
            (json!({"allowed_skills": ["a", 1]}), false),
            (json!({"allowed_skills": "a"}), false),
            (json!([]), false),
            (json!({"long": "x".repeat(100)}), false),
        ] {
            assert_eq!(
                policy(&body(json!({"policy": value})), 100).is_ok(),
                good,
                "{value}"
            );
        }
        for (value, good) in [
            (json!(1), true),
            (json!(100), true),
            (json!(0), false),
            (json!(101), false),
            (json!(true), false),
            (json!(1.5), false),
            (json!("5"), false),
        ] {
            let seen = max_transitions(&body(json!({"max_transitions": value})), 100);
            assert_eq!(seen.is_ok(), good, "{value}");
        }
    }

    #[test]
    fn label_bounds() {
        for (value, good) in [
            (json!({"team": "a", "empty": ""}), true),
            (json!({"": "a"}), false),
            (json!({"a:b": "c"}), false),
            (json!({"a": 1}), false),
            (json!({"a": "x".repeat(257)}), false),
            (json!(["a"]), false),
        ] {
            assert_eq!(
                labels(&body(json!({"labels": value}))).is_ok(),
                good,
                "{value}"
            );
        }
        let many: Object = (0..65).map(|n| (format!("l{n}"), json!("v"))).collect();
        assert!(labels(&body(json!({"labels": many}))).is_err());
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
