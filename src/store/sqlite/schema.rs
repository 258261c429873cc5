//! The tables, how they came about, and how a connection is set up.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::Synchronous;
use super::rows::int;
use crate::store::StoreError;

/// What brings a file from one version to the next; the version is the count of those done. A
/// migration that has been released is never changed.
const MIGRATIONS: &[&str] = &[
    include_str!("schema_1.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
    include_str!("schema_6.sql"),
    include_str!("schema_7.sql"),
    include_str!("schema_8.sql"),
    include_str!("schema_9.sql"),
];

/// Marks the file as ours, `AVTO`, for `file` and the like.
const APPLICATION_ID: i32 = 0x4156_544f;

/// Other processes may hold the write lock for a moment, such as a `sqlite3` shell.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Pages of 4 KiB in the log at which they go into the file: 16 MiB, read in well under a second at
/// the start after a crash.
const CHECKPOINT_PAGES: u32 = 4_096;

/// More than there are different statements, so that each is compiled once per connection.
const CACHED_STATEMENTS: usize = 128;

/// Opens a connection that reads and writes.
pub(super) fn connect(path: &Path, synchronous: Synchronous) -> Result<Connection, StoreError> {
    let db = open(path)?;
    // A file that is no database fails here first.
    db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
        .map_err(|error| refine(error, path))?;
    db.pragma_update(None, "synchronous", synchronous.as_sql())?;
    // The checks of the tables are lists, for each of which SQLite makes a table of its own with
    // every row written; what is written comes from enums. Other writers still have them.
    db.pragma_update(None, "ignore_check_constraints", true)?;
    // Pages that every commit writes go from the log into the file once for many commits.
    db.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    // The log shrinks again after a burst.
    db.pragma_update(None, "journal_size_limit", 64 << 20)?;
    Ok(db)
}

/// Opens a connection that only reads.
pub(super) fn connect_reader(path: &Path) -> Result<Connection, StoreError> {
    let db = open(path)?;
    db.pragma_update(None, "query_only", true)?;
    Ok(db)
}

fn open(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(|error| refine(error, path))?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    db.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    // 4 MiB of pages for each connection; negative is KiB. The system keeps the file in memory, too, and
    // SQLite walks over all of its own pages with most commits: 16 MiB cost 7 % of the jobs a second.
    db.pragma_update(None, "cache_size", -4_096)?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(db)
}

fn refine(error: rusqlite::Error, path: &Path) -> StoreError {
    match StoreError::from(error) {
        StoreError::Unavailable(text) => {
            StoreError::Unavailable(format!("{}: {text}", path.display()))
        }
        StoreError::Corrupt(text) => StoreError::Corrupt(format!("{}: {text}", path.display())),
        refused @ StoreError::Refused(_) => refused,
    }
}

/// Brings the file to this version, each step in a transaction of its own.
pub(super) fn migrate(db: &mut Connection, path: &Path) -> Result<(), StoreError> {
    migrate_with(db, path, (MIGRATIONS, APPLICATION_ID))
}

/// Likewise, by these migrations, for a file with this mark.
pub(super) fn migrate_with(
    db: &mut Connection,
    path: &Path,
    (migrations, application_id): (&[&str], i32),
) -> Result<(), StoreError> {
    let known = migrations.len();
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let done = usize::try_from(version).unwrap_or(usize::MAX);
    if done > known {
        return Err(StoreError::Corrupt(format!(
            "{} has schema version {version}, written by a newer release; this one knows up to \
             {known}",
            path.display()
        )));
    }
    for (index, migration) in migrations.iter().enumerate().skip(done) {
        let transaction = db.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", int(index as u64 + 1))?;
        transaction.pragma_update(None, "application_id", application_id)?;
        transaction.commit()?;
    }
    Ok(())
}
