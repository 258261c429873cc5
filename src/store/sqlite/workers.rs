//! `WorkerStore` on SQLite. A worker's body is as it last said; when it registered and what
//! reputation it has are columns of their own, because a heartbeat must not touch them, and so is
//! how long it lives, because most heartbeats touch nothing else.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use super::SqliteStore;
use super::rows::{self, first};
use crate::base::{Timestamp, WorkerId};
use crate::domain::Worker;
use crate::store::rules::{self, REPUTATION_START};
use crate::store::{RefreshOutcome, StoreError, TokenKind, TokenRecord, WorkerStore};

const fn kind_text(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::Access => "access",
        TokenKind::Refresh => "refresh",
    }
}

fn reputation(db: &Connection, worker: &WorkerId) -> Result<Option<f64>, StoreError> {
    first(
        db,
        "SELECT value FROM reputations WHERE worker = ?1",
        [worker.as_str()],
    )
}

fn put_reputation(db: &Connection, worker: &WorkerId, value: f64) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO reputations (worker, value) VALUES (?1, ?2)
         ON CONFLICT DO UPDATE SET value = excluded.value",
    )?
    .execute(params![worker.as_str(), value])?;
    Ok(())
}

fn put_worker(db: &Connection, worker: &Worker) -> Result<Worker, StoreError> {
    let mut worker = worker.clone();
    match reputation(db, &worker.id)? {
        Some(earned) => worker.reputation = earned,
        None => put_reputation(db, &worker.id, worker.reputation)?,
    }
    db.prepare_cached("UPDATE reputations SET gone_at = NULL WHERE worker = ?1")?
        .execute([worker.id.as_str()])?;
    db.prepare_cached(
        "INSERT OR REPLACE INTO workers (id, registered_at, expires_at, body)
         VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![
        worker.id.as_str(),
        worker.registered_at.0,
        worker.expires_at.0,
        rows::encode(&worker)?,
    ])?;
    Ok(worker)
}

fn list_workers(db: &Connection) -> Result<Vec<Worker>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT body, registered_at, value, expires_at FROM workers JOIN reputations ON worker = workers.id
         ORDER BY workers.id",
    )?;
    let mut found = statement.query([])?;
    let mut workers = Vec::new();
    while let Some(row) = found.next()? {
        // One that is left out registers again with its next heartbeat, and can be read then.
        let Some(mut worker) = rows::decode_or_leave::<Worker>(row, 0, "worker")? else {
            continue;
        };
        worker.registered_at = Timestamp(row.get(1)?);
        worker.reputation = row.get(2)?;
        worker.expires_at = Timestamp(row.get(3)?);
        workers.push(worker);
    }
    Ok(workers)
}

fn forget_workers(db: &Connection, before: Timestamp) -> Result<Vec<WorkerId>, StoreError> {
    db.prepare_cached(
        "UPDATE reputations SET gone_at = expires_at FROM workers
         WHERE worker = workers.id AND expires_at < ?1",
    )?
    .execute([before.0])?;
    let mut statement =
        db.prepare_cached("DELETE FROM workers WHERE expires_at < ?1 RETURNING id")?;
    let mut found = statement.query([before.0])?;
    let mut gone = Vec::new();
    while let Some(row) = found.next()? {
        gone.push(WorkerId::from(row.get::<_, String>(0)?));
    }
    db.prepare_cached("DELETE FROM reputations WHERE gone_at < ?1")?
        .execute([rules::reputations_gone_before(before).0])?;
    gone.sort_unstable();
    Ok(gone)
}

/// Reads the columns kind, worker, family, expires_at, in this order.
fn token(row: &Row<'_>, hash: &str) -> Result<TokenRecord, StoreError> {
    let is_access = row.get_ref(0)?.as_str().is_ok_and(|kind| kind == "access");
    Ok(TokenRecord {
        hash: hash.to_owned(),
        kind: if is_access {
            TokenKind::Access
        } else {
            TokenKind::Refresh
        },
        worker: WorkerId::from(row.get::<_, String>(1)?),
        family: rows::uuid(row, 2)?,
        expires_at: Timestamp(row.get(3)?),
    })
}

fn put_token(db: &Connection, token: &TokenRecord) -> Result<(), StoreError> {
    // The family may have been revoked between taking the old pair and storing the new one.
    db.prepare_cached(
        "INSERT OR REPLACE INTO tokens (hash, kind, worker, family, expires_at)
         SELECT ?1, ?2, ?3, ?4, ?5
         WHERE NOT EXISTS (SELECT 1 FROM revoked_families WHERE family = ?4)",
    )?
    .execute(params![
        token.hash,
        kind_text(token.kind),
        token.worker.as_str(),
        token.family.as_bytes(),
        token.expires_at.0,
    ])?;
    Ok(())
}

fn find_access(db: &Connection, hash: &str) -> Result<Option<TokenRecord>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT kind, worker, family, expires_at FROM tokens WHERE hash = ?1 AND kind = 'access'",
    )?;
    let mut found = statement.query([hash])?;
    found.next()?.map(|row| token(row, hash)).transpose()
}

fn take_refresh(
    db: &Connection,
    hash: &str,
    worker: &WorkerId,
    now: Timestamp,
) -> Result<RefreshOutcome, StoreError> {
    let found = {
        let mut statement = db.prepare_cached(
            "SELECT kind, worker, family, expires_at, is_used FROM tokens
             WHERE hash = ?1 AND kind = 'refresh' AND worker = ?2 AND expires_at > ?3",
        )?;
        let mut found = statement.query(params![hash, worker.as_str(), now.0])?;
        match found.next()? {
            Some(row) => Some((token(row, hash)?, row.get::<_, bool>(4)?)),
            None => None,
        }
    };
    match found {
        None => Ok(RefreshOutcome::Unknown),
        Some((record, false)) => {
            db.prepare_cached("UPDATE tokens SET is_used = 1 WHERE hash = ?1")?
                .execute([hash])?;
            Ok(RefreshOutcome::Taken(record))
        }
        Some((record, true)) => {
            revoke(db, record.family, record.expires_at)?;
            Ok(RefreshOutcome::Reused)
        }
    }
}

fn revoke(db: &Connection, family: Uuid, until: Timestamp) -> Result<(), StoreError> {
    let family = family.as_bytes();
    db.prepare_cached("DELETE FROM tokens WHERE family = ?1")?
        .execute([family])?;
    db.prepare_cached("INSERT OR REPLACE INTO revoked_families (family, until) VALUES (?1, ?2)")?
        .execute(params![family, until.0])?;
    Ok(())
}

fn remember(
    db: &Connection,
    worker: &WorkerId,
    nonce: &str,
    (now, until): (Timestamp, Timestamp),
) -> Result<bool, StoreError> {
    let written = db
        .prepare_cached(
            "INSERT INTO nonces (worker, nonce, until) VALUES (?1, ?2, ?4)
             ON CONFLICT DO UPDATE SET until = excluded.until WHERE until <= ?3",
        )?
        .execute(params![worker.as_str(), nonce, now.0, until.0])?;
    Ok(written > 0)
}

fn knows(
    db: &Connection,
    worker: &WorkerId,
    nonce: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    Ok(db
        .prepare_cached("SELECT 1 FROM nonces WHERE worker = ?1 AND nonce = ?2 AND until > ?3")?
        .exists(params![worker.as_str(), nonce, now.0])?)
}

#[async_trait]
impl WorkerStore for SqliteStore {
    async fn put_worker(&self, worker: Worker) -> Result<Worker, StoreError> {
        self.write(move |db| put_worker(db, &worker)).await
    }

    async fn beat(&self, worker: Worker) -> Result<(), StoreError> {
        let body = rows::encode(&worker)?;
        self.write(move |db| {
            db.prepare_cached("UPDATE workers SET expires_at = ?2, body = ?3 WHERE id = ?1")?
                .execute(params![worker.id.as_str(), worker.expires_at.0, body])?;
            Ok(())
        })
        .await
    }

    async fn extend_workers(&self, until: Vec<(WorkerId, Timestamp)>) -> Result<(), StoreError> {
        self.write(move |db| {
            let mut statement = db.prepare_cached(
                "UPDATE workers SET expires_at = ?2 WHERE id = ?1 AND expires_at < ?2",
            )?;
            until.iter().try_for_each(|(id, until)| {
                statement.execute(params![id.as_str(), until.0])?;
                Ok(())
            })
        })
        .await
    }

    async fn list_workers(&self) -> Result<Vec<Worker>, StoreError> {
        self.read(list_workers).await
    }

    async fn forget_workers(&self, expired_before: Timestamp) -> Result<Vec<WorkerId>, StoreError> {
        self.write(move |db| forget_workers(db, expired_before))
            .await
    }

    async fn adjust_reputation(&self, worker: &WorkerId, delta: f64) -> Result<f64, StoreError> {
        let worker = worker.clone();
        self.write(move |db| {
            let before = reputation(db, &worker)?.unwrap_or(REPUTATION_START);
            let after = rules::adjusted_reputation(before, delta);
            put_reputation(db, &worker, after)?;
            Ok(after)
        })
        .await
    }

    async fn put_tokens(&self, tokens: Vec<TokenRecord>) -> Result<(), StoreError> {
        self.write(move |db| tokens.iter().try_for_each(|token| put_token(db, token)))
            .await
    }

    async fn find_access_token(&self, hash: &str) -> Result<Option<TokenRecord>, StoreError> {
        let hash = hash.to_owned();
        self.read(move |db| find_access(db, &hash)).await
    }

    async fn take_refresh_token(
        &self,
        hash: &str,
        worker: &WorkerId,
        now: Timestamp,
    ) -> Result<RefreshOutcome, StoreError> {
        let (hash, worker) = (hash.to_owned(), worker.clone());
        self.write(move |db| take_refresh(db, &hash, &worker, now))
            .await
    }

    async fn remember_nonce(
        &self,
        worker: &WorkerId,
        nonce: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let (worker, nonce) = (worker.clone(), nonce.to_owned());
        self.write(move |db| remember(db, &worker, &nonce, (now, until)))
            .await
    }

    async fn knows_nonce(
        &self,
        worker: &WorkerId,
        nonce: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (worker, nonce) = (worker.clone(), nonce.to_owned());
        self.read(move |db| knows(db, &worker, &nonce, now)).await
    }

    async fn purge_secrets(&self, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |db| {
            for sql in [
                "DELETE FROM tokens WHERE expires_at <= ?1",
                "DELETE FROM revoked_families WHERE until <= ?1",
                "DELETE FROM nonces WHERE until <= ?1",
            ] {
                db.prepare_cached(sql)?.execute([now.0])?;
            }
            Ok(())
        })
        .await
    }
}
