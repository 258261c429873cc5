//! What a commit in a cluster reserves in other partitions before it is made: its place in a quota, its
//! turn in a data store. What becomes of it afterwards is `spread`'s.

use std::collections::BTreeMap;
use std::time::Duration;

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
/// How old it may be for its commit to be under way, most likely.
const UNDER_WAY_MS: u64 = 5_000;
/// Between two looks at a quota of which commits that are under way have the last places, and how many
/// looks: two seconds.
const WAIT: Duration = Duration::from_millis(20);
const WAITS_MAX: u32 = 100;

impl RedisStore {
    /// Reserves all that a commit needs elsewhere, or nothing.
    pub(super) async fn reserved(&self, commit: &Commit) -> Result<Vec<After>, CommitError> {
        let mut after = Vec::new();
        match self.reserve_all(commit, &mut after).await {
            Ok(()) => Ok(after),
            Err(error) => {
                // A place that the job had before may be that of a commit which went through.
                after.retain(|one| matches!(one, After::Quota { is_new: true, .. }));
                self.free(&after).await;
                Err(error)
            }
        }
    }

    async fn reserve_all(
        &self,
        commit: &Commit,
        after: &mut Vec<After>,
    ) -> Result<(), CommitError> {
        for guard in &commit.guards {
            if let Guard::Quota { client, quota } = guard {
                let (at, count) = self.quota_at(client, &quota.month);
                let open = format!("{count}:open");
                let place = self.reserve_place((at, &count, &open), commit, quota.limit);
                let is_new = place.await?;
                after.push(After::Quota {
                    at,
                    count,
                    open,
                    job: commit.job.id,
                    is_new,
                });
            }
        }
        after.extend(self.data(commit).await?);
        Ok(())
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
    /// doubted whose jobs did not come to be, and those are waited for whose commits are under way: such a
    /// commit may be refused, as that of a repeated request is.
    async fn reserve_place(
        &self,
        (at, count, open): (u8, &str, &str),
        commit: &Commit,
        limit: u64,
    ) -> Result<bool, CommitError> {
        let job = commit.job.id;
        for wait in 0.. {
            // A request that is repeated needs no place.
            self.is_new_key(commit).await?;
            let sent = arguments([
                &"quota",
                &count,
                &open,
                &job,
                &limit,
                &QUOTA_KEPT_MS,
                &DOUBTED_MS,
                &UNDER_WAY_MS,
            ]);
            let mut answer = items(self.beside(at, sent).await?).into_iter();
            match answer.next().and_then(text).as_deref() {
                Some("new") => return Ok(true),
                Some("ours") => return Ok(false),
                Some("full") => {}
                _ => return Err(unreadable().into()),
            }
            let under_way = answer.next().and_then(text);
            let is_none = under_way.is_none_or(|count| count == "0");
            let doubted = items(answer.next().unwrap_or(Value::Null)).into_iter();
            let doubted: Vec<JobId> = doubted.filter_map(|id| text(id)?.parse().ok()).collect();
            if wait >= WAITS_MAX || is_none && doubted.is_empty() {
                break;
            }
            for other in doubted {
                let act = if self.is_there(other, true).await? {
                    "quota_settle"
                } else {
                    "quota_free"
                };
                self.beside(at, arguments([&act, &count, &open, &other]))
                    .await?;
            }
            tokio::time::sleep(WAIT).await;
        }
        // The last place may be that of the same request, or of this very job, when its commit is sent again.
        self.is_new_key(commit).await?;
        if self.is_there(job, false).await? {
            return Err(CommitError::Conflict);
        }
        Err(CommitError::QuotaExceeded { limit })
    }
}
