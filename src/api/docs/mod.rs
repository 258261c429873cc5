//! The API's description for people: [Swagger UI](https://swagger.io/tools/swagger-ui/), out of this
//! binary and with nothing from elsewhere, and the same as a page without scripts ([`plain`]).
//! Fixes HQ1.
//!
//! The page's policy lets it load these files and ask this server, nothing else: no script or style
//! within the page, so that whatever a blueprint says stays text.

mod files;
pub mod plain;

use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::{Path, Request};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{Redirect, Response};
use tower::ServiceExt as _;
use tower_http::decompression::Decompression;

use super::conditional::{is_known, not_modified};
use super::error::{ApiError, Code};
use files::{FILES, File};

/// What the page may do. Styles that scripts set on elements are theirs to set; `data:` is for the
/// pictures that the style sheet carries.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
frame-ancestors 'none'";

/// How long a browser keeps a file: the page names each with its digest.
const FOREVER: &str = "public, max-age=31536000, immutable";

/// The page. Addresses are relative, so that it works below a proxy's prefix too.
static PAGE: LazyLock<String> = LazyLock::new(|| {
    let address = |name: &str| {
        let file = FILES.iter().find(|file| file.name == name);
        let digest = file.map_or("", |file| file.digest());
        format!("docs/{name}?v={digest}")
    };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Avtomatika API</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n\
         <link rel=\"stylesheet\" href=\"{}\">\n<link rel=\"stylesheet\" href=\"{}\">\n\
         <script src=\"{}\" defer></script>\n<script src=\"{}\" defer></script>\n</head>\n<body>\n\
         <p class=\"own\">To try a client's route: <b>Authorize</b>, and give the client's token. \
         The same <a href=\"docs/plain\">without scripts</a>, and as \
         <a href=\"openapi.json\">data</a>.</p>\n\
         <noscript><p class=\"own\">This page needs scripts; \
         <a href=\"docs/plain\">the other</a> does not.</p></noscript>\n\
         <div id=\"swagger-ui\"></div>\n</body>\n</html>\n",
        address("swagger-ui.css"),
        address("page.css"),
        address("swagger-ui-bundle.js"),
        address("page.js"),
    )
});

/// Shows the API in Swagger UI, where every route can be tried.
#[utoipa::path(
    get, path = "/_public/docs", tag = "public",
    responses((status = 200, description = "the page", content_type = "text/html; charset=utf-8", body = String)),
)]
pub async fn page() -> Response {
    let mut response = Response::new(Body::from(PAGE.as_str()));
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

/// Leads to the page, whose links would lead nowhere from below it. Relative: a proxy may have put
/// something before all paths.
pub async fn without_slash() -> Redirect {
    Redirect::permanent("../docs")
}

/// Returns a file of the documentation's page.
#[utoipa::path(
    get, path = "/_public/docs/{file}", tag = "public",
    params(("file" = String, Path, description = "as the page names it", pattern = r"^[a-z-]+\.(css|js)$", example = "page.js")),
    responses(
        (status = 200, description = "the file, with an `ETag`, to be kept for a year", body = String,
         content_type = "text/javascript; charset=utf-8"),
        (status = 304, description = "the caller has it already, as its `If-None-Match` says"),
        (status = 404, description = "file_not_found"),
    ),
)]
pub async fn file(
    Path(name): Path<String>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, ApiError> {
    let Some(file) = FILES.iter().find(|file| file.name == name) else {
        return Err(ApiError::new(Code::FileNotFound, "File not found"));
    };
    let mut response = if is_known(&headers, &file.etag) {
        not_modified(&file.etag)?
    } else if file.is_packed && !takes_gzip(&headers) {
        unpacked(file, request).await?
    } else {
        content(file)?
    };
    let keep = HeaderValue::from_static(FOREVER);
    response.headers_mut().insert(header::CACHE_CONTROL, keep);
    Ok(response)
}

/// Answers with a file as it lies in the binary.
fn content(file: &'static File) -> Result<Response, ApiError> {
    let mut response = Response::new(Body::from(file.bytes));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(file.content_type),
    );
    let etag = HeaderValue::from_str(&file.etag).map_err(|error| ApiError::internal(&error))?;
    headers.insert(header::ETAG, etag);
    if file.is_packed {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    Ok(response)
}

/// Unpacks a file for the rare caller that does not take it packed.
async fn unpacked(file: &'static File, request: Request) -> Result<Response, ApiError> {
    let packed = tower::service_fn(move |_: Request| async move { content(file) });
    let response = Decompression::new(packed).oneshot(request).await?;
    Ok(response.map(Body::new))
}

/// Tells whether the caller takes gzip, by name and not refused.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT_ENCODING).iter();
    let texts = accepted.filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().trim_start_matches("q=").parse::<f32>();
        name.trim().eq_ignore_ascii_case("gzip") && weight.unwrap_or(1.0) > 0.0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_who_takes_it() {
        for (accepted, takes) in [
            ("gzip, deflate, br", true),
            ("br;q=1.0, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip; q=0.0", false),
            ("identity", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted));
            assert_eq!(takes_gzip(&headers), takes, "{accepted}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
