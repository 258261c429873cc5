//! Folders of tasks: one for each attempt. Workers of one host, or of several, may share the place where these
//! are, and a task may come to two of them, or to one twice, before the first attempt has ended.
//!
//! Beside a folder is a file that is locked for as long as the folder is in use. The lock is not on the folder
//! itself: on NFS that of a folder holds on one host only, that of a file that is open for writing on all.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::name_of;
use crate::base::Entropy;

/// Times that a lock is made which another worker takes for one that nobody holds.
const ATTEMPTS: usize = 3;
/// Digits of chance at the end of a folder's name.
const CHANCE_DIGITS: usize = 32;
/// What the lock's name has more than the folder's, after a dot.
const LOCK: &str = "lock";

/// An attempt's folder; it goes with the run, however that ends.
pub(in crate::roles::worker) struct TaskFolder {
    path: PathBuf,
    /// Tells others that the folder is in use.
    _lock: File,
}

impl TaskFolder {
    /// Makes an empty folder that nobody else has.
    ///
    /// Errors when there is no room for it.
    pub(super) fn make(root: &Path, task_id: &str, entropy: &dyn Entropy) -> io::Result<Self> {
        for _ in 0..ATTEMPTS {
            let chance = entropy.uuid().simple();
            let path = root.join(format!("{}.{chance}", name_of(task_id)));
            let lock_path = path.with_added_extension(LOCK);
            // First the lock: a worker that is killed in between leaves what the next start removes.
            let Some(lock) = locked(&lock_path)? else {
                continue;
            };
            if let Err(error) = fs::create_dir(&path) {
                // What it stands for is not there; the next start would remove it, too.
                let _ = fs::remove_file(&lock_path);
                return Err(error);
            }
            return Ok(Self { path, _lock: lock });
        }
        Err(io::Error::other("others remove it again and again"))
    }

    /// Returns its path.
    pub(in crate::roles::worker) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TaskFolder {
    fn drop(&mut self) {
        // What cannot be removed is left for the next start; the task's result is not touched by it.
        let _ = remove(&self.path);
    }
}

/// Makes a lock and takes it; nothing when another has taken it first, to remove it.
fn locked(path: &Path) -> io::Result<Option<File>> {
    let lock = File::options().write(true).create_new(true).open(path)?;
    match lock.try_lock() {
        // It may have been removed before it was locked.
        Ok(()) => Ok(path.exists().then_some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        // Another host may be able to lock it: nobody takes a folder away that has no lock.
        Err(TryLockError::Error(_)) => fs::remove_file(path).map(|()| Some(lock)),
    }
}

/// Removes a folder, and then its lock, which whoever calls this holds; tells whether there was a folder.
fn remove(folder: &Path) -> io::Result<bool> {
    let was_there = there(fs::remove_dir_all(folder))?;
    there(fs::remove_file(folder.with_added_extension(LOCK)))?;
    Ok(was_there)
}

/// Tells whether what was removed was there.
fn there(removed: io::Result<()>) -> io::Result<bool> {
    match removed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes the folders of attempts whose worker died, with their locks; returns how many folders. The locks of
/// those in use are held. Where nothing can be locked all stay.
///
/// Errors when it cannot be read what is there.
pub(super) fn remove_left(root: &Path) -> io::Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if !is_file || !entry.file_name().to_str().is_some_and(is_lock) {
            continue;
        }
        // Another worker may be removing it.
        let Ok(lock) = File::options().write(true).open(entry.path()) else {
            continue;
        };
        if lock.try_lock().is_err() {
            continue;
        }
        let folder = entry.path().with_extension("");
        match remove(&folder) {
            Ok(was_there) => removed += usize::from(was_there),
            // It takes room, and keeps no other from going.
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "a task's folder is left behind");
            }
        }
    }
    Ok(removed)
}

/// Tells whether a file has a name that locks of attempts' folders have. There may be others beside them: an
/// orchestrator's files can be kept in the same place.
fn is_lock(name: &str) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let folder = name
        .strip_suffix(LOCK)
        .and_then(|name| name.strip_suffix('.'));
    folder
        .and_then(|name| name.rsplit_once('.'))
        .is_some_and(|(task, chance)| {
            !task.is_empty() && chance.len() == CHANCE_DIGITS && chance.bytes().all(is_digit)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SystemEntropy;

    fn make(root: &Path) -> TaskFolder {
        TaskFolder::make(root, "t-1", &SystemEntropy).expect("there is room")
    }

    /// Leaves a folder with a file in it.
    fn folder(root: &Path, name: &str) -> PathBuf {
        let folder = root.join(name);
        fs::create_dir(&folder).expect("makes");
        fs::write(folder.join("f"), "").expect("writes");
        folder
    }

    fn lock(root: &Path, name: &str) -> PathBuf {
        let lock = root.join(format!("{name}.lock"));
        fs::write(&lock, "").expect("writes");
        lock
    }

    #[test]
    fn each_attempt_has_a_folder_of_its_own() {
        let root = tempfile::tempdir().expect("a folder");
        let (first, second) = (make(root.path()), make(root.path()));
        fs::write(second.path().join("f"), "of the second").expect("writes");
        assert!(!first.path().join("f").exists());
        let name = first.path().file_name().and_then(|name| name.to_str());
        assert!(name.is_some_and(|name| name.starts_with("t-1.")));
        drop(first);
        assert!(
            second.path().join("f").exists(),
            "another's end takes nothing"
        );
        drop(second);
        let left = fs::read_dir(root.path()).expect("reads").count();
        assert_eq!(
            left, 0,
            "the folder goes with the run, and so does its lock"
        );
    }

    #[test]
    fn what_a_dead_worker_has_left_goes_and_nothing_else() {
        let root = tempfile::tempdir().expect("a folder");
        let used = make(root.path());
        let name = |task: &str| format!("{task}.{}", "0a".repeat(16));
        let left = [
            folder(root.path(), &name("t-2")),
            lock(root.path(), &name("t-2")),
            // It was killed between making the lock and the folder.
            lock(root.path(), &name("t-3")),
        ];
        let stays = [
            folder(root.path(), "jobs"),
            folder(root.path(), "t-2"),
            lock(root.path(), "t-2"),
            folder(root.path(), &name("")),
            lock(root.path(), &name("")),
            folder(root.path(), "t-2.0A0a"),
            lock(root.path(), "t-2.0A0a"),
            // Its worker could not lock anything.
            folder(root.path(), &name("t-4")),
        ];
        assert_eq!(remove_left(root.path()).expect("removes"), 1);
        for path in &left {
            assert!(!path.exists(), "{}", path.display());
        }
        for path in stays.iter().map(PathBuf::as_path).chain([used.path()]) {
            assert!(path.exists(), "{}", path.display());
        }
    }

    /// Of another host nothing is seen but the lock of a file.
    #[test]
    fn what_a_worker_of_another_host_uses_stays() {
        let root = tempfile::tempdir().expect("a folder");
        let name = format!("t-1.{}", "0a".repeat(16));
        let (path, held) = (folder(root.path(), &name), lock(root.path(), &name));
        let held = File::options().write(true).open(held).expect("opens");
        held.try_lock().expect("locks");
        assert_eq!(remove_left(root.path()).expect("reads"), 0);
        assert!(path.join("f").exists());
        drop(held);
        assert_eq!(remove_left(root.path()).expect("removes"), 1);
        // And of this one the other sees it.
        let used = make(root.path());
        let seen = File::options()
            .write(true)
            .open(used.path().with_added_extension("lock"));
        let locked = seen.expect("opens").try_lock();
        assert!(matches!(locked, Err(TryLockError::WouldBlock)));
    }
}
