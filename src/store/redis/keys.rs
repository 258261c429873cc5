//! What belongs to no job: where idempotency keys, quotas and data stores lie, and what keys stand for.

use super::link::Repeat;
use super::records::{bytes, corrupt, items, read_time, text};
use super::{PARTITIONS, RedisStore, arguments, code};
use crate::base::{ClientId, Timestamp, crypto};
use crate::store::{KnownKey, StoreError};

code!(FORGET_KEYS, "forget_keys");

/// Keys that one call forgets.
const KEYS_BATCH: u32 = 1_000;
impl RedisStore {
    /// Tells whether every server reads and writes.
    pub(super) async fn answers(&self) -> Result<(), StoreError> {
        let partitions = if self.link.is_cluster() {
            PARTITIONS
        } else {
            1
        };
        let calls = (0..partitions).map(|partition| {
            let name = format!("{}health", self.link.partition(partition));
            let sent = arguments([&name, &"ok", &"PX", &60_000]);
            self.link.call("SET", sent, Repeat::Safe)
        });
        futures::future::try_join_all(calls).await.map(drop)
    }

    /// Returns what a key stands for. One that is only reserved stands for nothing.
    pub(super) async fn known_key(
        &self,
        client: &ClientId,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<KnownKey>, StoreError> {
        let (_, name) = self.key_at(client, key);
        let asked = arguments([&name, &"j", &"f", &"u", &"s"]);
        let answer = self.link.call("HMGET", asked, Repeat::Safe).await?;
        let mut answer = items(answer).into_iter();
        let (job, fingerprint) = (answer.next().and_then(text), answer.next().and_then(text));
        let until = answer
            .next()
            .and_then(bytes)
            .and_then(|until| read_time(&until));
        let (Some(job), Some(fingerprint), Some(until)) = (job, fingerprint, until) else {
            return Ok(None);
        };
        let job_id = job.parse().map_err(|error| corrupt("key", error))?;
        let is_settled = answer.next().and_then(text).is_some() || !self.link.is_cluster();
        if !is_settled && self.is_there(job_id, false).await? != Some(true) {
            return Ok(None);
        }
        Ok((until > now).then_some(KnownKey {
            job_id,
            fingerprint,
        }))
    }

    /// Forgets keys that are past their time.
    pub(super) async fn forget_keys(&self, now: Timestamp) -> Result<(), StoreError> {
        let runs = (0..PARTITIONS).map(|partition| async move {
            loop {
                let sent = arguments([&now.0, &KEYS_BATCH]);
                let run = self.link.run(&FORGET_KEYS, partition, sent, Repeat::Safe);
                let count = text(run.await?).and_then(|count| count.parse().ok());
                if count.unwrap_or(0) < KEYS_BATCH {
                    return Ok::<_, StoreError>(());
                }
            }
        });
        futures::future::try_join_all(runs).await.map(drop)
    }

    /// Returns the partition and the key of a blueprint's data stores.
    pub(super) fn data_at(&self, blueprint: &str) -> (u8, String) {
        let at = partition_of(&[blueprint]);
        (at, format!("{}d:{blueprint}", self.link.partition(at)))
    }

    /// Returns the partition and the key of a client's idempotency key.
    pub(super) fn key_at(&self, client: &ClientId, key: &str) -> (u8, String) {
        let at = partition_of(&[client.as_str(), key]);
        (at, format!("{}k:{client}:{key}", self.link.partition(at)))
    }

    /// Returns the key of the partition's list of idempotency keys.
    pub(super) fn key_names(&self, at: u8) -> String {
        format!("{}keys", self.link.partition(at))
    }

    /// Returns the partition and the key of what a client has had of a month's quota.
    pub(super) fn quota_at(&self, client: &ClientId, month: &str) -> (u8, String) {
        let at = partition_of(&[client.as_str()]);
        (at, format!("{}q:{client}:{month}", self.link.partition(at)))
    }
}

/// Returns the partition of what belongs to no job. Part of the layout, like the partitions of jobs.
fn partition_of(name: &[&str]) -> u8 {
    let parts: Vec<&[u8]> = name.iter().map(|part| part.as_bytes()).collect();
    crypto::sha256(&parts)[0] % PARTITIONS
}
