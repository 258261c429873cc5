//! Before a run: what the parameters name on S3 is fetched.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::fs;
use tokio::io::AsyncWriteExt as _;

use super::walk::strings;
use super::{Account, FILES_AT_ONCE, FILES_MAX, Transfer, Trouble};
use crate::base::crypto;
use crate::domain::{Object, TaskErrorCode};
use crate::observe::Moved;
use crate::store::{BlobStore as _, S3BlobStore, S3Settings};

/// What an address on S3 begins with.
pub(super) const SCHEME: &str = "s3://";

/// Where in an attempt's folder its inputs were placed.
pub(super) type Inputs = BTreeSet<PathBuf>;

/// A file to be fetched.
struct Wanted {
    bucket: String,
    key: String,
    path: PathBuf,
}

impl Transfer {
    /// Fetches every file that the parameters name, and returns them with the files' paths in the
    /// addresses' places, and all these paths. An address that ends with a slash stands for all files below it.
    pub(in crate::roles::worker) async fn fetch(
        &self,
        params: Object,
        folder: &Path,
        account: &Account,
    ) -> Result<(Object, Inputs), Trouble> {
        let mut value = Value::Object(params);
        let found = strings(&value, &|text| text.starts_with(SCHEME));
        let uris: BTreeSet<&str> = found.iter().map(|one| one.text.as_str()).collect();
        let (mut places, mut wanted) = (BTreeMap::new(), Vec::new());
        // Each stands for a file, or for a question what is below it.
        not_too_many(uris.len())?;
        for uri in uris {
            let place = free_place(folder, uri, &places)?;
            wanted.extend(self.wanted(uri, &place).await?);
            not_too_many(wanted.len())?;
            places.insert(uri, place);
        }
        let files = wanted.iter().map(|one| &one.path);
        let inputs = places.values().chain(files).cloned().collect();
        let fetched = stream::iter(wanted).map(|one| async move {
            let uri = format!("{SCHEME}{}/{}", one.bucket, one.key);
            let download = self.download(&one, &uri);
            account.of(Moved::Download, &uri, download).await
        });
        fetched
            .buffer_unordered(FILES_AT_ONCE)
            .try_collect::<()>()
            .await?;
        for one in &found {
            let text = places[one.text.as_str()].display().to_string();
            if let Some(place) = value.pointer_mut(&one.pointer) {
                *place = Value::String(text);
            }
        }
        match value {
            Value::Object(params) => Ok((params, inputs)),
            _ => unreachable!("an object's members have changed, it is still one"),
        }
    }

    /// Returns the files that an address stands for: of too many only one more than may be.
    async fn wanted(&self, uri: &str, place: &Path) -> Result<Vec<Wanted>, Trouble> {
        let (bucket, key) = parsed(uri)?;
        let one = |key: &str, path: PathBuf| Wanted {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            path,
        };
        if !key.ends_with('/') {
            return Ok(vec![one(key, place.to_owned())]);
        }
        let listed = match self.foreign(bucket)? {
            Some(store) => store.list_some(key, FILES_MAX + 1).await,
            None => self.own.list_some(key, FILES_MAX + 1).await,
        };
        let listed = listed.map_err(|error| Trouble::of(uri, &error))?;
        fs::create_dir_all(place)
            .await
            .map_err(|error| Trouble::io(place, &error))?;
        // A key that leads out of the folder is refused when it is asked for, before it is written.
        let below = listed.iter().filter_map(|blob| {
            let rest = blob.key.strip_prefix(key)?;
            Some(one(&blob.key, place.join(rest)))
        });
        Ok(below.collect())
    }

    /// Returns the store of a bucket that is not the worker's own.
    fn foreign(&self, bucket: &str) -> Result<Option<S3BlobStore>, Trouble> {
        if bucket == self.settings.bucket {
            return Ok(None);
        }
        let settings = S3Settings {
            bucket: bucket.to_owned(),
            ..self.settings.clone()
        };
        let store = S3BlobStore::new(&settings).map_err(|error| Trouble::of(bucket, &error))?;
        Ok(Some(store))
    }

    async fn download(&self, one: &Wanted, uri: &str) -> Result<(), Trouble> {
        let trouble = |error| Trouble::of(uri, &error);
        let opened = match self.foreign(&one.bucket)? {
            Some(store) => store.get(&one.key).await,
            None => self.own.get(&one.key).await,
        };
        let Some((info, mut body)) = opened.map_err(trouble)? else {
            // Not the input's fault for certain: it may be on its way.
            let reason = format!("there is no {uri}");
            return Err(Trouble::new(TaskErrorCode::DependencyMissingError, reason));
        };
        if info.bytes > self.bytes_max {
            let reason = format!("{uri} is larger than {} bytes", self.bytes_max);
            return Err(Trouble::new(TaskErrorCode::LimitExceededError, reason));
        }
        let unwritten = |error: std::io::Error| Trouble::io(&one.path, &error);
        if let Some(folder) = one.path.parent() {
            fs::create_dir_all(folder).await.map_err(unwritten)?;
        }
        let mut file = fs::File::create(&one.path).await.map_err(unwritten)?;
        let mut hasher = Sha256::new();
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| Trouble::of(uri, &error))?;
            hasher.update(&piece);
            file.write_all(&piece).await.map_err(unwritten)?;
        }
        file.flush().await.map_err(unwritten)?;
        let seen = crypto::hex(&hasher.finalize());
        match info.sha256 {
            Some(stored) if stored != seen => Err(Trouble::new(
                TaskErrorCode::IntegrityMismatchError,
                format!("{uri} has SHA-256 {seen}, it was stored with {stored}"),
            )),
            _ => Ok(()),
        }
    }
}

fn not_too_many(files: usize) -> Result<(), Trouble> {
    if files <= FILES_MAX {
        return Ok(());
    }
    let reason = format!("the parameters name more than {FILES_MAX} files");
    Err(Trouble::new(TaskErrorCode::InvalidInputError, reason))
}

/// Takes an address apart into bucket and key.
fn parsed(uri: &str) -> Result<(&str, &str), Trouble> {
    let is_bucket = |name: &str| {
        (3..=63).contains(&name.len())
            && name
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-'))
    };
    uri.strip_prefix(SCHEME)
        .and_then(|rest| rest.split_once('/'))
        .filter(|(bucket, key)| is_bucket(bucket) && !key.is_empty())
        .ok_or_else(|| {
            let reason = format!("`{uri}` is not an address such as s3://bucket/key");
            Trouble::new(TaskErrorCode::InvalidInputError, reason)
        })
}

/// Returns the file's place in the folder: its own name, with a number before it where another
/// address has that name too.
fn free_place(
    folder: &Path,
    uri: &str,
    taken: &BTreeMap<&str, PathBuf>,
) -> Result<PathBuf, Trouble> {
    let (_, key) = parsed(uri)?;
    let name = key.trim_end_matches('/').rsplit('/').next();
    let name = name.filter(|name| !matches!(*name, "" | "." | ".."));
    let Some(name) = name.filter(|name| !name.chars().any(char::is_control)) else {
        let reason = format!("`{uri}` does not end with a file's name");
        return Err(Trouble::new(TaskErrorCode::InvalidInputError, reason));
    };
    let is_taken = |place: &PathBuf| taken.values().any(|other| other == place);
    let plain = folder.join(name);
    if !is_taken(&plain) {
        return Ok(plain);
    }
    let numbered = (2..).map(|number| folder.join(format!("{number}-{name}")));
    let free = numbered.take(FILES_MAX + 1).find(|place| !is_taken(place));
    free.ok_or_else(|| {
        let reason = format!("more than {FILES_MAX} files are called {name}");
        Trouble::new(TaskErrorCode::InvalidInputError, reason)
    })
}
