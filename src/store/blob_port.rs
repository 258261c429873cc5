//! The port to heavy payloads and job files.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

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

/// A blob's content, in pieces.
pub type BlobBody = futures::stream::BoxStream<'static, Result<bytes::Bytes, BlobError>>;

/// Heavy payloads and job files. Keys are `/`-separated; no part is empty, `.` or `..`.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Stores a body under the key, replacing what was there only once all of it has come.
    async fn put(&self, key: &str, body: BlobBody, bytes_max: u64) -> Result<BlobInfo, BlobError>;

    /// Opens a blob.
    async fn get(&self, key: &str) -> Result<Option<(BlobInfo, BlobBody)>, BlobError>;

    /// Lists the blobs whose key starts with the prefix, in key order.
    async fn list(&self, prefix: &str) -> Result<Vec<BlobInfo>, BlobError>;

    /// Returns the first parts of the keys that go on below the prefix, which ends with `/`: of
    /// `jobs/a/x` below `jobs/` that is `a`. In order; reads nothing of the blobs themselves.
    async fn folders(&self, prefix: &str) -> Result<Vec<String>, BlobError>;

    /// Deletes every blob whose key starts with the prefix.
    async fn delete_prefix(&self, prefix: &str) -> Result<(), BlobError>;

    /// Returns the URI under which workers know the blob.
    fn uri(&self, key: &str) -> String;
}
