//! Bodies in and out: bounded reading, and answers in the wire's normal form.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Serialize;
use serde_json::Value;

use super::error::{ApiError, Code};
use crate::domain::Object;
use crate::protocol::to_wire_bytes;

/// The content type of every JSON answer, as the original has it.
pub const CONTENT_TYPE: &str = "application/json; charset=utf-8";

/// Answers with a JSON value: sorted keys, compact, no null members, integral floats as integers.
#[must_use]
pub fn reply(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(to_wire_bytes(value)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    response
}

/// Answers 200 with a JSON value.
#[must_use]
pub fn ok(value: &Value) -> Response<Body> {
    reply(StatusCode::OK, value)
}

/// Turns one of our own records into a JSON value.
pub fn value_of<T: Serialize>(record: &T) -> Result<Value, ApiError> {
    serde_json::to_value(record).map_err(|error| ApiError::internal(&error))
}

/// What a body may cost.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// Most bytes, after decompression.
    pub bytes_max: usize,
    /// Longest time for all of it.
    pub timeout: Duration,
}

/// Reads a whole body within its limits.
pub async fn read(body: Body, limits: BodyLimits) -> Result<Vec<u8>, ApiError> {
    let too_large = || {
        let message = format!("the body is larger than {} bytes", limits.bytes_max);
        Err(ApiError::new(Code::BodyTooLarge, message))
    };
    // What says so itself need not be sent at all: who expects a word before gets this one.
    if body.size_hint().lower() > limits.bytes_max as u64 {
        return too_large();
    }
    let collected = Limited::new(body, limits.bytes_max).collect();
    match tokio::time::timeout(limits.timeout, collected).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes().into()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => too_large(),
        // It broke off, or it is not what its encoding says.
        Ok(Err(_)) => Err(ApiError::invalid_json()),
        Err(_) => {
            let message = format!(
                "the body did not come within {} s",
                limits.timeout.as_secs()
            );
            Err(ApiError::new(Code::RequestTimeout, message))
        }
    }
}

/// Reads a body that has to be a JSON object, whatever its content type says.
pub async fn read_object(body: Body, limits: BodyLimits) -> Result<Object, ApiError> {
    match serde_json::from_slice(&read(body, limits).await?) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(ApiError::invalid_json()),
    }
}

/// Reads a body that may be empty; an empty one is an empty object.
pub async fn read_optional(body: Body, limits: BodyLimits) -> Result<Object, ApiError> {
    let bytes = read(body, limits).await?;
    if bytes.is_empty() {
        return Ok(Object::new());
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(ApiError::invalid_json()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const LIMITS: BodyLimits = BodyLimits {
        bytes_max: 20,
        timeout: Duration::from_secs(1),
    };

    #[tokio::test]
    async fn only_objects_within_the_limit() {
        for (body, code) in [
            ("", Code::InvalidJson),
            ("[]", Code::InvalidJson),
            ("{bad", Code::InvalidJson),
            ("{\"a\":\"\u{fffd}\"} x", Code::InvalidJson),
            ("{\"a\":\"01234567890123456789\"}", Code::BodyTooLarge),
        ] {
            let error = read_object(Body::from(body), LIMITS).await.expect_err(body);
            assert_eq!(error.code(), code, "{body}");
        }
        let object = read_object(Body::from(" {\"a\":1,\"a\":2}"), LIMITS)
            .await
            .expect("object");
        assert_eq!(Value::Object(object), json!({"a": 2}));
        assert!(
            read_optional(Body::empty(), LIMITS)
                .await
                .expect("empty")
                .is_empty()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_times_out() {
        let body = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
        let error = read_object(body, LIMITS).await.expect_err("no end");
        assert_eq!(error.code(), Code::RequestTimeout);
    }
}
