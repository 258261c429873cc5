//! What a commit in a cluster reserves in other partitions before it is made: its place in a quota, its
//! turn in a data store. What becomes of it afterwards is `spread`'s.

use std::collections::BTreeMap;

use fred::types::Value;

use super::commit::{QUOTA_KEPT_MS, unreadable};
use super::link::Repeat;
use super::records::{items, text};
use super::spread::After;
use super::{RedisStore, arguments};
use crate::base::JobId;
use crate::engine::{Effect, Guard};
use crate::store::{Commit, CommitError, StoreError};

/// How old a place in a quota has to be for it to be doubted.
const DOUBTED_MS: u64 = 60_000;

impl RedisStore {
    /// Reserves all that a commit needs elsewhere, or nothing.
    pub(super) async fn reserved(&self, commit: &Commit) -> Result<Vec<After>, CommitError> {
        let mut after = Vec::new();
        for guard in &commit.guards {
            let Guard::Quota { client, quota } = guard else {
                continue;
            };
            let job = commit.job.id;
            let (at, count) = self.quota_at(client, &quota.month);
            let open = format!("{count}:open");
            // A request that is repeated is to be known as such, though its first has taken the last place.
            self.is_new_key(commit).await?;
            let place = self.reserve_place((at, &count, &open), job, quota.limit);
            match place.await {
                Ok(is_new) => after.push(After::Quota {
                    at,
                    count,
                    open,
                    job,
                    is_new,
                }),
                Err(error) => {
                    self.free(&after).await;
                    // It may just have done so.
                    self.is_new_key(commit).await?;
                    return Err(error);
                }
            }
        }
        if let Some(data) = self.data(commit).await? {
            after.push(data);
        }
        Ok(after)
    }

    /// Fails when another job has the commit's idempotency key, if it has one.
    async fn is_new_key(&self, commit: &Commit) -> Result<(), CommitError> {
        for guard in &commit.guards {
            let Guard::Idempotency { client, key } = guard else {
                continue;
            };
            let known = self.known_key(client, &key.key, commit.now).await?;
            if let Some(known) = known.filter(|known| known.job_id != commit.job.id) {
                return Err(CommitError::KeyTaken {
                    job_id: known.job_id,
                    fingerprint: known.fingerprint,
                });
            }
        }
        Ok(())
    }

    /// Returns what the commit has for the blueprint's data stores. Their number is drawn before the
    /// commit, so that of two commits, one after the other, the later has the higher one.
    async fn data(&self, commit: &Commit) -> Result<Option<After>, StoreError> {
        let mut values = BTreeMap::new();
        for effect in commit.effects.iter() {
            if let Effect::PutData { store, key, value } = effect {
                values.insert(format!("{store}\0{key}"), value.clone());
            }
        }
        if values.is_empty() {
            return Ok(None);
        }
        let blueprint = commit.job.blueprint.clone();
        let (at, _) = self.data_at(&blueprint);
        let counter = format!("{}dn:{blueprint}", self.link.partition(at));
        let drawn = self
            .link
            .call("INCR", arguments([&counter]), Repeat::Safe)
            .await?;
        let number = text(drawn).and_then(|number| number.parse().ok());
        Ok(Some(After::Data {
            at,
            blueprint,
            number: number.ok_or_else(unreadable)?,
            values,
        }))
    }

    /// Takes a place in a quota, and tells whether the job had none yet. When none is left, places are
    /// doubted whose jobs did not come to be.
    async fn reserve_place(
        &self,
        (at, count, open): (u8, &str, &str),
        job: JobId,
        limit: u64,
    ) -> Result<bool, CommitError> {
        let mut is_checked = false;
        loop {
            let sent = arguments([
                &"quota",
                &count,
                &open,
                &job,
                &limit,
                &QUOTA_KEPT_MS,
                &DOUBTED_MS,
            ]);
            let mut answer = items(self.beside(at, sent).await?).into_iter();
            match answer.next().and_then(text).as_deref() {
                Some("new") => return Ok(true),
                Some("ours") => return Ok(false),
                Some("full") => {}
                _ => return Err(unreadable().into()),
            }
            let doubted: Vec<JobId> = items(answer.next().unwrap_or(Value::Null))
                .into_iter()
                .filter_map(|id| text(id)?.parse().ok())
                .collect();
            if doubted.is_empty() || is_checked {
                // It may have taken the last place itself, when this commit is sent again.
                return Err(match self.is_there(job, false).await? {
                    Some(true) => CommitError::Conflict,
                    _ => CommitError::QuotaExceeded { limit },
                });
            }
            is_checked = true;
            for other in doubted {
                let act = match self.is_there(other, true).await? {
                    Some(true) => "quota_settle",
                    _ => "quota_free",
                };
                self.beside(at, arguments([&act, &count, &open, &other]))
                    .await?;
            }
        }
    }
}
