//! The embedded store: one SQLite file with jobs, workers, history and outbox, so that a step's
//! fruit is one transaction.
//!
//! One thread owns the connection that writes and puts everything that is waiting into one
//! transaction (group commit): one sync to disk pays for all of them. Reads have connections of
//! their own, which WAL mode keeps out of the writer's way; what was written last is read from
//! memory. Bodies are JSON text; the columns
//! beside them are what is searched and ordered by. The file opens with the `sqlite3` tool.

mod archive;
mod commit;
mod feed;
mod given;
mod history;
mod jobs;
mod lock;
mod outbox;
mod purge;
mod queries;
mod readers;
mod resident;
mod rows;
mod schema;
mod tail;
mod tasks;
mod workers;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

pub use self::archive::SqliteArchive;
use self::history::Numbers;
use self::lock::FileLock;
use self::readers::Readers;
use self::resident::{Resident, Transaction};
use self::writer::Writer;
use super::{Durability, StoreError};

/// When SQLite syncs to disk. Source: <https://sqlite.org/pragma.html#pragma_synchronous>.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Synchronous {
    /// With every transaction: what was answered survives a power loss.
    #[default]
    Full,
    /// At checkpoints: a power loss may take the last moments, a crash of the process nothing.
    Normal,
    /// Never: a power loss may damage the file.
    Off,
}

impl Synchronous {
    const fn as_sql(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Normal => "NORMAL",
            Self::Off => "OFF",
        }
    }
}

/// How the embedded store works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteSettings {
    /// When to sync.
    pub synchronous: Synchronous,
    /// The longest that a call waits for its answer.
    pub call_timeout: Duration,
    /// Connections that read, at least 1.
    pub readers: usize,
    /// Writes that may wait for the writer, at least 1; more wait outside, within their timeout.
    pub queue_max: usize,
    /// Writes in one transaction, at least 1.
    pub batch_max: usize,
    /// Whether what goes into the history is to be handed out for an archive as well.
    pub feed: bool,
}

impl Default for SqliteSettings {
    fn default() -> Self {
        Self {
            synchronous: Synchronous::Full,
            call_timeout: Duration::from_secs(10),
            readers: 4,
            queue_max: 1024,
            batch_max: 256,
            feed: false,
        }
    }
}

/// Jobs, workers and history in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    // Dropped in this order: the lock goes last, when nobody writes any more.
    writer: Writer,
    readers: Readers,
    resident: Arc<Resident>,
    synchronous: Synchronous,
    numbers: Numbers,
    path: PathBuf,
    lock: Mutex<Option<FileLock>>,
}

impl SqliteStore {
    /// Opens the file, making or migrating it as needed. Blocks; called once, at the start.
    ///
    /// Errors: `Unavailable` when the file cannot be opened or another process has it open as its
    /// store; `Corrupt` when it is no such file or a newer version's.
    pub fn open(path: &Path, settings: &SqliteSettings) -> Result<Self, StoreError> {
        let lock = FileLock::take(path)?;
        let mut db = schema::connect(path, settings.synchronous)?;
        schema::migrate(&mut db, path)?;
        feed::switch(&db, settings.feed)?;
        let numbers = Numbers::of(&db, settings.feed)?;
        let tail = feed::tail(&db, numbers.last())?;
        let readers = Readers::open(path, settings)?;
        let resident = Arc::new(Resident::new(tail));
        let writer = Writer::start(db, Arc::clone(&resident), settings)?;
        Ok(Self {
            writer,
            readers,
            resident,
            synchronous: settings.synchronous,
            numbers,
            path: path.to_owned(),
            lock: Mutex::new(Some(lock)),
        })
    }

    /// Returns where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Does the work on a connection that reads.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.readers.call(work).await
    }

    /// Does the work in the writer's next transaction and answers once that is on disk.
    ///
    /// The work may be run a second time, after all that the first run did has been undone; it
    /// writes nothing when it refuses.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer.call(work).await
    }

    const fn durability_now(&self) -> Durability {
        match self.synchronous {
            Synchronous::Full => Durability::Fsync,
            Synchronous::Normal => Durability::Os,
            Synchronous::Off => Durability::None,
        }
    }

    async fn shut_down(&self) {
        // A writer that does not end in time keeps the lock: nobody else may have the file yet.
        let has_ended = self.writer.stop().await;
        self.readers.stop().await;
        self.resident.close();
        if has_ended && let Ok(mut lock) = self.lock.lock() {
            *lock = None;
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::{Error, ErrorCode};
        match (&error, error.sqlite_error_code()) {
            (_, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
            | (Error::FromSqlConversionFailure(..) | Error::InvalidColumnType(..), _) => {
                Self::Corrupt(error.to_string())
            }
            _ => Self::Unavailable(error.to_string()),
        }
    }
}
