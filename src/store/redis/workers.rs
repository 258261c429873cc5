//! Workers, tokens and nonces in Redis, all with one hash tag.

use async_trait::async_trait;
use fred::types::Value;

use super::link::Repeat;
use super::records::{bytes, corrupt, items, read_time, text};
use super::{RedisStore, WORKERS, arguments};
use crate::base::{Timestamp, WorkerId};
use crate::domain::Worker;
use crate::store::rules::{REPUTATION_START, reputations_gone_before};
use crate::store::{RefreshOutcome, StoreError, TokenKind, TokenRecord, WorkerStore};

/// Workers that one call lets live longer: a script takes some thousands of arguments and no more.
const EXTEND_BATCH: usize = 500;

/// Tokens that one call forgets.
const PURGE_BATCH: u32 = 1_000;

impl RedisStore {
    async fn on_workers(&self, sent: Vec<Value>, repeat: Repeat) -> Result<Value, StoreError> {
        let prefix = self.link.workers();
        self.link.run_on(&WORKERS, prefix, sent, repeat).await
    }

    async fn read_workers(&self, sent: Vec<Value>) -> Result<Vec<Worker>, StoreError> {
        let answer = self.on_workers(sent, Repeat::Safe).await?;
        let read = items(answer).into_iter();
        let read = read.map(|parts| self.worker(parts).map(Some));
        // One that is left out registers again with its next heartbeat, and can be read then.
        let mut workers = self.damage.readable(read);
        workers.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(workers)
    }

    /// Reads a worker from its body, and what is kept beside it.
    fn worker(&self, parts: Value) -> Result<Worker, StoreError> {
        let mut parts = items(parts).into_iter().skip(1).map(bytes);
        let mut part = || {
            parts
                .next()
                .flatten()
                .ok_or_else(|| corrupt("worker", "a part is missing"))
        };
        let mut worker: Worker = self.seal.decode(&part()?, "worker")?;
        let registered = read_time(&part()?);
        worker.registered_at = registered.ok_or_else(|| corrupt("worker", "it has no time"))?;
        worker.reputation = reputation(parts.next().flatten())?;
        let until = parts
            .next()
            .flatten()
            .as_ref()
            .and_then(|part| read_time(part));
        worker.expires_at = until.ok_or_else(|| corrupt("worker", "it has no end"))?;
        Ok(worker)
    }
}

fn reputation(value: Option<Vec<u8>>) -> Result<f64, StoreError> {
    let text = value.and_then(|value| String::from_utf8(value).ok());
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| corrupt("reputation", "it is no number"))
}

const fn kind_text(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::Access => "access",
        TokenKind::Refresh => "refresh",
    }
}

#[async_trait]
impl WorkerStore for RedisStore {
    async fn put_worker(&self, mut worker: Worker) -> Result<Worker, StoreError> {
        let mut sent = arguments([&"put", &worker.id]);
        sent.push(self.seal.encode(&worker)?);
        sent.extend(arguments([
            &worker.registered_at.0,
            &worker.expires_at.0,
            &worker.reputation,
        ]));
        let earned = self.on_workers(sent, Repeat::Safe).await?;
        worker.reputation = reputation(bytes(earned))?;
        Ok(worker)
    }

    async fn beat(&self, worker: Worker) -> Result<(), StoreError> {
        let mut sent = arguments([&"beat", &worker.id]);
        sent.push(self.seal.encode(&worker)?);
        sent.extend(arguments([&worker.expires_at.0]));
        self.on_workers(sent, Repeat::Safe).await.map(drop)
    }

    async fn extend_workers(&self, until: Vec<(WorkerId, Timestamp)>) -> Result<(), StoreError> {
        for part in until.chunks(EXTEND_BATCH) {
            let mut sent = arguments([&"extend"]);
            for (id, until) in part {
                sent.extend(arguments([id, &until.0]));
            }
            self.on_workers(sent, Repeat::Safe).await?;
        }
        Ok(())
    }

    async fn list_workers(&self) -> Result<Vec<Worker>, StoreError> {
        self.read_workers(arguments([&"list"])).await
    }

    async fn load_workers(&self, ids: &[WorkerId]) -> Result<Vec<Worker>, StoreError> {
        let mut sent = arguments([&"read"]);
        sent.extend(ids.iter().map(|id| Value::from(id.as_str())));
        self.read_workers(sent).await
    }

    async fn forget_workers(&self, expired_before: Timestamp) -> Result<Vec<WorkerId>, StoreError> {
        let long_before = reputations_gone_before(expired_before);
        let sent = arguments([&"forget", &expired_before.0, &long_before.0]);
        let answer = self.on_workers(sent, Repeat::Never).await?;
        let mut gone: Vec<WorkerId> = items(answer)
            .into_iter()
            .filter_map(text)
            .map(WorkerId::from)
            .collect();
        gone.sort_unstable();
        Ok(gone)
    }

    async fn adjust_reputation(&self, worker: &WorkerId, delta: f64) -> Result<f64, StoreError> {
        let sent = arguments([&"rate", worker, &delta, &REPUTATION_START]);
        reputation(bytes(self.on_workers(sent, Repeat::Never).await?))
    }

    async fn put_tokens(&self, tokens: Vec<TokenRecord>) -> Result<(), StoreError> {
        let mut sent = arguments([&"put_tokens"]);
        for token in &tokens {
            sent.push(token.hash.as_str().into());
            sent.push(self.seal.encode(token)?);
            let (kind, until) = (kind_text(token.kind), token.expires_at.0);
            sent.extend(arguments([&kind, &token.worker, &token.family, &until]));
        }
        self.on_workers(sent, Repeat::Safe).await.map(drop)
    }

    async fn find_access_token(&self, hash: &str) -> Result<Option<TokenRecord>, StoreError> {
        let answer = self
            .on_workers(arguments([&"find_access", &hash]), Repeat::Safe)
            .await?;
        bytes(answer)
            .map(|body| self.seal.decode(&body, "token"))
            .transpose()
    }

    async fn take_refresh_token(
        &self,
        hash: &str,
        worker: &WorkerId,
        now: Timestamp,
    ) -> Result<RefreshOutcome, StoreError> {
        let sent = arguments([&"take_refresh", &hash, worker, &now.0]);
        let mut answer = items(self.on_workers(sent, Repeat::Never).await?).into_iter();
        Ok(match answer.next().and_then(text).as_deref() {
            Some("taken") => {
                let body = answer.next().and_then(bytes);
                let body = body.ok_or_else(|| corrupt("token", "it has no body"))?;
                RefreshOutcome::Taken(self.seal.decode(&body, "token")?)
            }
            Some("reused") => RefreshOutcome::Reused,
            _ => RefreshOutcome::Unknown,
        })
    }

    async fn remember_nonce(
        &self,
        worker: &WorkerId,
        nonce: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let sent = arguments([&"remember", worker, &nonce, &now.0, &until.0]);
        let answer = self.on_workers(sent, Repeat::Never).await?;
        Ok(text(answer).as_deref() == Some("1"))
    }

    async fn knows_nonce(
        &self,
        worker: &WorkerId,
        nonce: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let sent = arguments([&"knows", worker, &nonce, &now.0]);
        let answer = self.on_workers(sent, Repeat::Safe).await?;
        Ok(text(answer).as_deref() == Some("1"))
    }

    async fn purge_secrets(&self, now: Timestamp) -> Result<(), StoreError> {
        loop {
            let sent = arguments([&"purge", &now.0, &PURGE_BATCH]);
            let answer = self.on_workers(sent, Repeat::Safe).await?;
            let count = text(answer)
                .and_then(|count| count.parse().ok())
                .unwrap_or(0);
            if count < PURGE_BATCH {
                return Ok(());
            }
        }
    }
}
