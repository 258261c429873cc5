//! The way down: a blob is found by its head and read in ranges, two of them under way at once. Each
//! names the version that was found, so that a reader never gets parts of two.

use std::sync::Arc;

use futures::{StreamExt as _, stream};
use hyper::header::{HeaderValue, IF_MATCH};
use s3::serde_types::HeadObjectResult;

use super::failed::Failed;
use super::{S3BlobStore, digest_key};
use crate::observe::Asked;
use crate::store::{BlobBody, BlobError, BlobInfo};

/// Bytes of one range. Two of them are all that a reader's slowness costs.
const RANGE_BYTES: u64 = 2 << 20;
/// Ranges under way at once, so that the next is there when one has been read.
const RANGES_AHEAD: usize = 2;
/// The metadata in which an object carries its digest.
pub(super) const DIGEST_NAME: &str = "sha256";
/// The longest note of a digest that is looked at.
const NOTE_BYTES_MAX: u64 = 1024;

/// An object as its head describes it.
pub(super) struct Found {
    pub(super) bytes: u64,
    /// Names its content; every object has one.
    pub(super) etag: String,
    sha256: Option<String>,
}

impl S3BlobStore {
    /// Asks for an object's head.
    pub(super) async fn find(&self, key: &str) -> Result<Option<Found>, BlobError> {
        let asked = self.calls.repeat("head", Asked::Answer, || async {
            self.calls.bucket().head_object(key).await
        });
        found(asked.await)
    }

    /// The same, asked once however silent the server is.
    pub(super) async fn find_in_any_case(&self, key: &str) -> Result<Option<Found>, BlobError> {
        let asked = self.calls.once("head", Asked::Answer, || async {
            self.calls.bucket().head_object(key).await
        });
        found(asked.await)
    }

    /// Describes an object, with the digest that was noted for just this content of it.
    pub(super) async fn described(&self, key: &str, found: &Found) -> Result<BlobInfo, BlobError> {
        let mut sha256 = found.sha256.clone();
        // Only what came in parts has its digest elsewhere, and its tag tells.
        if sha256.is_none() && found.etag.contains('-') {
            sha256 = self.noted_digest(key, &found.etag).await?;
        }
        Ok(BlobInfo {
            key: key.to_owned(),
            bytes: found.bytes,
            sha256,
        })
    }

    async fn noted_digest(&self, key: &str, etag: &str) -> Result<Option<String>, BlobError> {
        let key = digest_key(key);
        let asked = self.calls.repeat("get", Asked::Answer, || async {
            let bucket = self.calls.bucket();
            bucket.get_object_range(&key, 0, Some(NOTE_BYTES_MAX)).await
        });
        match asked.await {
            Ok(answer) => Ok(answer.as_str().ok().and_then(|text| read_note(text, etag))),
            Err(failed) if failed.is_absent() => Ok(None),
            Err(failed) => Err(failed.into()),
        }
    }

    /// Returns the object's content.
    pub(super) fn download(&self, key: &str, found: &Found) -> BlobBody {
        let bytes = found.bytes;
        let mut bucket = self.calls.bucket().clone();
        if let Ok(etag) = HeaderValue::from_str(&found.etag) {
            bucket.extra_headers.insert(IF_MATCH, etag);
        }
        let (calls, bucket) = (Arc::clone(&self.calls), Arc::new(bucket));
        let (key, etag): (Arc<str>, Arc<str>) = (key.into(), found.etag.as_str().into());
        let starts = (0..bytes).step_by(usize::try_from(RANGE_BYTES).unwrap_or(usize::MAX));
        let pieces = stream::iter(starts).map(move |start| {
            let last = (start + RANGE_BYTES).min(bytes) - 1;
            let (calls, bucket) = (Arc::clone(&calls), Arc::clone(&bucket));
            let (key, etag) = (Arc::clone(&key), Arc::clone(&etag));
            async move {
                let asked = calls.repeat("get", Asked::Answer, || async {
                    bucket.get_object_range(&*key, start, Some(last)).await
                });
                let replaced =
                    || BlobError::Interrupted("the blob was replaced or deleted".to_owned());
                let answer = asked.await.map_err(|failed| match failed.status {
                    Some(404 | 412 | 416) => replaced(),
                    _ => failed.into(),
                })?;
                // Not every server heeds the condition.
                let seen = answer.headers().remove("etag");
                if seen.is_some_and(|seen| seen != *etag) {
                    return Err(replaced());
                }
                let piece = answer.into_bytes();
                if piece.len() as u64 == last + 1 - start {
                    Ok(piece)
                } else {
                    let reason = format!("{} bytes of a range are missing", last + 1 - start);
                    Err(BlobError::Interrupted(reason))
                }
            }
        });
        pieces.buffered(RANGES_AHEAD).boxed()
    }
}

fn found(asked: Result<(HeadObjectResult, u16), Failed>) -> Result<Option<Found>, BlobError> {
    let (head, _) = match asked {
        Ok(head) => head,
        Err(failed) if failed.is_absent() => return Ok(None),
        Err(failed) => return Err(failed.into()),
    };
    let bytes = head.content_length.unwrap_or_default();
    Ok(Some(Found {
        bytes: u64::try_from(bytes).unwrap_or_default(),
        etag: head.e_tag.unwrap_or_default(),
        sha256: head
            .metadata
            .and_then(|mut known| known.remove(DIGEST_NAME))
            .filter(|text| is_digest(text)),
    }))
}

/// Returns the text that notes a digest for one content of an object.
pub(super) fn write_note(etag: &str, sha256: &str) -> String {
    format!("{} {sha256}\n", etag.trim_matches('"'))
}

fn read_note(text: &str, etag: &str) -> Option<String> {
    let (noted, sha256) = text.trim_end().split_once(' ')?;
    (noted == etag.trim_matches('"') && is_digest(sha256)).then(|| sha256.to_owned())
}

fn is_digest(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_for_one_content() {
        let digest = "0123456789abcdef".repeat(4);
        let note = write_note("\"one-2\"", &digest);
        assert_eq!(read_note(&note, "\"one-2\""), Some(digest.clone()));
        assert_eq!(read_note(&note, "one-2"), Some(digest));
        assert_eq!(read_note(&note, "\"two-2\""), None);
        for broken in ["", "one-2", "one-2 abc", "one-2 \u{e4}"] {
            assert_eq!(read_note(broken, "one-2"), None, "{broken}");
        }
    }
}
