//! A job's files: streamed in, streamed out, linked. Source: http-api §3.7, with HQ10 fixed.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Deserialize;
use serde_json::{Value, json};

use super::auth::Caller;
use super::error::{ApiError, Code};
use super::jobs::{Answer, found, owned};
use super::links::link;
use super::places::in_time;
use super::query::Parameters;
use super::{ApiState, downloads, json as answers};
use crate::base::JobId;
use crate::domain::Job;
use crate::store::offload;
use crate::store::{BlobBody, BlobError, BlobInfo, BlobRight, PRESIGN_MAX};

/// Longest file name, in bytes.
const NAME_BYTES_MAX: usize = 255;
/// Lifetime of a link unless asked for.
const LINK: Duration = Duration::from_hours(1);
/// Longest lifetime of a link, whoever has signed it.
const LINK_MAX: Duration = PRESIGN_MAX;
/// Lifetime of the link that a download is redirected to.
const REDIRECT: Duration = Duration::from_mins(1);

/// Files of one list whose digests are asked for where the store's own list has none.
const DIGESTS_MAX: usize = 100;
/// Such questions under way at once.
const HEADS_AT_ONCE: usize = 8;

/// Returns the blob's key, or refuses the name: one segment that stays in its folder.
fn key_of(job: JobId, name: &str) -> Result<String, ApiError> {
    let is_good = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name != "."
        && name != ".."
        && !name
            .chars()
            .any(|c| c == '/' || c == '\\' || c.is_control());
    if is_good {
        Ok(format!("jobs/{job}/{name}"))
    } else {
        Err(ApiError::new(
            Code::InvalidFileName,
            format!(
                "a file name has 1 to {NAME_BYTES_MAX} bytes and no slash or control character"
            ),
        ))
    }
}

/// Refuses the name of the folder in which a job's own large values are: a file there would keep them out.
fn free_for_files(name: &str) -> Result<(), ApiError> {
    if name == offload::FOLDER {
        let message = format!("no file can be called {name}, the job's own values are there");
        return Err(ApiError::new(Code::InvalidFileName, message));
    }
    Ok(())
}

/// Refuses a job that has ended: what it has left stays as it is.
fn open_for_files(job: &Job) -> Result<(), ApiError> {
    if job.status.is_terminal() {
        let message = "the job has ended, its files can no longer be changed";
        return Err(ApiError::new(Code::JobEnded, message));
    }
    Ok(())
}

/// Stores a body as the job's file. It has to have so many bytes, if that is said.
pub(super) async fn receive(
    state: &ApiState,
    job: &Job,
    name: &str,
    (body, bytes): (Body, Option<u64>),
) -> Answer {
    let key = key_of(job.id, name)?;
    free_for_files(name)?;
    open_for_files(job)?;
    let blobs = state.runtime.blobs();
    let mut bytes_max = state.settings.upload_bytes_max;
    let mut body = timed(body, state.settings.upload_timeout);
    if let Some(bytes) = bytes {
        bytes_max = bytes_max.min(bytes);
        body = at_least(body, bytes);
    }
    let place = match blobs.uploads_max() {
        Some(places) => in_time("uploads", state.uploads.take(&job.client.id, places)).await?,
        None => None,
    };
    let info = blobs.put(&key, body, bytes_max).await?;
    drop(place);
    let uri = blobs.uri(&key);
    Ok(answers::ok(&json!({
        "status": "uploaded",
        "uri": uri,
        // The original's name for it, whatever the store.
        "s3_uri": uri,
        "size": info.bytes,
        "sha256": info.sha256,
    })))
}

/// Turns a request's body into a blob's, which breaks off when the next piece takes too long.
fn timed(body: Body, pause_max: Duration) -> BlobBody {
    let pieces = futures::stream::unfold(Some(body.into_data_stream()), move |pieces| async move {
        let mut pieces = pieces?;
        match tokio::time::timeout(pause_max, pieces.next()).await {
            Ok(None) => None,
            Ok(Some(Ok(bytes))) => Some((Ok(bytes), Some(pieces))),
            Ok(Some(Err(error))) => Some((Err(BlobError::Interrupted(error.to_string())), None)),
            Err(_) => Some((Err(BlobError::Interrupted("too slow".to_owned())), None)),
        }
    });
    pieces.boxed()
}

/// Lets a body that ends before it has so many bytes break off.
fn at_least(body: BlobBody, bytes: u64) -> BlobBody {
    let pieces = futures::stream::unfold((Some(body), 0), move |(body, seen)| async move {
        let mut body = body?;
        match body.next().await {
            Some(Ok(piece)) => {
                let seen = seen + piece.len() as u64;
                Some((Ok(piece), (Some(body), seen)))
            }
            None if seen < bytes => {
                let reason = format!("{seen} bytes have come, the link is for {bytes}");
                Some((Err(BlobError::Interrupted(reason)), (None, seen)))
            }
            end => end.map(|error| (error, (None, seen))),
        }
    });
    pieces.boxed()
}

/// Sends a job's file.
pub(super) async fn send(state: &ApiState, job: JobId, name: &str) -> Answer {
    let key = key_of(job, name)?;
    let place = state.downloads.take(job).await?;
    let Some((info, blob)) = state.runtime.blobs().get(&key).await? else {
        return Err(ApiError::new(Code::FileNotFound, "File not found"));
    };
    let mut response = Response::new(downloads::body(blob, place));
    let headers = response.headers_mut();
    // Never guessed from the name: a browser must not run what a job has made.
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(info.bytes));
    headers.insert(
        header::CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment"),
    );
    Ok(response)
}

/// Lists a job's files.
#[utoipa::path(
    get, path = "/jobs/{job_id}/files", tag = "files",
    params(("job_id" = String, Path, description = "the job")),
    responses(
        (status = 200, description = "the files; `sha256` of the first hundred only, where the store keeps it", body = ref("#/components/schemas/Files")),
        (status = 401, description = "unauthorized"),
        (status = 404, description = "job_not_found"),
    ),
)]
pub async fn list(
    State(state): State<Arc<ApiState>>,
    caller: Caller,
    Path(job_id): Path<String>,
) -> Answer {
    let job = found(&state, &caller, &job_id).await?.job;
    let prefix = format!("jobs/{}/", job.id);
    let blobs = state.runtime.blobs();
    let mut infos = blobs.list(&prefix).await?;
    // Parts of the job's own record.
    let payloads = format!("{prefix}{}/", offload::FOLDER);
    infos.retain(|info| !info.key.starts_with(&payloads));
    let infos = futures::stream::iter(infos).enumerate();
    let described = infos.map(|(place, info)| async move {
        if info.sha256.is_some() || place >= DIGESTS_MAX {
            return Ok(Some(info));
        }
        // One that is gone meanwhile is left out.
        blobs.head(&info.key).await
    });
    let infos: Vec<Option<BlobInfo>> = described.buffered(HEADS_AT_ONCE).try_collect().await?;
    let row = |info: &BlobInfo| {
        json!({
            "filename": info.key.strip_prefix(&prefix),
            "uri": blobs.uri(&info.key),
            "size": info.bytes,
            "sha256": info.sha256,
        })
    };
    let rows: Vec<Value> = infos.iter().flatten().map(row).collect();
    Ok(answers::ok(&Value::Array(rows)))
}

/// What a link is for.
#[derive(Debug, Deserialize)]
pub struct UploadQuery {
    filename: Option<String>,
    expires_in: Option<String>,
    size: Option<String>,
}

/// Makes a link by which anybody may upload one file of the job, for a while.
#[utoipa::path(
    get, path = "/jobs/{job_id}/files/upload", tag = "files",
    params(
        ("job_id" = String, Path, description = "the job"),
        ("filename" = String, Query, description = "the file"),
        ("expires_in" = Option<i64>, Query, description = "seconds"),
        ("size" = Option<i64>, Query, minimum = 0, description = "bytes of the file: the link takes no other. Without it a link to a server of files takes any, one to this server what it is set to take"),
    ),
    responses(
        (status = 200, description = "the link", body = ref("#/components/schemas/UploadLink")),
        (status = 400, description = "invalid_query, invalid_file_name"),
        (status = 401, description = "unauthorized"),
        (status = 404, description = "job_not_found"),
        (status = 409, description = "job_ended"),
    ),
)]
pub async fn upload_link(
    State(state): State<Arc<ApiState>>,
    caller: Caller,
    Path(job_id): Path<String>,
    Parameters(query): Parameters<UploadQuery>,
    headers: HeaderMap,
) -> Answer {
    let refused = |message: String| ApiError::new(Code::InvalidQuery, message);
    let name = query
        .filename
        .ok_or_else(|| refused("Missing filename parameter".to_owned()))?;
    let name = name.trim_start_matches('/');
    let longest = LINK_MAX.as_secs();
    let expires_in = match query.expires_in {
        None => LINK,
        Some(text) => text
            .parse()
            .ok()
            .filter(|seconds| (1..=longest).contains(seconds))
            .map(Duration::from_secs)
            .ok_or_else(|| refused(format!("expires_in must be 1 to {longest} seconds")))?,
    };
    let largest = state.settings.upload_bytes_max;
    let size = query.size.map(|text| {
        let size = text.parse().ok().filter(|size| *size <= largest);
        size.ok_or_else(|| refused(format!("size must be 0 to {largest} bytes")))
    });
    let right = BlobRight::Put(size.transpose()?);
    let job = owned(&state, &caller, &job_id).await?;
    key_of(job.id, name)?;
    free_for_files(name)?;
    open_for_files(&job)?;
    let file = (job.id, name);
    let url = link(&state, &headers, right, file, expires_in).await?;
    Ok(answers::ok(
        &json!({"url": url, "method": "PUT", "expires_in": expires_in.as_secs()}),
    ))
}

/// Uploads a file of the job.
#[utoipa::path(
    put, path = "/jobs/{job_id}/files/content/{filename}", tag = "files",
    params(
        ("job_id" = String, Path, description = "the job"),
        ("filename" = String, Path, description = "the file"),
    ),
    request_body(content = ref("#/components/schemas/FileContent"), content_type = "application/octet-stream", description = "the content"),
    responses(
        (status = 200, description = "stored", body = ref("#/components/schemas/Uploaded")),
        (status = 400, description = "invalid_file_name, upload_interrupted"),
        (status = 401, description = "unauthorized"),
        (status = 404, description = "job_not_found"),
        (status = 409, description = "job_ended"),
        (status = 413, description = "body_too_large"),
    ),
)]
pub async fn upload(
    State(state): State<Arc<ApiState>>,
    caller: Caller,
    Path((job_id, filename)): Path<(String, String)>,
    body: Body,
) -> Answer {
    let job = owned(&state, &caller, &job_id).await?;
    receive(&state, &job, &filename, (body, None)).await
}

/// Leads to a file of the job, by a link that is good for a minute.
#[utoipa::path(
    get, path = "/jobs/{job_id}/files/download/{filename}", tag = "files",
    params(
        ("job_id" = String, Path, description = "the job"),
        ("filename" = String, Path, description = "the file"),
    ),
    responses(
        (status = 302, description = "see there", headers(("Location" = String, description = "the link"))),
        (status = 400, description = "invalid_file_name"),
        (status = 401, description = "unauthorized"),
        (status = 404, description = "job_not_found, file_not_found"),
    ),
)]
pub async fn download(
    State(state): State<Arc<ApiState>>,
    caller: Caller,
    Path((job_id, filename)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let job = found(&state, &caller, &job_id).await?.job;
    let key = key_of(job.id, &filename)?;
    if state.runtime.blobs().head(&key).await?.is_none() {
        return Err(ApiError::new(Code::FileNotFound, "File not found"));
    }
    let file = (job.id, filename.as_str());
    let url = link(&state, &headers, BlobRight::Get, file, REDIRECT).await?;
    let location = HeaderValue::from_str(&url).map_err(|error| ApiError::internal(&error))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::FOUND;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_folder() {
        let job = JobId(uuid::Uuid::nil());
        for good in ["a.txt", "ä", "..a", "a..", "x y", &"n".repeat(255)] {
            assert!(key_of(job, good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "../b",
            "a\\b",
            "a\nb",
            "a\0",
            &"n".repeat(256),
        ] {
            assert!(key_of(job, bad).is_err(), "{bad}");
        }
    }
}
