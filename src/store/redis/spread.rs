//! Commits in a cluster that concern more than one partition: a new job under a quota, and values for a
//! data store.
//!
//! Reserve, commit, settle. What lies elsewhere is reserved first, in the name of the job; the commit
//! notes what is to be done there afterwards; that is done, and the note crossed out. After a crash
//! before the commit the reservation is in doubt: who needs the place looks whether the job is there,
//! has it refused for good if it is not, and only then takes it over. After a crash behind
//! the commit any orchestrator finds the note and does what it says. Doing it twice is doing it once.

use std::collections::BTreeMap;

use fred::types::Value;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::link::{Code, Repeat};
use super::records::{bytes, items, text};
use super::{RedisStore, arguments, code};
use crate::base::JobId;
use crate::engine::{Effect, Guard};
use crate::store::{Commit, CommitError, Committed, StoreError};

static BESIDE: std::sync::LazyLock<Code> =
    std::sync::LazyLock::new(|| Code::new("", include_str!("lua/beside.lua")));
code!(NEVER, "never");
code!(LEFT_OPEN, "left_open");
code!(CLOSED, "closed");

/// How long a job that was refused is remembered: longer than any commit can be on its way.
const REFUSED_MS: u64 = 86_400_000;

/// What is to be done in another partition once a commit is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum After {
    /// The place in the quota is taken for good.
    Quota {
        at: u8,
        count: String,
        open: String,
        job: JobId,
        /// Whether this try of the commit has counted the job, and not one before it.
        #[serde(skip)]
        is_new: bool,
    },
    /// Values of a data store. A commit that reserved later has the higher number, and wins.
    Data {
        at: u8,
        blueprint: String,
        number: u64,
        values: BTreeMap<String, Json>,
    },
}

impl RedisStore {
    /// Tells whether the commit concerns another partition than the job's.
    pub(super) fn is_spread(&self, commit: &Commit) -> bool {
        let is_guard = |guard: &Guard| matches!(guard, Guard::Quota { .. });
        let is_effect = |effect: &Effect| matches!(effect, Effect::PutData { .. });
        self.link.is_cluster()
            && (commit.guards.iter().any(is_guard) || commit.effects.iter().any(is_effect))
    }

    /// Stores such a commit.
    pub(super) async fn put_spread(&self, commit: &Commit) -> Result<Committed, CommitError> {
        let after = self.reserved(commit).await?;
        let stored = self.put_in_partition(commit, &after).await;
        let place = commit.job.id.partition();
        match stored {
            Ok(Some(committed)) => {
                let names = (0..after.len()).map(|index| after_name(commit, index));
                let done = self.carry_out(place, names.zip(after).collect()).await;
                if let Err(error) = done {
                    tracing::debug!(%error, "what goes with a commit is done by the next look");
                }
                Ok(committed)
            }
            // Somebody took the place over and refused this job for good.
            Ok(None) => {
                self.free(&after).await;
                Err(refused().into())
            }
            // Whether it is there is unknown: whoever needs the place will look.
            Err(error @ CommitError::Store(StoreError::Unavailable(_))) => Err(error),
            Err(error) => {
                // A job that is there already keeps its place.
                let keeps = |one: &After| match one {
                    After::Quota { is_new, .. } => !is_new,
                    After::Data { .. } => false,
                };
                let is_there = matches!(error, CommitError::Conflict);
                let named = (0..).map(|index| after_name(commit, index)).zip(after);
                let (kept, rest): (Vec<_>, Vec<_>) =
                    named.partition(|(_, one)| is_there && keeps(one));
                let rest: Vec<After> = rest.into_iter().map(|(_, one)| one).collect();
                self.free(&rest).await;
                if let Err(error) = self.carry_out(place, kept).await {
                    tracing::debug!(%error, "a reservation is left in doubt");
                }
                Err(error)
            }
        }
    }

    /// Tells whether a new job is there. `refuse` sees to it that one which is not never will be.
    pub(super) async fn is_there(&self, job: JobId, refuse: bool) -> Result<bool, StoreError> {
        let sent = arguments([&job, &if refuse { REFUSED_MS } else { 0 }]);
        let run = self.link.run(&NEVER, job.partition(), sent, Repeat::Safe);
        Ok(text(run.await?).as_deref() == Some("1"))
    }

    /// Gives back what was reserved for a job that was not stored. What cannot be given back is found
    /// out by who needs it.
    pub(super) async fn free(&self, after: &[After]) {
        for one in after {
            let (at, sent) = match one {
                After::Quota {
                    at,
                    count,
                    open,
                    job,
                    ..
                } => (*at, arguments([&"quota_free", count, open, job])),
                After::Data { .. } => continue,
            };
            if let Err(error) = self.beside(at, sent).await {
                tracing::debug!(%error, "a reservation is left in doubt");
            }
        }
    }

    /// Does what commits of a partition have left to do elsewhere, and crosses it out.
    async fn carry_out(&self, place: u8, after: Vec<(String, After)>) -> Result<(), StoreError> {
        let mut names: Vec<Value> = Vec::with_capacity(after.len());
        for (name, one) in after {
            let (at, sent) = match one {
                After::Quota {
                    at,
                    count,
                    open,
                    job,
                    ..
                } => (at, arguments([&"quota_settle", &count, &open, &job])),
                After::Data {
                    at,
                    blueprint,
                    number,
                    values,
                } => {
                    let (_, data) = self.data_at(&blueprint);
                    let last = format!("{}dl:{blueprint}", self.link.partition(at));
                    let mut sent = arguments([&"data", &data, &last, &number]);
                    for (field, value) in &values {
                        sent.push(field.as_str().into());
                        sent.push(self.seal.encode(value)?);
                    }
                    (at, sent)
                }
            };
            self.beside(at, sent).await?;
            names.push(name.into());
        }
        if names.is_empty() {
            return Ok(());
        }
        let run = self.link.run(&CLOSED, place, names, Repeat::Safe);
        run.await.map(drop)
    }

    /// Does what is left of commits whose orchestrator did not come to it.
    pub(super) async fn finish_commits(&self) -> Result<(), StoreError> {
        let answers = self.link.run_on_all(&LEFT_OPEN, &[]).await?;
        for (place, answer) in (0_u8..).zip(answers) {
            let mut after = Vec::new();
            for pair in items(answer).chunks_exact(2) {
                let body = bytes(pair[1].clone()).unwrap_or_default();
                match self.seal.decode(&body, "rest of a commit") {
                    Ok(one) => after.extend(text(pair[0].clone()).map(|name| (name, one))),
                    Err(error) => self.damage.tell(1, &error),
                }
            }
            self.carry_out(place, after).await?;
        }
        Ok(())
    }

    pub(super) async fn beside(&self, at: u8, sent: Vec<Value>) -> Result<Value, StoreError> {
        self.link.run(&BESIDE, at, sent, Repeat::Safe).await
    }
}

/// Returns the error of a new job that was refused for good.
pub(super) fn refused() -> StoreError {
    let why = "Redis: the job was so long on its way that it is refused";
    StoreError::Unavailable(why.to_owned())
}

/// Returns the name under which a commit notes what is to be done.
pub(super) fn after_name(commit: &Commit, index: usize) -> String {
    format!("{}:{}:{index}", commit.job.id, commit.job.revision)
}
