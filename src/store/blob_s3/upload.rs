//! The way up: what fits into one part goes in one call, the rest in parts, two of them under way
//! while the next comes in. Nothing is seen under the key before all of it has come.

use std::pin::pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::stream::{self, Fuse, FuturesUnordered};
use futures::{StreamExt as _, TryStreamExt as _};
use s3::command::{Command, Multipart};
use s3::error::S3Error;
use s3::request::Request as _;
use s3::request::tokio_backend::ReqwestRequest;
use s3::serde_types::Part;
use sha2::{Digest as _, Sha256};
use tokio_util::task::TaskTracker;

use super::calls::Calls;
use super::download::write_note;
use super::{S3BlobStore, digest_key};
use crate::base::crypto;
use crate::observe::Asked;
use crate::store::{BlobBody, BlobError, BlobInfo};

/// Bytes of a part. Source: S3's least.
const PART_BYTES: u64 = 5 << 20;
/// Bytes of a part when larger blobs are allowed than smaller parts can make.
const PART_BYTES_MAX: u64 = 64 << 20;
/// Parts of one blob. Source: S3's most.
const PARTS_MAX: u64 = 10_000;
/// Parts under way at once.
const PARTS_AT_ONCE: usize = 2;
const CONTENT_TYPE: &str = "application/octet-stream";

/// Returns how large parts have to be for a blob of that size.
fn part_bytes(bytes_max: u64) -> u64 {
    bytes_max
        .div_ceil(PARTS_MAX)
        .clamp(PART_BYTES, PART_BYTES_MAX)
}

/// A body on its way in.
struct Intake {
    /// Asked again after its end, which not every stream takes well.
    body: Fuse<BlobBody>,
    part_bytes: usize,
    bytes_max: u64,
    bytes: u64,
    hasher: Sha256,
    /// What belongs to the next part already.
    rest: Bytes,
}

impl Intake {
    fn new(body: BlobBody, bytes_max: u64) -> Self {
        let part_bytes = part_bytes(bytes_max);
        Self {
            body: body.fuse(),
            part_bytes: usize::try_from(part_bytes).unwrap_or(usize::MAX),
            bytes_max: bytes_max.min(part_bytes * PARTS_MAX),
            bytes: 0,
            hasher: Sha256::new(),
            rest: Bytes::new(),
        }
    }

    /// Returns the next part, whole but for the last; an empty one when nothing is left.
    async fn part(&mut self) -> Result<Bytes, BlobError> {
        // Most bodies are small; one that has filled a part will fill another, without growing there.
        let has_filled = self.bytes >= self.part_bytes as u64;
        let mut part = BytesMut::with_capacity(if has_filled { self.part_bytes } else { 0 });
        loop {
            if self.rest.is_empty() {
                match self.body.next().await {
                    Some(piece) => self.take(piece?)?,
                    None => return Ok(part.freeze()),
                }
            }
            let room = self.part_bytes - part.len();
            let piece = self.rest.split_to(room.min(self.rest.len()));
            part.extend_from_slice(&piece);
            if part.len() == self.part_bytes {
                return Ok(part.freeze());
            }
        }
    }

    fn take(&mut self, piece: Bytes) -> Result<(), BlobError> {
        self.bytes += piece.len() as u64;
        if self.bytes > self.bytes_max {
            return Err(BlobError::TooLarge {
                limit: self.bytes_max,
            });
        }
        self.hasher.update(&piece);
        self.rest = piece;
        Ok(())
    }

    fn info(&self, key: &str) -> BlobInfo {
        BlobInfo {
            key: key.to_owned(),
            bytes: self.bytes,
            sha256: Some(crypto::hex(&self.hasher.clone().finalize())),
        }
    }
}

/// An upload in parts, which the server keeps until it is told how it ends.
struct Begun {
    calls: Arc<Calls>,
    ends: TaskTracker,
    key: String,
    id: String,
    /// The tag of what was under the key before.
    before: Option<String>,
    is_ended: bool,
}

impl Begun {
    async fn give_up(mut self) {
        self.is_ended = true;
        abort(Arc::clone(&self.calls), self.key.clone(), self.id.clone()).await;
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if !self.is_ended {
            // Whoever uploads has gone without waiting.
            let gone = abort(Arc::clone(&self.calls), self.key.clone(), self.id.clone());
            self.ends.spawn(gone);
        }
    }
}

async fn abort(calls: Arc<Calls>, key: String, id: String) {
    // In any case: a silence is what has broken off most uploads.
    let told = calls.once("abort", Asked::Own, || async {
        calls.bucket().abort_upload(&key, &id).await
    });
    match told.await {
        Ok(()) => {}
        Err(failed) if failed.is_absent() => {}
        // It costs the operator space until the bucket's own rule removes it.
        Err(failed) => {
            tracing::warn!(key, reason = %failed.reason, "parts of a blob are left behind in S3");
        }
    }
}

impl S3BlobStore {
    /// Stores a body.
    pub(super) async fn upload(
        &self,
        key: &str,
        body: BlobBody,
        bytes_max: u64,
    ) -> Result<BlobInfo, BlobError> {
        let mut intake = Intake::new(body, bytes_max);
        let first = intake.part().await?;
        let is_all = first.len() < intake.part_bytes;
        if is_all {
            let info = intake.info(key);
            let digest = info.sha256.as_deref();
            self.put_object(key, &first, digest).await?;
            return Ok(info);
        }
        let begun = self.begin(key).await?;
        match self.put_parts(&begun, first, &mut intake).await {
            Ok(parts) => {
                let info = intake.info(key);
                self.complete(begun, parts, &info).await?;
                Ok(info)
            }
            Err(error) => {
                begun.give_up().await;
                Err(error)
            }
        }
    }

    /// Stores content that is there: in one call as long as a part may be so large.
    pub(super) async fn upload_whole(
        &self,
        key: &str,
        content: Bytes,
    ) -> Result<BlobInfo, BlobError> {
        let bytes = content.len() as u64;
        if bytes > PART_BYTES_MAX {
            let body = stream::once(async { Ok(content) });
            return self.upload(key, body.boxed(), bytes).await;
        }
        let digest = crypto::sha256_hex(&content);
        self.put_object(key, &content, Some(&digest)).await?;
        Ok(BlobInfo {
            key: key.to_owned(),
            bytes,
            sha256: Some(digest),
        })
    }

    async fn begin(&self, key: &str) -> Result<Begun, BlobError> {
        let before = self.find(key).await?.map(|found| found.etag);
        let answered = self.calls.repeat("begin", Asked::Own, || async {
            let bucket = self.calls.bucket();
            bucket.initiate_multipart_upload(key, CONTENT_TYPE).await
        });
        Ok(Begun {
            calls: Arc::clone(&self.calls),
            ends: self.abandoned.clone(),
            key: key.to_owned(),
            id: answered.await?.upload_id,
            before,
            is_ended: false,
        })
    }

    /// Stores all parts; returns them in order.
    async fn put_parts(
        &self,
        begun: &Begun,
        first: Bytes,
        intake: &mut Intake,
    ) -> Result<Vec<Part>, BlobError> {
        let mut parts = Vec::new();
        let mut under_way = FuturesUnordered::new();
        let (mut number, mut part) = (1, first);
        while !part.is_empty() {
            if under_way.len() == PARTS_AT_ONCE {
                parts.extend(under_way.try_next().await?);
            }
            under_way.push(self.put_part(begun, number, part));
            number += 1;
            // Those under way go on while the next one comes in.
            let mut next = pin!(intake.part());
            part = loop {
                tokio::select! {
                    part = &mut next => break part?,
                    Some(stored) = under_way.next() => parts.push(stored?),
                }
            };
        }
        while let Some(stored) = under_way.try_next().await? {
            parts.push(stored);
        }
        parts.sort_unstable_by_key(|part| part.part_number);
        Ok(parts)
    }

    async fn put_part(&self, begun: &Begun, number: u32, part: Bytes) -> Result<Part, BlobError> {
        // Only its end shows whether there is room for all of it.
        let stored = self.calls.repeat("put part", Asked::Own, || async {
            // The crate's own way takes the part away, so that it could not be sent again.
            let command = Command::PutObject {
                content: &part,
                content_type: CONTENT_TYPE,
                custom_headers: None,
                multipart: Some(Multipart::new(number, &begun.id)),
            };
            let request = ReqwestRequest::new(self.calls.bucket(), &begun.key, command).await?;
            let answer = request.response_data(true).await?;
            answer.to_string().map_err(S3Error::Utf8)
        });
        Ok(Part {
            part_number: number,
            etag: stored.await?,
        })
    }

    /// Makes one object of the parts, and notes its digest.
    async fn complete(
        &self,
        mut begun: Begun,
        parts: Vec<Part>,
        info: &BlobInfo,
    ) -> Result<(), BlobError> {
        let (key, id, count) = (&begun.key, &begun.id, parts.len());
        let longest = self.completion_timeout;
        let mut patient = self.calls.bucket().clone();
        patient.set_request_timeout(Some(longest));
        let call = ("complete", Asked::Room(info.bytes));
        let completed = self.calls.repeat_within(longest, call, || async {
            let done = patient.complete_multipart_upload(key, id, parts.clone());
            done.await
        });
        let etag = match completed.await {
            Ok(answer) => answer.as_str().ok().and_then(etag_of),
            Err(failed) => {
                let unheard = if failed.may_be_done {
                    self.completed_unheard(&begun, count, info).await
                } else {
                    None
                };
                if unheard.is_none() {
                    begun.give_up().await;
                    return Err(failed.into());
                }
                unheard
            }
        };
        begun.is_ended = true;
        if let (Some(etag), Some(sha256)) = (etag, &info.sha256) {
            let note = write_note(&etag, sha256);
            let key = digest_key(&begun.key);
            if let Err(error) = self.put_object(&key, note.as_bytes(), None).await {
                // The blob is whole; its digest is not known to those who come later.
                tracing::warn!(key, %error, "a blob's digest was not noted");
            }
        }
        Ok(())
    }
}

impl S3BlobStore {
    /// Returns the tag of the object when an attempt at completing it has gone through and only its
    /// answer was lost: then it is another than before, of so many parts and bytes.
    async fn completed_unheard(
        &self,
        begun: &Begun,
        count: usize,
        info: &BlobInfo,
    ) -> Option<String> {
        let found = self.find_in_any_case(&begun.key).await.ok()??;
        let parts = format!("-{count}");
        let is_it = begun.before.as_ref() != Some(&found.etag)
            && found.etag.trim_matches('"').ends_with(&parts)
            && found.bytes == info.bytes;
        is_it.then_some(found.etag)
    }
}

/// Returns the tag of the object that a completed upload has made.
fn etag_of(answer: &str) -> Option<String> {
    let (_, rest) = answer.split_once("<ETag>")?;
    let (etag, _) = rest.split_once("</ETag>")?;
    Some(etag.replace("&quot;", "\"").replace("&#34;", "\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_grow_with_what_is_allowed() {
        for (bytes_max, expected) in [
            (1, PART_BYTES),
            (5 << 30, PART_BYTES),
            (PARTS_MAX * PART_BYTES, PART_BYTES),
            (PARTS_MAX * PART_BYTES + 1, PART_BYTES + 1),
            (u64::MAX, PART_BYTES_MAX),
        ] {
            assert_eq!(part_bytes(bytes_max), expected, "{bytes_max}");
        }
    }

    #[test]
    fn tags_of_completed_uploads() {
        let answer = "<R><ETag>&quot;abc-2&quot;</ETag></R>";
        assert_eq!(etag_of(answer).as_deref(), Some("\"abc-2\""));
        assert_eq!(etag_of("<R/>"), None);
    }

    #[tokio::test]
    async fn an_intake_cuts_bodies_into_parts() {
        // One that must not be asked again after its end.
        let pieces = stream::unfold(vec!["h", "defg", "", "abc"], |mut left| async move {
            let text = left.pop()?;
            Some((Ok(Bytes::from(text)), left))
        });
        let mut intake = Intake::new(pieces.boxed(), 8);
        intake.part_bytes = 3;
        let mut parts = Vec::new();
        loop {
            let part = intake.part().await.expect("reads");
            if part.is_empty() {
                break;
            }
            parts.push(String::from_utf8(part.to_vec()).expect("is text"));
        }
        assert_eq!(parts, ["abc", "def", "gh"]);
        let digest = crypto::sha256_hex(b"abcdefgh");
        assert_eq!(intake.info("k").sha256, Some(digest));
    }
}
