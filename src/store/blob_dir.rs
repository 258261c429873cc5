//! Blobs as files in a directory. A body is written beside the others under a name of its own,
//! synced, and renamed: whoever reads sees the old blob or the new one, never a part. What a put has
//! answered for outlasts a power loss, with the folders that it lies in.

mod look;

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};
use tokio::fs;
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;

use super::blob_keys::{INCOMING, check_folder, check_key, check_prefix};
use super::{BlobBody, BlobError, BlobInfo, BlobStore};
use crate::base::{Clock, Entropy as _, SystemClock, SystemEntropy, crypto};
use crate::observe::{Asked, Presence, Standing};
use look::{find, folders_in};

/// How long nothing is written to a body that comes in until it is taken for broken off. Far longer than any
/// pause in an upload.
const BROKEN_OFF_AFTER: Duration = Duration::from_hours(24);

/// Tries at putting a file into place while somebody removes its folder because it is empty.
const PLACE_TRIES: u32 = 5;

/// What is written to see whether anything can be: whoever writes anything else shows it as well.
const PROBE: &[u8] = b"x";

/// Blobs in a directory, which processes may share.
#[derive(Debug)]
pub struct DirBlobStore {
    root: Arc<Path>,
    bucket: String,
    /// Names of bodies that come in begin with it: no other process's do.
    name: String,
    arrivals: AtomicU64,
    /// Held while folders are made.
    making: Arc<Mutex<()>>,
    presence: Presence,
}

impl DirBlobStore {
    /// Opens the directory, making it as needed, and removes what a crash left half-written. Workers
    /// know the blobs as `s3://<bucket>/<key>`.
    pub async fn open(root: &Path, bucket: &str) -> Result<Self, BlobError> {
        let incoming = root.join(INCOMING);
        fs::create_dir_all(&incoming)
            .await
            .map_err(|error| unavailable(&error))?;
        let above = root.canonicalize().map_err(|error| unavailable(&error))?;
        blocking(move || {
            remove_broken_off(&incoming).map_err(|error| unavailable(&error))?;
            let above = above.parent().unwrap_or(&above);
            sync_folder(above).map_err(|error| unavailable(&error))
        })
        .await?;
        Ok(Self {
            root: root.into(),
            bucket: bucket.to_owned(),
            name: SystemEntropy.uuid().simple().to_string(),
            arrivals: AtomicU64::new(0),
            making: Arc::default(),
            presence: Presence::new(Arc::new(SystemClock)),
        })
    }

    /// Goes by this clock in what it tells of outages, instead of the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.presence = Presence::new(clock);
        self
    }

    async fn place(&self, arrival: &Path, key: &str) -> Result<(), BlobError> {
        let (root, making) = (Arc::clone(&self.root), Arc::clone(&self.making));
        let (arrival, key) = (arrival.to_owned(), key.to_owned());
        blocking(move || place(&root, &making, &arrival, &key)).await
    }

    /// Returns where something that comes in is until it is whole.
    fn arrival(&self) -> Arrival {
        let number = self.arrivals.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", self.name);
        Arrival {
            path: self.root.join(INCOMING).join(name),
            is_placed: false,
        }
    }

    /// Tells the log when the directory cannot be used any more.
    fn noted<T>(&self, asked: Asked, ended: Result<T, BlobError>) -> Result<T, BlobError> {
        if let Err(error @ BlobError::Unavailable(_)) = &ended
            && self.presence.failed(asked)
        {
            // Somebody must act: the disk is full, or not this process's.
            tracing::error!(root = %self.root.display(), %error, "the directory of files cannot be used");
        }
        ended
    }

    /// Likewise of what writes nothing. That something can be read or removed says nothing of the rest.
    fn noted_own<T>(&self, ended: Result<T, BlobError>) -> Result<T, BlobError> {
        self.noted(Asked::Own, ended)
    }

    /// Likewise of so many bytes that were written, and when all can be written again: a full disk can be
    /// read, and takes what is small.
    fn noted_written<T>(&self, bytes: u64, ended: Result<T, BlobError>) -> Result<T, BlobError> {
        let asked = Asked::Room(bytes);
        if ended.is_ok() && self.presence.answered(asked).is_some() {
            tracing::info!(root = %self.root.display(), "the directory of files can be used again");
        }
        self.noted(asked, ended)
    }
}

/// Removes bodies that nobody has written to for long: a process that is gone has left them half-written.
fn remove_broken_off(incoming: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(incoming)? {
        let entry = entry?;
        let removed = entry.metadata().and_then(|facts| {
            let age = facts.modified()?.elapsed().unwrap_or_default();
            if age > BROKEN_OFF_AFTER {
                std::fs::remove_file(entry.path())?;
            }
            Ok(())
        });
        match removed {
            // It has come in meanwhile, or another process was faster.
            Err(error) if !is_absent(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Gives the file its name, which is on disk when this returns, with the folders above it.
fn place(root: &Path, making: &Mutex<()>, arrival: &Path, key: &str) -> Result<(), BlobError> {
    let target = root.join(key);
    let folder = target.parent().unwrap_or(root);
    let mut tries = 0;
    loop {
        tries += 1;
        let moved =
            make_folders(root, making, folder).and_then(|()| std::fs::rename(arrival, &target));
        match moved {
            Ok(()) => break,
            Err(error) if error.kind() == ErrorKind::NotFound && tries < PLACE_TRIES => {}
            Err(error) => return Err(misplaced(&error, key)),
        }
    }
    // The name is on disk only when its folder is.
    sync_folder(folder).map_err(|error| unavailable(&error))
}

/// Makes the folders that are missing, and has each on disk before anything is put into it. One at a
/// time: whoever finds a folder that this process has made finds one that is on disk, and need not sync it
/// again. One that another process is just making may yet go with the power.
fn make_folders(root: &Path, making: &Mutex<()>, folder: &Path) -> std::io::Result<()> {
    let _one = making.lock().unwrap_or_else(PoisonError::into_inner);
    let is_missing = |path: &&Path| *path != root && !path.is_dir();
    let missing: Vec<&Path> = folder.ancestors().take_while(is_missing).collect();
    for path in missing.into_iter().rev() {
        match std::fs::create_dir(path) {
            // Another process was faster; it may not have come to what follows.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
            // And has removed it again, because it was empty.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && !path.exists() => {
                return Err(ErrorKind::NotFound.into());
            }
            made => made?,
        }
        if let Err(error) = path.parent().map_or(Ok(()), sync_folder) {
            // Nobody is to find it; where it stays, the disk is in trouble that shows elsewhere.
            drop(std::fs::remove_dir(path));
            return Err(error);
        }
    }
    Ok(())
}

fn sync_folder(folder: &Path) -> std::io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

/// A file that is removed unless it has been put into place.
struct Arrival {
    path: PathBuf,
    is_placed: bool,
}

impl Drop for Arrival {
    fn drop(&mut self) {
        if !self.is_placed {
            // What stays because this fails is removed at a start, a day later.
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// Writes the body to the file and counts its bytes, also where it fails; returns its digest.
async fn receive(
    path: &Path,
    mut body: BlobBody,
    bytes_max: u64,
    bytes: &mut u64,
) -> Result<String, BlobError> {
    let mut file = fs::File::create_new(path)
        .await
        .map_err(|error| unavailable(&error))?;
    let mut hasher = Sha256::new();
    while let Some(piece) = body.next().await {
        let piece = piece?;
        *bytes += piece.len() as u64;
        if *bytes > bytes_max {
            return Err(BlobError::TooLarge { limit: bytes_max });
        }
        hasher.update(&piece);
        file.write_all(&piece)
            .await
            .map_err(|error| unavailable(&error))?;
    }
    file.flush().await.map_err(|error| unavailable(&error))?;
    file.sync_all().await.map_err(|error| unavailable(&error))?;
    Ok(crypto::hex(&hasher.finalize()))
}

#[async_trait]
impl BlobStore for DirBlobStore {
    async fn put(&self, key: &str, body: BlobBody, bytes_max: u64) -> Result<BlobInfo, BlobError> {
        check_key(key)?;
        let mut arrival = self.arrival();
        let mut bytes = 0;
        let received = receive(&arrival.path, body, bytes_max, &mut bytes).await;
        let sha256 = self.noted(Asked::Room(bytes), received)?;
        let placed = self.place(&arrival.path, key).await;
        self.noted_written(bytes, placed)?;
        arrival.is_placed = true;
        Ok(BlobInfo {
            key: key.to_owned(),
            bytes,
            sha256: Some(sha256),
        })
    }

    async fn get(&self, key: &str) -> Result<Option<(BlobInfo, BlobBody)>, BlobError> {
        check_key(key)?;
        let file = match fs::File::open(self.root.join(key)).await {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return self.noted_own(Err(unavailable(&error))),
        };
        let facts = file.metadata().await.map_err(|error| unavailable(&error));
        let facts = self.noted_own(facts)?;
        if !facts.is_file() {
            return Ok(None);
        }
        let info = BlobInfo {
            key: key.to_owned(),
            bytes: facts.len(),
            sha256: None,
        };
        let pieces =
            ReaderStream::new(file).map_err(|error| BlobError::Interrupted(error.to_string()));
        Ok(Some((info, pieces.boxed())))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<BlobInfo>, BlobError> {
        check_prefix(prefix)?;
        let (root, prefix) = (Arc::clone(&self.root), prefix.to_owned());
        self.noted_own(blocking(move || find(&root, &prefix)).await)
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, BlobError> {
        let path = self.root.join(check_folder(prefix)?);
        self.noted_own(blocking(move || folders_in(&path)).await)
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<(), BlobError> {
        check_prefix(prefix)?;
        let (root, prefix) = (Arc::clone(&self.root), prefix.to_owned());
        let deleted = blocking(move || {
            for blob in find(&root, &prefix)? {
                let path = root.join(&blob.key);
                match std::fs::remove_file(&path) {
                    Err(error) if !is_absent(&error) => return Err(unavailable(&error)),
                    _ => remove_empty_folders(&root, &path),
                }
            }
            Ok(())
        });
        self.noted_own(deleted.await)
    }

    async fn remove_broken_off(&self) -> Result<(), BlobError> {
        let incoming = self.root.join(INCOMING);
        let removed =
            blocking(move || remove_broken_off(&incoming).map_err(|error| unavailable(&error)));
        self.noted_own(removed.await)
    }

    /// Writes a small file and removes it: a disk that is full or can only be read is there all the same.
    async fn health(&self) -> Result<(), BlobError> {
        let arrival = self.arrival();
        let written = blocking(move || {
            let written = std::fs::File::create(&arrival.path).and_then(|mut file| {
                file.write_all(PROBE)?;
                // Over a network a full disk says so only here.
                file.sync_all()
            });
            drop(arrival);
            written.map_err(|error| unavailable(&error))
        });
        self.noted_written(PROBE.len() as u64, written.await)
    }

    fn standing(&self) -> Standing {
        self.presence.standing()
    }

    fn uri(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.bucket)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| BlobError::Unavailable(error.to_string()))?
}

fn remove_empty_folders(root: &Path, path: &Path) {
    for folder in path
        .ancestors()
        .skip(1)
        .take_while(|folder| *folder != root)
    {
        // Fails when the folder is not empty: then those above are not either.
        if std::fs::remove_dir(folder).is_err() {
            break;
        }
    }
}

fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn unavailable(error: &std::io::Error) -> BlobError {
    BlobError::Unavailable(error.to_string())
}

/// A key that runs through another blob, or names what is a folder of others, cannot be a file.
fn misplaced(error: &std::io::Error, key: &str) -> BlobError {
    match error.kind() {
        ErrorKind::NotADirectory
        | ErrorKind::IsADirectory
        | ErrorKind::AlreadyExists
        | ErrorKind::DirectoryNotEmpty => BlobError::InvalidKey(key.to_owned()),
        _ => unavailable(error),
    }
}
