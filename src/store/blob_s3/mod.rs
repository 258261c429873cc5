//! Blobs in a bucket of an S3 server: MinIO, AWS and others. Bodies go up in parts and come down in
//! ranges, so that memory does not grow with a blob; every call has a timeout, and those that may be
//! repeated are. The bucket has to be there: this program creates none.

mod calls;
mod download;
mod failed;
mod silence;
mod upload;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use s3::creds::Credentials;
use s3::serde_types::{ListBucketResult, ObjectIdentifier};
use s3::{Bucket, Region};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::blob_keys::{DIGESTS, check_folder, check_key, check_prefix};
use super::blob_port::check_lifetime;
use super::{BlobBody, BlobError, BlobInfo, BlobRight, BlobStore};
use crate::base::Secret;
use crate::observe::{Asked, Standing};
use calls::Calls;
use download::DIGEST_NAME;

/// Bodies on their way in at once, since each holds memory; others wait for their turn without being read.
const UPLOADS_MAX: usize = 32;
/// Keys that one page of a listing brings, and that one call deletes. Source: S3's own limit.
const PAGE_KEYS: usize = 1000;

/// How a bucket's name and a server's name come together in an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum S3Addressing {
    /// `https://server/bucket/key`.
    Path,
    /// `https://bucket.server/key`.
    Virtual,
}

/// Where the bucket is and how it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Settings {
    /// The server's address, with its scheme.
    pub endpoint: String,
    /// Which region signatures name.
    pub region: String,
    /// The bucket; it has to be there.
    pub bucket: String,
    /// Whose requests they are.
    pub access_key: Secret,
    /// What signs them.
    pub secret_key: Secret,
    /// How addresses are made.
    pub addressing: S3Addressing,
    /// Calls at once.
    pub concurrency: usize,
    /// The longest that one call takes, its part of a body included.
    pub timeout: Duration,
    /// The longest that the server takes to make one blob of an upload's parts. Source: Amazon's takes
    /// minutes for large ones.
    pub completion_timeout: Duration,
    /// Before the first repetition of a call; doubles.
    pub retry_pause: Duration,
}

impl S3Settings {
    /// Returns settings with everything at its default that has one.
    #[must_use]
    pub fn new(endpoint: &str, bucket: &str, access_key: Secret, secret_key: Secret) -> Self {
        Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            region: "us-east-1".to_owned(),
            bucket: bucket.to_owned(),
            access_key,
            secret_key,
            addressing: S3Addressing::Path,
            concurrency: 100,
            timeout: Duration::from_secs(30),
            completion_timeout: Duration::from_mins(5),
            retry_pause: Duration::from_millis(200),
        }
    }
}

/// Blobs in a bucket.
pub struct S3BlobStore {
    calls: Arc<Calls>,
    uploads: Semaphore,
    completion_timeout: Duration,
    /// Uploads that were given up by dropping them, while the server is told.
    abandoned: TaskTracker,
}

impl S3BlobStore {
    /// Makes a store of the settings; talks to nobody yet.
    ///
    /// Errors when no address can be made of the endpoint and the bucket.
    pub fn new(settings: &S3Settings) -> Result<Self, BlobError> {
        // Repetitions are this store's own: the crate's are for the whole process, and seconds apart.
        s3::set_retries(0);
        let unusable = |error: &dyn std::fmt::Display| {
            BlobError::Unavailable(format!("the S3 settings cannot be used: {error}"))
        };
        let region = Region::Custom {
            region: settings.region.clone(),
            endpoint: settings.endpoint.clone(),
        };
        let (access, secret) = (settings.access_key.expose(), settings.secret_key.expose());
        let credentials = Credentials::new(Some(access), Some(secret), None, None, None)
            .map_err(|error| unusable(&error))?;
        let mut bucket =
            Bucket::new(&settings.bucket, region, credentials).map_err(|error| unusable(&error))?;
        if settings.addressing == S3Addressing::Path {
            bucket.set_path_style();
        }
        bucket.set_request_timeout(Some(settings.timeout));
        Ok(Self {
            calls: Arc::new(Calls::new(*bucket, settings)),
            uploads: Semaphore::new(UPLOADS_MAX),
            completion_timeout: settings.completion_timeout,
            abandoned: TaskTracker::new(),
        })
    }

    /// Stores an object in one call, with its digest as metadata.
    async fn put_object(
        &self,
        key: &str,
        content: &[u8],
        sha256: Option<&str>,
    ) -> Result<(), BlobError> {
        let mut headers = HeaderMap::new();
        if let Some(digest) = sha256.and_then(|text| HeaderValue::from_str(text).ok()) {
            let name = HeaderName::try_from(format!("x-amz-meta-{DIGEST_NAME}"))
                .expect("letters and hyphens are a header's name");
            headers.insert(name, digest);
        }
        let asked = Asked::Room(content.len() as u64);
        let stored = self.calls.repeat("put", asked, || async {
            let bucket = self.calls.bucket();
            let headers = Some(headers.clone());
            bucket.put_object_with_headers(key, content, headers).await
        });
        stored.await.map(drop).map_err(BlobError::from)
    }

    /// Reads one page of a listing, the first when there is no token.
    async fn page(
        &self,
        prefix: &str,
        delimiter: Option<&str>,
        token: Option<String>,
    ) -> Result<ListBucketResult, BlobError> {
        let listed = self.calls.repeat("list", Asked::Answer, || async {
            let bucket = self.calls.bucket();
            bucket
                .list_page(
                    prefix.to_owned(),
                    delimiter.map(str::to_owned),
                    token.clone(),
                    None,
                    Some(PAGE_KEYS),
                )
                .await
        });
        Ok(listed.await?.0)
    }

    /// Reads the pages of a listing and gives each to `take`, as long as that wants more.
    async fn pages(
        &self,
        prefix: &str,
        delimiter: Option<&str>,
        mut take: impl FnMut(ListBucketResult) -> ControlFlow<()> + Send,
    ) -> Result<(), BlobError> {
        let mut token = None;
        loop {
            let mut page = self.page(prefix, delimiter, token).await?;
            token = page.next_continuation_token.take();
            let is_last = !page.is_truncated || token.is_none();
            if take(page).is_break() || is_last {
                return Ok(());
            }
        }
    }

    /// Lists blobs as [`BlobStore::list`] does, but no more than so many: of a prefix with more there are
    /// those that the server names first, and it is asked for no others.
    pub async fn list_some(
        &self,
        prefix: &str,
        count_max: usize,
    ) -> Result<Vec<BlobInfo>, BlobError> {
        check_prefix(prefix)?;
        let mut blobs = Vec::new();
        let notes = digest_key("");
        self.pages(prefix, None, |page| {
            let own = page
                .contents
                .into_iter()
                .filter(|object| !object.key.starts_with(&notes))
                .take(count_max - blobs.len());
            blobs.extend(own.map(|object| BlobInfo {
                key: object.key,
                bytes: object.size,
                sha256: None,
            }));
            if blobs.len() == count_max {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .await?;
        // The server's order already, unless it is one of those that promise none.
        blobs.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(blobs)
    }

    async fn delete_all(&self, prefix: &str) -> Result<(), BlobError> {
        loop {
            // From the beginning each time: what was listed is gone.
            let page = self.page(prefix, None, None).await?;
            let keys: Vec<ObjectIdentifier> = page
                .contents
                .into_iter()
                .map(|object| ObjectIdentifier::new(object.key))
                .collect();
            if keys.is_empty() {
                return Ok(());
            }
            let deleted = self.calls.repeat("delete", Asked::Own, || async {
                self.calls.bucket().delete_objects(keys.clone()).await
            });
            if let Some(error) = deleted.await?.errors.first() {
                return Err(BlobError::Unavailable(format!(
                    "{} was not deleted: {} {}",
                    error.key, error.code, error.message
                )));
            }
        }
    }
}

/// Returns the key under which the digest of a blob is noted.
fn digest_key(key: &str) -> String {
    format!("{DIGESTS}/{key}")
}

#[async_trait]
impl BlobStore for S3BlobStore {
    async fn put(&self, key: &str, body: BlobBody, bytes_max: u64) -> Result<BlobInfo, BlobError> {
        check_key(key)?;
        let turn = tokio::time::timeout(self.calls.timeout(), self.uploads.acquire());
        // The semaphore itself is never closed.
        let Ok(Ok(_turn)) = turn.await else {
            return Err(BlobError::Busy);
        };
        self.upload(key, body, bytes_max).await
    }

    async fn put_whole(&self, key: &str, content: Bytes) -> Result<BlobInfo, BlobError> {
        check_key(key)?;
        // Its memory is another's: there is nothing to wait for.
        self.upload_whole(key, content).await
    }

    fn uploads_max(&self) -> Option<usize> {
        Some(UPLOADS_MAX)
    }

    async fn get(&self, key: &str) -> Result<Option<(BlobInfo, BlobBody)>, BlobError> {
        check_key(key)?;
        let Some(found) = self.find(key).await? else {
            return Ok(None);
        };
        let info = self.described(key, &found).await?;
        let body = self.download(key, &found);
        Ok(Some((info, body)))
    }

    async fn head(&self, key: &str) -> Result<Option<BlobInfo>, BlobError> {
        check_key(key)?;
        match self.find(key).await? {
            Some(found) => self.described(key, &found).await.map(Some),
            None => Ok(None),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<BlobInfo>, BlobError> {
        self.list_some(prefix, usize::MAX).await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, BlobError> {
        check_folder(prefix)?;
        let mut names = Vec::new();
        self.pages(prefix, Some("/"), |page| {
            let folders = page.common_prefixes.into_iter().flatten();
            names.extend(folders.filter_map(|folder| {
                let name = folder.prefix.strip_prefix(prefix)?.strip_suffix('/')?;
                Some(name.to_owned())
            }));
            ControlFlow::Continue(())
        })
        .await?;
        names.sort_unstable();
        Ok(names)
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<(), BlobError> {
        check_prefix(prefix)?;
        // What is left when this breaks off in between is found by what is there of the blobs.
        self.delete_all(&digest_key(prefix)).await?;
        self.delete_all(prefix).await
    }

    async fn presign(
        &self,
        right: BlobRight,
        key: &str,
        lifetime: Duration,
    ) -> Result<Option<String>, BlobError> {
        check_key(key)?;
        check_lifetime(lifetime)?;
        let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
        let bucket = self.calls.bucket();
        let signed = match right {
            BlobRight::Get => {
                // Never guessed from the name: a browser must not run what a job has made.
                let answer = [
                    ("response-content-type", "application/octet-stream"),
                    ("response-content-disposition", "attachment"),
                ];
                let answer = answer.map(|(name, value)| (name.to_owned(), value.to_owned()));
                let queries = Some(answer.into_iter().collect());
                bucket.presign_get(key, seconds, queries).await
            }
            BlobRight::Put(bytes) => {
                // What is signed has to come with the request, and the server holds its body to it.
                let length = bytes.map(|bytes| (CONTENT_LENGTH, HeaderValue::from(bytes)));
                let headers = length.map(|header| HeaderMap::from_iter([header]));
                bucket.presign_put(key, seconds, headers, None).await
            }
        };
        // Nobody is asked: only the settings can be wrong.
        signed
            .map(Some)
            .map_err(|error| BlobError::Unavailable(error.to_string()))
    }

    async fn health(&self) -> Result<(), BlobError> {
        // It writes nothing, but may be all that is asked of the server for hours: it ends an outage in which
        // writing failed, after a while.
        let listed = self.calls.once("list", Asked::Room(0), || async {
            let bucket = self.calls.bucket();
            let prefix = "jobs/".to_owned();
            bucket.list_page(prefix, None, None, None, Some(1)).await
        });
        listed.await.map(drop).map_err(BlobError::from)
    }

    fn standing(&self) -> Standing {
        self.calls.standing()
    }

    fn uri(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.calls.bucket().name)
    }
}
