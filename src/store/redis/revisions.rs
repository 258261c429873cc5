//! Sources of blueprints, by revision. Orchestrators may have different files for a while, as when one
//! after the other is given new ones: a revision that any of them names as its own is kept, and so is
//! one that a job has.

use std::collections::HashSet;

use fred::types::Value;

use super::commit::pin;
use super::link::Repeat;
use super::queries::HASHES;
use super::records::{items, text};
use super::{RedisStore, arguments, code};
use crate::store::{BlueprintRevision, StoreError};

code!(FORGET_REVISIONS, "forget_revisions");
code!(NAME_REVISIONS, "name_revisions");

impl RedisStore {
    fn sources(&self) -> String {
        format!("{}bp", self.link.global())
    }

    /// Keeps a revision's source.
    pub(super) async fn revision_kept(
        &self,
        name: &str,
        revision: &str,
        source: &str,
    ) -> Result<(), StoreError> {
        let pin = pin(name, revision);
        // First, so that whoever is about to forget it does not, or has before it is written.
        self.name_revisions([pin.clone()]).await?;
        let sent = arguments([&self.sources(), &pin, &source]);
        self.link.call("HSETNX", sent, Repeat::Safe).await?;
        Ok(())
    }

    async fn name_revisions(
        &self,
        pins: impl IntoIterator<Item = String>,
    ) -> Result<(), StoreError> {
        let sent: Vec<Value> = pins.into_iter().map(Value::from).collect();
        let named = self
            .link
            .run_on(&NAME_REVISIONS, self.link.global(), sent, Repeat::Safe);
        named.await.map(drop)
    }

    /// Forgets the revisions that no job has and of which nobody has made jobs for long; returns
    /// which, in order.
    pub(super) async fn revisions_forgotten(
        &self,
        in_use: &[BlueprintRevision],
    ) -> Result<Vec<BlueprintRevision>, StoreError> {
        let ours: HashSet<String> = in_use
            .iter()
            .map(|one| pin(&one.name, &one.revision))
            .collect();
        self.name_revisions(ours.iter().cloned()).await?;
        let sent = arguments([&self.sources()]);
        let known = self.link.call("HKEYS", sent, Repeat::Safe).await?;
        let mut pinned = ours;
        for answer in self.link.run_on_all(&HASHES, &arguments([&"pins"])).await? {
            for hash in items(answer) {
                let pairs = items(hash);
                let pins = pairs.chunks_exact(2).map(|pair| pair[0].clone());
                pinned.extend(pins.filter_map(text));
            }
        }
        let candidates = items(known).into_iter().filter_map(text);
        let candidates: Vec<String> = candidates.filter(|one| !pinned.contains(one)).collect();
        if candidates.is_empty() {
            return Ok(Vec::new());
        }
        let mut sent = arguments([&self.revisions_kept.as_millis()]);
        sent.extend(candidates.into_iter().map(Value::from));
        let run = self
            .link
            .run_on(&FORGET_REVISIONS, self.link.global(), sent, Repeat::Safe);
        let mut gone: Vec<BlueprintRevision> = items(run.await?)
            .into_iter()
            .filter_map(text)
            .filter_map(|one| {
                let (name, revision) = one.split_once('\0')?;
                Some(BlueprintRevision {
                    name: name.to_owned(),
                    revision: revision.to_owned(),
                })
            })
            .collect();
        gone.sort_unstable();
        Ok(gone)
    }
}
