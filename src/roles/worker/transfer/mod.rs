//! Files between S3 and skills: `s3://` addresses among a task's parameters become files in a folder
//! of the attempt's own, and files in it that its result names become `s3://` addresses.
//! Source: wire-protocol §10.4, with EQ28 fixed: results lie below `jobs/<job id>/`, as the
//! orchestrator's files do.

mod account;
mod fetch;
mod folder;
mod store;
#[cfg(test)]
mod tests;
mod walk;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) use account::Account;
pub(super) use folder::TaskFolder;

use anyhow::Context as _;

use super::config::WorkerConfig;
use super::skill::Outcome;
use crate::base::{Entropy, crypto, ids};
use crate::domain::TaskErrorCode;
use crate::store::{BlobError, S3BlobStore, S3Settings};

/// Files of one task, in either direction.
const FILES_MAX: usize = 1_000;
/// Files of one task that are under way at once.
const FILES_AT_ONCE: usize = 4;

/// Moves files for all tasks of a worker.
pub(super) struct Transfer {
    settings: S3Settings,
    own: S3BlobStore,
    root: PathBuf,
    bytes_max: u64,
    entropy: Arc<dyn Entropy>,
}

/// Returns a safe file name for a task, whose id comes from outside.
pub(super) fn name_of(task_id: &str) -> String {
    if ids::is_identifier(task_id) {
        return task_id.to_owned();
    }
    crypto::sha256_hex(task_id.as_bytes())[..32].to_owned()
}

/// Why files could not be moved.
pub(super) struct Trouble {
    code: TaskErrorCode,
    reason: String,
}

impl Trouble {
    fn new(code: TaskErrorCode, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { code, reason }
    }

    /// Says what a blob store's error means for the task that needs this file.
    fn of(uri: &str, error: &BlobError) -> Self {
        let code = match error {
            BlobError::InvalidKey(_) | BlobError::InvalidLifetime { .. } => {
                TaskErrorCode::InvalidInputError
            }
            BlobError::TooLarge { .. } => TaskErrorCode::LimitExceededError,
            BlobError::Interrupted(_) | BlobError::Busy | BlobError::Unavailable(_) => {
                TaskErrorCode::TransientError
            }
        };
        Self::new(code, format!("{uri}: {error}"))
    }

    fn io(path: &Path, error: &std::io::Error) -> Self {
        let name = path.file_name().unwrap_or_default().display();
        let reason = format!("the file {name} of the task: {error}");
        Self::new(TaskErrorCode::ResourceExhaustedError, reason)
    }

    /// Returns the task's end.
    pub(super) fn outcome(self) -> Outcome {
        Outcome::failure(self.code, self.reason)
    }
}

impl Transfer {
    /// Makes what moves files, when the worker has an S3 server.
    pub(super) fn of(config: &WorkerConfig) -> anyhow::Result<Option<Self>> {
        let Some(settings) = &config.s3 else {
            return Ok(None);
        };
        let folder = &config.task_files_dir;
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder of files {}", folder.display()))?;
        // Links in its path would hide that a file is in it.
        let root = folder.canonicalize()?;
        match folder::remove_left(&root) {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "folders of tasks were removed that nobody uses"),
            Err(error) => tracing::warn!(%error, "folders of tasks are left behind"),
        }
        Ok(Some(Self {
            own: S3BlobStore::new(settings)?,
            settings: settings.clone(),
            root,
            bytes_max: config.file_bytes_max,
            entropy: Arc::clone(&config.entropy),
        }))
    }

    /// Makes the folder of an attempt at a task.
    pub(super) fn folder(&self, task_id: &str) -> Result<TaskFolder, Trouble> {
        let made = TaskFolder::make(&self.root, task_id, self.entropy.as_ref());
        made.map_err(|error| Trouble::io(&self.root, &error))
    }
}
