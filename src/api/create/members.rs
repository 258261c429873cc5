//! The members of a request for a new job, each with its bounds. The description of the API shows
//! the same ones.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::http::Uri;
use serde_json::{Value, json};

use crate::api::ApiState;
use crate::api::auth::Caller;
use crate::api::error::ApiError;
use crate::blueprint::Schema;
use crate::domain::{ClientRef, Object};
use crate::protocol::to_wire_bytes;
use crate::runtime::NewJob;

/// Longest webhook URL, in characters, all of which are ASCII.
pub(in crate::api) const URL_CHARS_MAX: usize = 2048;
/// What a webhook URL looks like: http or https, no user name, a host or an address, a port, and what
/// may stand in a URL after that.
pub(in crate::api) const WEBHOOK_URL: &str = concat!(
    r"^https?://([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])",
    r"(:([1-5]?[0-9]{1,4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?",
    r"([/?#][!#-;=?-_a-z|~]*)?$",
);
/// Longest timeout that can be asked for, in seconds: a year.
pub(in crate::api) const TIMEOUT_S_MAX: f64 = 31_536_000.0;
/// Most labels of a job.
pub(in crate::api) const LABELS_MAX: usize = 64;
/// Longest name of a label, in characters.
pub(in crate::api) const LABEL_NAME_CHARS_MAX: usize = 63;
/// Longest value of a label, in characters.
pub(in crate::api) const LABEL_CHARS_MAX: usize = 256;

static IS_WEBHOOK_URL: LazyLock<Schema> = LazyLock::new(|| {
    let schema = json!({"type": "string", "pattern": WEBHOOK_URL});
    Schema::compile(&schema).expect("a pattern of our own, which a test compiles")
});

/// Reads the members of the body.
pub(super) fn request_of(
    state: &ApiState,
    caller: &Caller,
    body: &Object,
) -> Result<NewJob, ApiError> {
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
    // By the very pattern that the description shows; what has it and is no URL all the same is
    // refused too.
    let is_good = |text: &&str| {
        text.len() <= URL_CHARS_MAX
            && IS_WEBHOOK_URL.check(value).is_ok()
            && text.parse::<Uri>().is_ok()
    };
    value.as_str().filter(is_good).map(|text| Some(text.to_owned())).ok_or_else(|| {
        ApiError::invalid(format!(
            "webhook_url must be an http or https URL without user name, of at most {URL_CHARS_MAX} characters"
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
    // `5.0` is an integer, as JSON Schema has it.
    let whole = value.as_f64().filter(|number| number.fract() == 0.0);
    whole
        .filter(|number| (0.0..=f64::from(u32::MAX)).contains(number))
        .map(|number| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "whole, not negative and within 32 bits"
            )]
            let number = number as u32;
            number
        })
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
                if is_label_name(&name) && value.chars().count() <= LABEL_CHARS_MAX =>
            {
                Ok((name, value))
            }
            _ => Err(ApiError::invalid(format!(
                "labels must map names (1 to {LABEL_NAME_CHARS_MAX} characters, no colon) to strings of at most {LABEL_CHARS_MAX} characters"
            ))),
        })
        .collect()
}

/// A name without a colon, because `label=name:value` has to be read again.
pub(in crate::api) fn is_label_name(name: &str) -> bool {
    (1..=LABEL_NAME_CHARS_MAX).contains(&name.chars().count()) && !name.contains(':')
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
            (json!("http://[::1]:65535/?a=b#c"), true),
            (json!("https://a_b.example.org?x"), true),
            (json!("http://example.org:65536/"), false),
            (json!("http://example.org:/"), false),
            (json!("http://example.org/a b"), false),
            (json!("http://example.org/\u{e4}"), false),
            (json!("http://example.org\n"), false),
            (json!("HTTP://example.org"), false),
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
            (json!(5.0), true),
            (json!(1e300), false),
            (json!(-1), false),
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
            (json!({"a": "\u{e4}".repeat(256)}), true),
            (json!({"\u{e4}".repeat(63): "a"}), true),
            (json!({"\u{e4}".repeat(64): "a"}), false),
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
}
