//! The port to heavy payloads and job files.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::observe::Standing;

/// What went wrong with a blob.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The key leaves its prefix, is empty or too long.
    #[error("`{0}` is not a file name that can be stored")]
    InvalidKey(String),
    /// The body is larger than allowed; nothing was stored.
    #[error("the file is larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The body broke off; nothing was stored.
    #[error("the upload broke off: {0}")]
    Interrupted(String),
    /// A presigned address cannot live that long.
    #[error("a presigned address lives for 1 to {max} seconds")]
    InvalidLifetime {
        /// The longest, in seconds.
        max: u64,
    },
    /// Too many uploads are under way; the same one may go through later.
    #[error("too many uploads at once")]
    Busy,
    /// The store cannot be reached just now.
    #[error("the blob store is unavailable: {0}")]
    Unavailable(String),
}

/// A stored blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobInfo {
    /// `jobs/<job id>/<file name>`.
    pub key: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of the content as lower-case hex, when known.
    pub sha256: Option<String>,
}

/// What a presigned address allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobRight {
    /// Reading one blob.
    Get,
    /// Writing one blob, of just so many bytes if that is said.
    Put(Option<u64>),
}

/// The longest life of a presigned address. Source: the limit of S3's signatures.
pub const PRESIGN_MAX: Duration = Duration::from_hours(7 * 24);

/// A blob's content, in pieces.
pub type BlobBody = futures::stream::BoxStream<'static, Result<Bytes, BlobError>>;

/// Heavy payloads and job files. Keys are `/`-separated; no part is empty, `.` or `..`.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Stores a body under the key, replacing what was there only once all of it has come.
    async fn put(&self, key: &str, body: BlobBody, bytes_max: u64) -> Result<BlobInfo, BlobError>;

    /// Stores content that is there already, as [`BlobStore::put`] does. It waits for no upload whose body
    /// is on its way.
    async fn put_whole(&self, key: &str, content: Bytes) -> Result<BlobInfo, BlobError> {
        let bytes_max = content.len() as u64;
        let body = futures::stream::once(async { Ok(content) });
        self.put(key, Box::pin(body), bytes_max).await
    }

    /// Returns how many bodies may be on their way in at once; nothing where nobody waits for another's.
    fn uploads_max(&self) -> Option<usize> {
        None
    }

    /// Opens a blob.
    async fn get(&self, key: &str) -> Result<Option<(BlobInfo, BlobBody)>, BlobError>;

    /// Describes a blob without its content; the SHA-256 where the store has kept it.
    async fn head(&self, key: &str) -> Result<Option<BlobInfo>, BlobError> {
        Ok(self.get(key).await?.map(|(info, _)| info))
    }

    /// Lists the blobs whose key starts with the prefix, in key order.
    async fn list(&self, prefix: &str) -> Result<Vec<BlobInfo>, BlobError>;

    /// Returns the first parts of the keys that go on below the prefix, which ends with `/`: of
    /// `jobs/a/x` below `jobs/` that is `a`. In order; reads nothing of the blobs themselves.
    async fn folders(&self, prefix: &str) -> Result<Vec<String>, BlobError>;

    /// Deletes every blob whose key starts with the prefix.
    async fn delete_prefix(&self, prefix: &str) -> Result<(), BlobError>;

    /// Removes what is left of bodies that broke off long ago, where the store does not do so by itself.
    async fn remove_broken_off(&self) -> Result<(), BlobError> {
        Ok(())
    }

    /// Returns an address of the store's own by which anybody may read or write the blob for a
    /// while; nothing when the store is no server of its own. At most [`PRESIGN_MAX`].
    async fn presign(
        &self,
        _right: BlobRight,
        key: &str,
        lifetime: Duration,
    ) -> Result<Option<String>, BlobError> {
        super::blob_keys::check_key(key)?;
        check_lifetime(lifetime)?;
        Ok(None)
    }

    /// Tells whether the store answers.
    async fn health(&self) -> Result<(), BlobError> {
        Ok(())
    }

    /// Tells whether it is away, as its calls have seen it.
    fn standing(&self) -> Standing {
        Standing::default()
    }

    /// Returns the URI under which workers know the blob.
    fn uri(&self, key: &str) -> String;
}

/// Refuses a lifetime that no presigned address can have.
pub(super) fn check_lifetime(lifetime: Duration) -> Result<(), BlobError> {
    if (Duration::from_secs(1)..=PRESIGN_MAX).contains(&lifetime) {
        return Ok(());
    }
    Err(BlobError::InvalidLifetime {
        max: PRESIGN_MAX.as_secs(),
    })
}
