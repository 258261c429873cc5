//! What a request is refused with: one JSON form, one stable code for each reason.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::engine::SubmitError;
use crate::protocol::{WireError, to_wire_bytes};
use crate::runtime::RuntimeError;
use crate::store::BlobError;

/// Defines the codes once: variant, text, status, meaning.
macro_rules! codes {
    ($($variant:ident $text:literal $status:literal $meaning:literal;)*) => {
        /// A stable code of an error answer.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $meaning] $variant,)*
        }

        /// Every code with its status and meaning, in the order of README's table.
        pub const CODES: &[(&str, u16, &str)] = &[$(($text, $status, $meaning),)*];

        impl Code {
            /// Returns the code's row in [`CODES`].
            const fn row(self) -> (&'static str, u16) {
                match self {
                    $(Self::$variant => ($text, $status),)*
                }
            }
        }
    };
}

codes! {
    InvalidJson "invalid_json" 400 "The body is not JSON, or not an object where one is needed.";
    InvalidRequest "invalid_request" 400 "A member of the body or a header is missing, of the wrong type or out of bounds.";
    InvalidQuery "invalid_query" 400 "A query parameter cannot be read or is out of bounds.";
    InvalidInput "invalid_input" 400 "`initial_data` does not match the blueprint's input schema.";
    InvalidDecision "invalid_decision" 400 "The decision is none of the approval's, or its form is not filled in as asked.";
    InvalidFileName "invalid_file_name" 400 "The file name is empty, too long, leaves its folder or is taken by the job's own values.";
    InvalidMessage "invalid_message" 400 "A worker's message does not follow the protocol.";
    UploadInterrupted "upload_interrupted" 400 "The body of an upload broke off; nothing was stored.";
    Unauthorized "unauthorized" 401 "The client's token is missing or unknown.";
    TokenExpired "token_expired" 401 "The worker's access token has expired; refresh it.";
    Forbidden "forbidden" 403 "The caller is known but may not do this.";
    WorkerUnauthorized "worker_unauthorized" 403 "The worker's token or certificate is missing, unknown or another worker's.";
    InvalidSignature "invalid_signature" 403 "A worker's message is unsigned, wrongly signed or too old.";
    LinkInvalid "link_invalid" 403 "The file link is not one of this server's or has expired.";
    NotFound "not_found" 404 "No such route.";
    JobNotFound "job_not_found" 404 "No such job among the client's own, or it has ended already.";
    BlueprintNotFound "blueprint_not_found" 404 "No such blueprint.";
    WorkerNotFound "worker_not_found" 404 "The worker is not registered.";
    FileNotFound "file_not_found" 404 "No such file of the job, or of the documentation.";
    MethodNotAllowed "method_not_allowed" 405 "The route exists, but not with this method; see `Allow`.";
    RequestTimeout "request_timeout" 408 "The body came too slowly.";
    IdempotencyKeyReused "idempotency_key_reused" 409 "The idempotency key belongs to another request.";
    NotWaiting "not_waiting" 409 "The job does not wait for this now.";
    NotRetryable "not_retryable" 409 "Only a failed or quarantined job can be retried.";
    HistoryOff "history_off" 409 "The orchestrator keeps no history to search in; `--history` gives it one.";
    JobEnded "job_ended" 409 "The job has ended; its files can no longer be changed.";
    BodyTooLarge "body_too_large" 413 "The body is larger than allowed.";
    UnsupportedEncoding "unsupported_encoding" 415 "The body's `Content-Encoding` is none of gzip, deflate and zstd.";
    HeaderTooLarge "header_too_large" 431 "A header is larger than allowed.";
    RateLimited "rate_limited" 429 "Too many requests; wait for `Retry-After` seconds.";
    LimitExceeded "LIMIT_EXCEEDED_ERROR" 429 "Too many messages of a worker; wait for `Retry-After` seconds.";
    QuotaExceeded "quota_exceeded" 429 "The client has no job left this month.";
    InternalError "internal_error" 500 "A fault of the server's; the request id finds it in the log.";
    StoreUnavailable "store_unavailable" 503 "The store cannot be reached just now; the same request may go through later.";
    Busy "busy" 503 "Too much at once; the same request may go through later.";
    ShuttingDown "shutting_down" 503 "The server is on its way out; ask another.";
}

impl Code {
    /// Returns the code's text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// Returns the status that goes with it.
    #[must_use]
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().1).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    code: Code,
    message: String,
    retry_after_s: Option<u64>,
}

impl ApiError {
    /// Refuses with a code and a text for people.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after_s: None,
        }
    }

    /// Adds the `Retry-After` header.
    #[must_use]
    pub const fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// Returns the code.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// Returns the text.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Another's or nobody's job: the answer is the same, so that ids cannot be probed (HQ14).
    #[must_use]
    pub fn job_not_found() -> Self {
        Self::new(Code::JobNotFound, "Job not found")
    }

    /// The body is no JSON object.
    #[must_use]
    pub fn invalid_json() -> Self {
        Self::new(Code::InvalidJson, "Invalid JSON body")
    }

    /// A member or header is not as it should be.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidRequest, message)
    }

    /// A fault of ours. The cause goes to the log, never to the caller.
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "internal error");
        Self::new(Code::InternalError, "Internal server error")
    }

    /// Returns the answer's body.
    pub(super) fn body(&self, request_id: Option<&str>) -> serde_json::Value {
        json!({
            "error": self.message,
            "code": self.code.as_str(),
            "request_id": request_id,
        })
    }

    /// Writes the answer, with the request's id when it is known.
    pub(super) fn render(&self, request_id: Option<&str>) -> Response {
        let mut response = Response::new(Body::from(to_wire_bytes(&self.body(request_id))));
        *response.status_mut() = self.code.status();
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(super::json::CONTENT_TYPE),
        );
        if let Some(seconds) = self.retry_after_s {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl IntoResponse for ApiError {
    /// Leaves the error among the extensions: the envelope writes it again with the request id.
    fn into_response(self) -> Response {
        let mut response = self.render(None);
        response.extensions_mut().insert(self);
        response
    }
}

impl From<RuntimeError> for ApiError {
    fn from(error: RuntimeError) -> Self {
        match error {
            RuntimeError::UnknownBlueprint { .. } => {
                Self::new(Code::BlueprintNotFound, "Blueprint not found")
            }
            RuntimeError::Submit(error) => error.into(),
            RuntimeError::KeyReused { job_id } => Self::new(
                Code::IdempotencyKeyReused,
                format!(
                    "the idempotency key was used for another request, which made job {job_id}"
                ),
            ),
            RuntimeError::QuotaExceeded { limit } => Self::new(
                Code::QuotaExceeded,
                format!("Quota exceeded or not configured: {limit} jobs a month"),
            ),
            RuntimeError::JobNotFound => Self::job_not_found(),
            RuntimeError::Busy => {
                Self::new(Code::Busy, "too much at once, try again").retry_after(1)
            }
            RuntimeError::Store(cause) => {
                tracing::error!(%cause, "store unavailable");
                Self::new(Code::StoreUnavailable, "the store is unavailable").retry_after(2)
            }
            RuntimeError::ShuttingDown => {
                Self::new(Code::ShuttingDown, "the server is shutting down").retry_after(2)
            }
        }
    }
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        let code = match error {
            SubmitError::InvalidInput { .. } => Code::InvalidInput,
            SubmitError::TooDeep { .. } | SubmitError::MaxTransitions { .. } => {
                Code::InvalidRequest
            }
            SubmitError::TooLarge { .. } => Code::BodyTooLarge,
        };
        Self::new(code, error.to_string())
    }
}

impl From<BlobError> for ApiError {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::InvalidKey(_) => Self::new(Code::InvalidFileName, "invalid file name"),
            BlobError::TooLarge { limit } => Self::new(
                Code::BodyTooLarge,
                format!("the file is larger than {limit} bytes"),
            ),
            BlobError::Interrupted(reason) => Self::new(
                Code::UploadInterrupted,
                format!("the upload broke off, nothing was stored: {reason}"),
            ),
            BlobError::InvalidLifetime { max } => Self::new(
                Code::InvalidQuery,
                format!("expires_in must be 1 to {max} seconds"),
            ),
            BlobError::Busy => {
                Self::new(Code::Busy, "too many uploads at once, try again").retry_after(1)
            }
            BlobError::Unavailable(cause) => {
                // The store has told the log already, once and not for every request.
                tracing::debug!(%cause, "blob store unavailable");
                Self::new(Code::StoreUnavailable, "the blob store is unavailable").retry_after(2)
            }
        }
    }
}

impl From<WireError> for ApiError {
    fn from(error: WireError) -> Self {
        match error {
            WireError::NotJson(_) => Self::invalid_json(),
            error => Self::new(Code::InvalidMessage, error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_input_is_never_an_internal_error() {
        let mut seen = std::collections::HashSet::new();
        for (code, status, meaning) in CODES {
            assert!(seen.insert(code), "{code} twice");
            assert!((400..600).contains(status), "{code}");
            assert!(meaning.ends_with('.'), "{code}");
            assert!(StatusCode::from_u16(*status).is_ok());
        }
    }

    #[tokio::test]
    async fn an_error_is_one_sorted_object() {
        let error = ApiError::new(Code::RateLimited, "Too Many Requests").retry_after(7);
        let response = error.render(Some("r-1"));
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[header::RETRY_AFTER], "7");
        let body = axum::body::to_bytes(response.into_body(), 1024)
            .await
            .expect("in memory");
        assert_eq!(
            std::str::from_utf8(&body).expect("text"),
            r#"{"code":"rate_limited","error":"Too Many Requests","request_id":"r-1"}"#
        );
    }
}
