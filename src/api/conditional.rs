//! Answers that a caller may have already: `ETag` and `If-None-Match`. Source: RFC 9110 §13.1.2.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;

use super::error::ApiError;

/// Tells whether the caller names the tag among those that it has. Weak comparison: what matters is
/// that the content is the same, not its packing.
#[must_use]
pub fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let named = headers.get_all(header::IF_NONE_MATCH).iter();
    let named = named.filter_map(|value| value.to_str().ok());
    let strong = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    named
        .flat_map(|text| text.split(','))
        .any(|tag| tag.trim() == "*" || strong(tag) == strong(etag))
}

/// Answers that nothing has changed.
pub fn not_modified(etag: &str) -> Result<Response, ApiError> {
    let etag = HeaderValue::from_str(etag).map_err(|error| ApiError::internal(&error))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response.headers_mut().insert(header::ETAG, etag);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_weakly() {
        for (named, is_same) in [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("\"b\", W/\"a\"", true),
            ("*", true),
            ("\"b\"", false),
            ("a", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static(named));
            assert_eq!(is_known(&headers, "W/\"a\""), is_same, "{named}");
        }
        assert!(!is_known(&HeaderMap::new(), "\"a\""));
    }
}
