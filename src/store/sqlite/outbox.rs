//! The outbox as rows: written with the commit, claimed by putting off when they are due.

use rusqlite::{Connection, params};
use uuid::Uuid;

use super::rows::{self, first};
use crate::base::{JobId, Timestamp};
use crate::store::rules::{self, Standing};
use crate::store::{
    Commit, Delivery, DeliveryRecord, Message, MessageKind, OutboxItem, StoreError,
};

/// The kind of the rows that make up the delivery log.
pub(super) const WEBHOOK: &str = "webhook";

/// A message to be written.
pub(super) struct NewRow<'a> {
    pub id: Uuid,
    pub kind: &'static str,
    pub body: &'a str,
    pub commit: &'a Commit,
}

/// Adds a message; one whose id is known is left as it is.
pub(super) fn insert(db: &Connection, row: &NewRow<'_>) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT OR IGNORE INTO outbox
         (id, job, kind, status, due_at, created_at, updated_at, body)
         VALUES (?1, ?2, ?3, 'pending', ?4, ?5, ?5, ?6)",
    )?
    .execute(params![
        row.id.as_bytes(),
        row.commit.job.id.0.as_bytes(),
        row.kind,
        row.commit.outbox_due.0,
        row.commit.now.0,
        row.body,
    ])?;
    Ok(())
}

/// Claims what is due of a kind, oldest first.
pub(super) fn take(
    db: &Connection,
    kind: MessageKind,
    now: Timestamp,
    until: Timestamp,
    limit: u32,
) -> Result<Vec<OutboxItem>, StoreError> {
    let (mut claimed, mut items) = (Vec::new(), Vec::new());
    {
        // Each kind has an index of its own, which is found by these words.
        let mut statement = db.prepare_cached(match kind {
            MessageKind::Signal => {
                "SELECT seq, id, attempts, created_at, body FROM outbox
                 WHERE due_at <= ?1 AND kind <> 'webhook' ORDER BY due_at, seq LIMIT ?2"
            }
            MessageKind::Webhook => {
                "SELECT seq, id, attempts, created_at, body FROM outbox
                 WHERE due_at <= ?1 AND kind = 'webhook' ORDER BY due_at, seq LIMIT ?2"
            }
        })?;
        let mut found = statement.query(params![now.0, limit])?;
        while let Some(row) = found.next()? {
            // A damaged one is claimed, too, so that it is not looked at all the time.
            claimed.push(row.get::<_, i64>(0)?);
            let Some(message) = rows::decode_or_leave(row, 4, "message")? else {
                continue;
            };
            items.push(OutboxItem {
                id: rows::uuid(row, 1)?,
                attempts: row.get(2)?,
                created_at: Timestamp(row.get(3)?),
                message,
            });
        }
    }
    let mut claim = db.prepare_cached("UPDATE outbox SET due_at = ?2 WHERE seq = ?1")?;
    for seq in claimed {
        claim.execute(params![seq, until.0])?;
    }
    Ok(items)
}

/// Puts off the end of claims.
pub(super) fn extend(db: &Connection, ids: &[Uuid], until: Timestamp) -> Result<(), StoreError> {
    let mut extend =
        db.prepare_cached("UPDATE outbox SET due_at = ?2 WHERE id = ?1 AND due_at < ?2")?;
    for id in ids {
        extend.execute(params![id.as_bytes(), until.0])?;
    }
    Ok(())
}

/// Returns when the next message of a kind is due.
pub(super) fn next_due(
    db: &Connection,
    kind: MessageKind,
) -> Result<Option<Timestamp>, StoreError> {
    let next = match kind {
        MessageKind::Signal => {
            "SELECT due_at FROM outbox WHERE due_at IS NOT NULL AND kind <> 'webhook'
             ORDER BY due_at LIMIT 1"
        }
        MessageKind::Webhook => {
            "SELECT due_at FROM outbox WHERE due_at IS NOT NULL AND kind = 'webhook'
             ORDER BY due_at LIMIT 1"
        }
    };
    let at = first(db, next, [])?;
    Ok(at.map(Timestamp))
}

/// Returns how many messages are still to be delivered, counted up to a bound.
pub(super) fn length(db: &Connection, limit: u32) -> Result<u64, StoreError> {
    let count: Option<u32> = first(
        db,
        "SELECT min(?1,
         (SELECT count(*) FROM (SELECT 1 FROM outbox
          WHERE due_at IS NOT NULL AND kind <> 'webhook' LIMIT ?1)) +
         (SELECT count(*) FROM (SELECT 1 FROM outbox
          WHERE due_at IS NOT NULL AND kind = 'webhook' LIMIT ?1)))",
        [limit],
    )?;
    Ok(count.unwrap_or(0).into())
}

/// Records how a try ended; nothing happens to a message that is unknown or settled for good.
pub(super) fn settle(
    db: &Connection,
    id: Uuid,
    delivery: &Delivery,
    now: Timestamp,
) -> Result<(), StoreError> {
    if *delivery == Delivery::Delivered && remove_signal(db, id)? {
        return Ok(());
    }
    let id = id.as_bytes();
    let (status, due_at, reason) = match delivery {
        Delivery::Delivered => ("delivered", None, None),
        Delivery::Retry { at, reason } => ("pending", Some(at.0), Some(reason)),
        Delivery::Dead { reason } => ("dead", None, Some(reason)),
    };
    db.prepare_cached(
        "UPDATE outbox SET status = ?2, due_at = ?3, attempts = attempts + 1, updated_at = ?4,
         last_error = coalesce(?5, last_error) WHERE id = ?1 AND status = 'pending'",
    )?
    .execute(params![id, status, due_at, now.0, reason])?;
    Ok(())
}

/// Deletes a signal that is still to be delivered; false when there is none of that id.
pub(super) fn remove_signal(db: &Connection, id: Uuid) -> Result<bool, StoreError> {
    let deleted = db
        .prepare_cached(
            "DELETE FROM outbox WHERE id = ?1 AND status = 'pending' AND kind <> 'webhook'",
        )?
        .execute([id.as_bytes()])?;
    Ok(deleted > 0)
}

/// Returns a job's webhooks, oldest first.
pub(super) fn deliveries(
    db: &Connection,
    job: JobId,
    limit: u32,
) -> Result<Vec<DeliveryRecord>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT status, attempts, last_error, coalesce(due_at, updated_at), body FROM outbox
         WHERE job = ?1 AND kind = 'webhook' ORDER BY seq LIMIT ?2",
    )?;
    let mut found = statement.query(params![job.0.as_bytes(), limit])?;
    let mut records = Vec::new();
    while let Some(row) = found.next()? {
        let Message::Webhook(webhook) = rows::decode(row, 4, "message")? else {
            return Err(StoreError::Corrupt(format!(
                "a webhook of job {job} is none"
            )));
        };
        let standing = Standing {
            status: status(&row.get::<_, String>(0)?),
            attempts: row.get(1)?,
            last_error: row.get(2)?,
            updated_at: Timestamp(row.get(3)?),
        };
        records.push(rules::delivery_record(job, &webhook, standing));
    }
    Ok(records)
}

/// The table allows no other.
fn status(text: &str) -> &'static str {
    match text {
        "delivered" => "delivered",
        "dead" => "dead",
        _ => "pending",
    }
}
