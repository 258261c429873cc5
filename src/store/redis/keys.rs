//! What has a name and no id: where idempotency keys, quotas and data stores lie, and what keys stand for;
//! the deployment's own id.

use uuid::Uuid;

use super::link::Repeat;
use super::records::{bytes, corrupt, items, read_time, text};
use super::{PARTITIONS, RedisStore, arguments, code};
use crate::base::{ClientId, Timestamp, partition_of};
use crate::store::{KnownKey, StoreError, rules};

code!(FORGET_KEYS, "forget_keys");

/// Keys that one call forgets.
const KEYS_BATCH: u32 = 1_000;
impl RedisStore {
    /// Tells whether every server reads and writes, and has the replicas that a commit needs.
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
        futures::future::try_join_all(calls).await?;
        match self.replicas {
            0 => Ok(()),
            count => self.link.has_replicas(count).await,
        }
    }

    /// Returns the deployment's id: the proposed one if it has none yet.
    pub(super) async fn id_of_deployment(&self, proposed: Uuid) -> Result<Uuid, StoreError> {
        let name = format!("{}deployment", self.link.global());
        let put = arguments([&name, &proposed]);
        self.link.call("SETNX", put, Repeat::Safe).await?;
        let got = self.link.call("GET", arguments([&name]), Repeat::Safe);
        let id = text(got.await?).unwrap_or_default();
        id.parse()
            .map_err(|error| corrupt("deployment's id", error))
    }

    /// Returns what a key stands for.
    pub(super) async fn known_key(
        &self,
        client: &ClientId,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<KnownKey>, StoreError> {
        let name = self.key_name(client, key);
        let asked = arguments([&name, &"j", &"f", &"u"]);
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
        let at = partition_of(&[blueprint]) % PARTITIONS;
        (at, format!("{}d:{blueprint}", self.link.partition(at)))
    }

    /// Returns what a client's idempotency key is called; it lies with the job that has it.
    pub(super) fn key_name(&self, client: &ClientId, key: &str) -> String {
        let at = rules::key_partition(client, key) % PARTITIONS;
        format!("{}k:{client}:{key}", self.link.partition(at))
    }

    /// Returns the partition and the key of what a client has had of a month's quota.
    pub(super) fn quota_at(&self, client: &ClientId, month: &str) -> (u8, String) {
        let at = partition_of(&[client.as_str()]) % PARTITIONS;
        (at, format!("{}q:{client}:{month}", self.link.partition(at)))
    }
}
