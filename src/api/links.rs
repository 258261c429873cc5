//! Links to job files that work without a token, for a while: presigned ones of the blob store's own
//! when it is a server, else signed by this server and checked by it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::header::HOST;
use serde::Deserialize;

use super::ApiState;
use super::error::{ApiError, Code};
use super::files;
use super::jobs::Answer;
use super::query::Parameters;
use super::settings::FileLinks;
use crate::base::{JobId, Timestamp, crypto};
use crate::store::BlobRight as Right;

/// What makes a link good.
#[derive(Debug, Deserialize)]
pub struct LinkQuery {
    expires: Option<i64>,
    size: Option<u64>,
    signature: Option<String>,
}

/// Returns what a link allows, as its signature covers it.
fn deed(right: Right) -> String {
    match right {
        Right::Get => "GET".to_owned(),
        Right::Put(None) => "PUT".to_owned(),
        Right::Put(Some(bytes)) => format!("PUT {bytes}"),
    }
}

fn signature(state: &ApiState, right: Right, job: JobId, file: &str, expires: i64) -> String {
    let text = format!("{}\n{job}\n{expires}\n{file}", deed(right));
    crypto::base64url(&crypto::hmac_sha256(
        &state.settings.link_key(),
        text.as_bytes(),
    ))
}

/// Returns a link to a job's file that is good for so long: to the blob store itself when it is a
/// server that clients may be led to, else to this one.
pub(super) async fn link(
    state: &ApiState,
    headers: &HeaderMap,
    right: Right,
    (job, file): (JobId, &str),
    expires_in: Duration,
) -> Result<String, ApiError> {
    if state.settings.file_links == FileLinks::Store {
        let key = format!("jobs/{job}/{file}");
        let blobs = state.runtime.blobs();
        if let Some(url) = blobs.presign(right, &key, expires_in).await? {
            return Ok(url);
        }
    }
    Ok(own_link(state, headers, right, (job, file), expires_in))
}

fn own_link(
    state: &ApiState,
    headers: &HeaderMap,
    right: Right,
    (job, file): (JobId, &str),
    expires_in: Duration,
) -> String {
    let expires_in_s = i64::try_from(expires_in.as_secs()).unwrap_or(i64::MAX);
    let expires = state.now().as_secs().saturating_add(expires_in_s);
    let signature = signature(state, right, job, file, expires);
    let path = encoded(file);
    let base = base_url(state, headers);
    let size = match right {
        Right::Put(Some(bytes)) => format!("&size={bytes}"),
        Right::Get | Right::Put(None) => String::new(),
    };
    format!("{base}/_public/files/{job}/{path}?expires={expires}{size}&signature={signature}")
}

/// Returns where clients reach this server: as configured, else as this client just did.
fn base_url(state: &ApiState, headers: &HeaderMap) -> String {
    if let Some(url) = &state.settings.public_url {
        return url.trim_end_matches('/').to_owned();
    }
    let scheme = state.settings.scheme;
    headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .map_or_else(String::new, |host| format!("{scheme}://{host}"))
}

/// Percent-encodes all but the characters that a path segment may hold as they are.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&crypto::hex(&[byte]).to_ascii_uppercase());
        }
    }
    out
}

/// Checks a link; returns the job whose file it names.
fn check(
    state: &ApiState,
    right: Right,
    (job, file): (&str, &str),
    query: &LinkQuery,
) -> Result<JobId, ApiError> {
    let refused = || ApiError::new(Code::LinkInvalid, "the link is not valid or has expired");
    let job: JobId = job.parse().map_err(|_| refused())?;
    let (Some(expires), Some(given)) = (query.expires, &query.signature) else {
        return Err(refused());
    };
    let expected = signature(state, right, job, file, expires);
    let is_good = crypto::constant_time_eq(expected.as_bytes(), given.as_bytes());
    if is_good && Timestamp(expires.saturating_mul(1000)) > state.now() {
        Ok(job)
    } else {
        Err(refused())
    }
}

/// Reads a job's file by a link.
#[utoipa::path(
    get, path = "/_public/files/{job_id}/{filename}", tag = "public",
    params(
        ("job_id" = String, Path, description = "the job"),
        ("filename" = String, Path, description = "the file"),
        ("expires" = i64, Query, description = "as the link has it"),
        ("signature" = String, Query, description = "as the link has it"),
    ),
    responses(
        (status = 200, description = "the content", content_type = "application/octet-stream", body = ref("#/components/schemas/FileContent")),
        (status = 400, description = "invalid_query, invalid_file_name"),
        (status = 403, description = "link_invalid"),
        (status = 503, description = "store_unavailable, busy"),
        (status = 404, description = "file_not_found"),
    ),
)]
pub async fn download(
    State(state): State<Arc<ApiState>>,
    Path((job_id, filename)): Path<(String, String)>,
    Parameters(query): Parameters<LinkQuery>,
) -> Answer {
    let job = check(&state, Right::Get, (&job_id, &filename), &query)?;
    files::send(&state, job, &filename).await
}

/// Writes a job's file by a link.
#[utoipa::path(
    put, path = "/_public/files/{job_id}/{filename}", tag = "public",
    params(
        ("job_id" = String, Path, description = "the job"),
        ("filename" = String, Path, description = "the file"),
        ("expires" = i64, Query, description = "as the link has it"),
        ("size" = Option<i64>, Query, minimum = 0, description = "as the link has it: the bytes of the file, if that was asked for"),
        ("signature" = String, Query, description = "as the link has it"),
    ),
    request_body(content = ref("#/components/schemas/FileContent"), content_type = "application/octet-stream", description = "the content"),
    responses(
        (status = 200, description = "stored", body = ref("#/components/schemas/Uploaded")),
        (status = 400, description = "invalid_query, invalid_file_name, upload_interrupted"),
        (status = 403, description = "link_invalid"),
        (status = 404, description = "job_not_found"),
        (status = 503, description = "store_unavailable, busy, shutting_down"),
        (status = 409, description = "job_ended"),
        (status = 413, description = "body_too_large"),
    ),
)]
pub async fn upload(
    State(state): State<Arc<ApiState>>,
    Path((job_id, filename)): Path<(String, String)>,
    Parameters(query): Parameters<LinkQuery>,
    body: Body,
) -> Answer {
    let right = Right::Put(query.size);
    let id = check(&state, right, (&job_id, &filename), &query)?;
    let job = state
        .runtime
        .job(id)
        .await?
        .ok_or_else(ApiError::job_not_found)?;
    files::receive(&state, &job, &filename, (body, query.size)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_for_a_path() {
        assert_eq!(encoded("a b/ä?.txt"), "a%20b%2F%C3%A4%3F.txt");
        assert_eq!(encoded("plain-file_1~.tar.gz"), "plain-file_1~.tar.gz");
    }
}
