//! Values in the blob store, and references to them in records.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::base::{JobId, crypto};
use crate::store::{BlobError, BlobStore, StoreError};

/// Where a job's values are, below its own prefix.
pub const FOLDER: &str = "payloads";

/// The one member of a reference. No client can make one that leads anywhere: a value that looks like
/// a reference is offloaded itself, whatever its size, and a reference leads to its own job only.
const NAME: &str = "$offloaded";

/// Content that was stored or read last, so that a job's next step does not ask for it again. Units:
/// bytes.
const KNOWN_BYTES_MAX: usize = 32 << 20;

/// What a reference says.
#[derive(Debug, Deserialize)]
struct Reference {
    key: String,
    size: usize,
    sha256: String,
}

/// Stores values and reads them again.
pub(super) struct Payloads {
    blobs: Arc<dyn BlobStore>,
    bytes_max: usize,
    /// Whether a reference stays where its value is gone: of jobs that are shown only.
    leaves_lost: bool,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    content: HashMap<String, Bytes>,
    /// Their keys, oldest first.
    order: VecDeque<String>,
    bytes: usize,
}

impl Known {
    fn add(&mut self, key: String, content: Bytes) {
        if content.len() > KNOWN_BYTES_MAX || self.content.contains_key(&key) {
            return;
        }
        self.bytes += content.len();
        self.order.push_back(key.clone());
        self.content.insert(key, content);
        while self.bytes > KNOWN_BYTES_MAX {
            let oldest = self.order.pop_front();
            let Some(gone) = oldest.and_then(|key| self.content.remove(&key)) else {
                return;
            };
            self.bytes -= gone.len();
        }
    }
}

/// Counts what is written, and stops when it is too much.
struct Limited(usize);

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self
            .0
            .checked_sub(bytes.len())
            .ok_or_else(|| io::Error::other("larger"))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Payloads {
    /// Values larger than `bytes_max` are heavy; none is with `usize::MAX`.
    pub(super) fn new(blobs: Arc<dyn BlobStore>, bytes_max: usize) -> Self {
        Self {
            blobs,
            bytes_max,
            leaves_lost: false,
            known: Mutex::default(),
        }
    }

    /// Reads values of jobs whose files may have gone.
    pub(super) fn of_archived(blobs: Arc<dyn BlobStore>) -> Self {
        Self {
            leaves_lost: true,
            ..Self::new(blobs, usize::MAX)
        }
    }

    /// Tells whether a value is to be kept in the blob store.
    pub(super) fn is_heavy(&self, value: &Value) -> bool {
        let is_large = || {
            self.bytes_max < usize::MAX
                && serde_json::to_writer(Limited(self.bytes_max), value).is_err()
        };
        looks_like_reference(value) || is_large()
    }

    /// Stores a value; returns what refers to it.
    pub(super) async fn stored(&self, job: JobId, value: &Value) -> Result<Value, StoreError> {
        let content = serde_json::to_vec(value).map_err(|e| StoreError::Corrupt(e.to_string()))?;
        let content = Bytes::from(content);
        let sha256 = crypto::sha256_hex(&content);
        let key = format!("{}{sha256}", prefix(job));
        let size = content.len();
        if !self.knows(&key) {
            let put = self.blobs.put_whole(&key, content.clone()).await;
            put.map_err(|error| unavailable(&error))?;
            self.lock().add(key.clone(), content);
        }
        Ok(json!({NAME: {"key": key, "size": size, "sha256": sha256}}))
    }

    /// Reads the value that a reference of the job's leads to; any other value stays.
    pub(super) async fn fill(&self, job: JobId, value: &mut Value) -> Result<(), StoreError> {
        let Some(reference) = reference(job, value) else {
            return Ok(());
        };
        match self.value(&reference).await {
            Ok(read) => *value = read,
            Err(StoreError::Corrupt(_)) if self.leaves_lost => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn value(&self, reference: &Reference) -> Result<Value, StoreError> {
        let known = self.lock().content.get(&reference.key).cloned();
        let content = match known {
            Some(content) => content,
            None => self.read(reference).await?,
        };
        let read = serde_json::from_slice(&content);
        read.map_err(|error| damaged(reference, &error.to_string()))
    }

    async fn read(&self, reference: &Reference) -> Result<Bytes, StoreError> {
        let opened = self.blobs.get(&reference.key).await;
        let Some((_, mut body)) = opened.map_err(|error| unavailable(&error))? else {
            return Err(damaged(reference, "it is not there"));
        };
        let mut content = BytesMut::with_capacity(reference.size);
        while let Some(piece) = body.try_next().await.map_err(|e| unavailable(&e))? {
            content.extend_from_slice(&piece);
            if content.len() > reference.size {
                break;
            }
        }
        let content = content.freeze();
        if crypto::sha256_hex(&content) != reference.sha256 {
            return Err(damaged(reference, "its digest is another"));
        }
        self.lock().add(reference.key.clone(), content.clone());
        Ok(content)
    }

    fn knows(&self, key: &str) -> bool {
        self.lock().content.contains_key(key)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        // Every operation leaves it whole, so a panic elsewhere does not spoil it.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn prefix(job: JobId) -> String {
    format!("jobs/{job}/{FOLDER}/")
}

/// Tells whether a value has a reference's form, whoever made it.
pub(super) fn looks_like_reference(value: &Value) -> bool {
    value
        .as_object()
        .is_some_and(|members| members.len() == 1 && members.contains_key(NAME))
}

/// Tells whether a value is a reference of the job's.
pub(super) fn is_reference(job: JobId, value: &Value) -> bool {
    looks_like_reference(value) && reference(job, value).is_some()
}

fn reference(job: JobId, value: &Value) -> Option<Reference> {
    if !looks_like_reference(value) {
        return None;
    }
    let reference = Reference::deserialize(value.get(NAME)?).ok()?;
    let own = format!("{}{}", prefix(job), reference.sha256);
    (reference.key == own).then_some(reference)
}

fn unavailable(error: &BlobError) -> StoreError {
    StoreError::Unavailable(format!("a job's payload: {error}"))
}

fn damaged(reference: &Reference, reason: &str) -> StoreError {
    StoreError::Corrupt(format!("the payload {}: {reason}", reference.key))
}
