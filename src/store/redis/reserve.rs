//! What a commit in a cluster reserves in other partitions before it is made: its idempotency key, its
//! place in a quota, its turn in a data store. What becomes of it afterwards is `spread`'s.

use std::collections::BTreeMap;

use fred::types::Value;

use super::commit::{QUOTA_KEPT_MS, unreadable};
use super::link::Repeat;
use super::records::{items, text};
use super::spread::{After, RIVAL_LOOKS, RIVAL_PAUSE};
use super::{RedisStore, arguments};
use crate::base::{JobId, Timestamp};
use crate::engine::{Effect, Guard, IdempotencyKey};
use crate::store::{Commit, CommitError, StoreError};

/// How old a place in a quota has to be for it to be doubted.
const DOUBTED_MS: u64 = 60_000;

impl RedisStore {
    /// Reserves all that a commit needs elsewhere, or nothing.
    pub(super) async fn reserved(&self, commit: &Commit) -> Result<Vec<After>, CommitError> {
        let (job, now) = (commit.job.id, commit.now);
        let mut after = Vec::new();
        for guard in &commit.guards {
            let reserved = match guard {
                Guard::Idempotency { client, key } => {
                    let (at, name) = self.key_at(client, &key.key);
                    self.reserve_key((at, &name), job, key, now)
                        .await
                        .map(|()| After::Key { at, key: name, job })
                }
                Guard::Quota { client, quota } => {
                    let (at, count) = self.quota_at(client, &quota.month);
                    let open = format!("{count}:open");
                    self.reserve_place((at, &count, &open), job, quota.limit)
                        .await
                        .map(|is_new| After::Quota {
                            at,
                            count,
                            open,
                            job,
                            is_new,
                        })
                }
                _ => continue,
            };
            match reserved {
                Ok(one) => after.push(one),
                Err(error) => {
                    self.free(&after).await;
                    return Err(error);
                }
            }
        }
        if let Some(data) = self.data(commit).await? {
            after.push(data);
        }
        Ok(after)
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

    /// Reserves an idempotency key. One that another job has reserved is waited for a little, until it
    /// is settled; a job that has not come by then never will.
    async fn reserve_key(
        &self,
        (at, name): (u8, &str),
        job: JobId,
        key: &IdempotencyKey,
        now: Timestamp,
    ) -> Result<(), CommitError> {
        let names = self.key_names(at);
        let mut looks = 0;
        loop {
            let sent = arguments([
                &"key",
                &name,
                &names,
                &job,
                &key.fingerprint,
                &key.until.0,
                &now.0,
            ]);
            let mut answer = items(self.beside(at, sent).await?).into_iter();
            let how = answer.next().and_then(text);
            let other = answer.next().and_then(text).and_then(|id| id.parse().ok());
            let taken = |job_id, fingerprint: Option<String>| CommitError::KeyTaken {
                job_id,
                fingerprint: fingerprint.unwrap_or_default(),
            };
            match (how.as_deref(), other) {
                (Some("ours"), _) => return Ok(()),
                (Some("settled"), Some(other)) => {
                    return Err(taken(other, answer.next().and_then(text)));
                }
                (Some("reserved"), Some(other)) => {
                    match self.is_there(other, looks >= RIVAL_LOOKS).await? {
                        Some(true) => {
                            let sent = arguments([&"key_settle", &name, &other]);
                            self.beside(at, sent).await?;
                            return Err(taken(other, answer.next().and_then(text)));
                        }
                        Some(false) => {
                            let sent = arguments([&"key_free", &name, &names, &other]);
                            self.beside(at, sent).await?;
                            looks = 0;
                        }
                        None => {
                            looks += 1;
                            tokio::time::sleep(RIVAL_PAUSE).await;
                        }
                    }
                }
                _ => return Err(unreadable().into()),
            }
        }
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
