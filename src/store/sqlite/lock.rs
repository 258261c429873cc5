//! One process at a time: two orchestrators on one file would each hold leases, timers and claims
//! that the other takes for lost.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use crate::store::StoreError;

/// An advisory lock on a file beside the database, held while the store is open.
///
/// The operating system lets go of it when the process dies, however it dies, so nothing stale is
/// ever left to be removed by hand. SQLite's own exclusive mode is no alternative: it would shut
/// out our readers and the `sqlite3` tool.
#[derive(Debug)]
pub(super) struct FileLock {
    _file: File,
}

impl FileLock {
    /// Takes the lock of the database at `path`.
    pub fn take(path: &Path) -> Result<Self, StoreError> {
        let lock_path = lock_path(path);
        let trouble = |error: std::io::Error| {
            StoreError::Unavailable(format!("cannot open {}: {error}", lock_path.display()))
        };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(trouble)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Unavailable(format!(
                "{} is in use by another orchestrator",
                path.display()
            ))),
            Err(TryLockError::Error(error)) => Err(trouble(error)),
        }
    }
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}
