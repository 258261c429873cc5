//! Between records and rows.

use rusqlite::Row;
use rusqlite::types::FromSql;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::base::JobId;
use crate::store::StoreError;

/// Returns the record as a row's body.
pub(super) fn encode<T: Serialize>(record: &T) -> Result<String, StoreError> {
    // Only a map with keys that are not text cannot be written, and no record has one.
    serde_json::to_string(record)
        .map_err(|error| StoreError::Corrupt(format!("a record cannot be written: {error}")))
}

/// Reads the record in a row's body.
pub(super) fn decode<T: DeserializeOwned>(
    row: &Row<'_>,
    column: usize,
    what: &str,
) -> Result<T, StoreError> {
    let text = row
        .get_ref(column)?
        .as_str()
        .map_err(|error| StoreError::Corrupt(format!("a stored {what}: {error}")))?;
    decode_text(text, what)
}

/// Reads the record in a row's body; one that cannot be read is told and left out, so that among
/// many it holds up nobody else's.
pub(super) fn decode_or_leave<T: DeserializeOwned>(
    row: &Row<'_>,
    column: usize,
    what: &str,
) -> Result<Option<T>, StoreError> {
    match decode(row, column, what) {
        Ok(record) => Ok(Some(record)),
        Err(StoreError::Corrupt(reason)) => {
            tracing::error!(%reason, "a damaged record is left out");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Reads the record in a text.
pub(super) fn decode_text<T: DeserializeOwned>(text: &str, what: &str) -> Result<T, StoreError> {
    serde_json::from_str(text)
        .map_err(|error| StoreError::Corrupt(format!("a stored {what}: {error}")))
}

/// Returns the row's UUID.
pub(super) fn uuid(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    row.get(column).map(Uuid::from_bytes)
}

/// Returns the row's job id.
pub(super) fn job_id(row: &Row<'_>, column: usize) -> rusqlite::Result<JobId> {
    uuid(row, column).map(JobId)
}

/// Returns a count as SQLite has numbers. Counts stay far below where they would not fit.
pub(super) fn int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Returns the first column of the one row that a query finds, or nothing.
pub(super) fn first<T: FromSql>(
    db: &rusqlite::Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<Option<T>, StoreError> {
    let mut statement = db.prepare_cached(sql)?;
    let mut found = statement.query(params)?;
    match found.next()? {
        Some(row) => Ok(Some(row.get(0)?)),
        None => Ok(None),
    }
}
