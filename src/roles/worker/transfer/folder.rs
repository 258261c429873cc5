//! Folders of tasks: one for each attempt. Workers of one host may share the place where these are, and a
//! task may come to two of them, or to one twice, before the first attempt has ended.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::name_of;
use crate::base::Entropy;

/// Times that a folder is made which another worker takes for one that nobody uses.
const ATTEMPTS: usize = 3;
/// Digits of chance at the end of a folder's name.
const CHANCE_DIGITS: usize = 32;

/// An attempt's folder; it goes with the run, however that ends.
pub(in crate::roles::worker) struct TaskFolder {
    path: PathBuf,
    /// Locked for as long as the folder is in use, so that others see that it is.
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
            fs::create_dir(&path)?;
            if let Some(lock) = locked(&path)? {
                return Ok(Self { path, _lock: lock });
            }
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
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Takes a folder that has just been made; nothing when another has taken it first, to remove it.
fn locked(path: &Path) -> io::Result<Option<File>> {
    let lock = match File::open(path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match lock.try_lock() {
        // It may have been removed before it was locked.
        Ok(()) => Ok(path.exists().then_some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        // Nobody can lock anything there, so nobody takes it away.
        Err(TryLockError::Error(_)) => Ok(Some(lock)),
    }
}

/// Removes the folders of attempts whose worker died; returns how many. Those in use are locked. Where
/// nothing can be locked all stay.
///
/// Errors when it cannot be read what is there.
pub(super) fn remove_left(root: &Path) -> io::Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !is_folder || !entry.file_name().to_str().is_some_and(is_ours) {
            continue;
        }
        // Another worker may be removing it.
        let Ok(lock) = File::open(entry.path()) else {
            continue;
        };
        if lock.try_lock().is_err() {
            continue;
        }
        match fs::remove_dir_all(entry.path()) {
            Ok(()) => removed += 1,
            // It takes room, and keeps no other from going.
            Err(error) => {
                let folder = entry.path();
                tracing::warn!(folder = %folder.display(), %error, "a task's folder is left behind");
            }
        }
    }
    Ok(removed)
}

/// Tells whether a folder has a name that attempts' folders have. There may be others beside them: an
/// orchestrator's files can be kept in the same place.
fn is_ours(name: &str) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    name.rsplit_once('.').is_some_and(|(task, chance)| {
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

    #[test]
    fn each_attempt_has_a_folder_of_its_own() {
        let root = tempfile::tempdir().expect("a folder");
        let (first, second) = (make(root.path()), make(root.path()));
        fs::write(second.path().join("f"), "of the second").expect("writes");
        assert!(!first.path().join("f").exists());
        let name = first.path().file_name().and_then(|name| name.to_str());
        assert!(name.is_some_and(|name| name.starts_with("t-1.") && is_ours(name)));
        drop(first);
        assert!(
            second.path().join("f").exists(),
            "another's end takes nothing"
        );
        let path = second.path().to_owned();
        drop(second);
        assert!(!path.exists(), "the folder goes with the run");
    }

    #[test]
    fn what_a_dead_worker_has_left_goes_and_nothing_else() {
        let root = tempfile::tempdir().expect("a folder");
        let used = make(root.path());
        let left = root.path().join(format!("t-2.{}", "0a".repeat(16)));
        let others = [
            "jobs",
            "t-2",
            ".0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a",
            "t-2.0A0a",
        ];
        let others = others.map(|name| root.path().join(name));
        for folder in others.iter().chain([&left]) {
            fs::create_dir(folder).expect("makes");
            fs::write(folder.join("f"), "").expect("writes");
        }
        assert_eq!(remove_left(root.path()).expect("removes"), 1);
        assert!(!left.exists());
        for folder in others.iter().map(PathBuf::as_path).chain([used.path()]) {
            assert!(folder.exists(), "{}", folder.display());
        }
    }
}
