//! Files of no job: what a crash, or the blob store's own trouble, has left behind after a purge, what was
//! stored for jobs that never came to be, and what jobs that left the store early had for the rest of their time.
//!
//! Only who knows all jobs may delete the files of those that it does not know. So each deployment leaves a
//! marker among the files, under the id that its job store keeps, and renews it with every search. While
//! there is a fresh one of another deployment nothing is deleted: no files of a deployment that shares the
//! bucket, and none of the jobs of a store that has lost everything and may yet be restored. A store that was
//! copied, or put back to an older state, has the same id: what it is missing it cannot know.

use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use serde::{Deserialize, Serialize};

use super::Inner;
use crate::base::{JobId, Timestamp};
use crate::store::{BlobError, StoreError};

/// Between two searches; the first is with the first sweep.
pub(super) const SEARCH_EVERY: Duration = Duration::from_hours(24);
/// After a search that failed.
pub(super) const SEARCH_AGAIN: Duration = Duration::from_mins(10);
/// Files may come before their job; not by this much.
const ORPHAN_AFTER: Duration = Duration::from_hours(24);
/// How long a deployment's marker is there before it deletes anything: by then others have left theirs.
const NEW_FOR: Duration = Duration::from_hours(24);
/// How long a marker that is not renewed speaks for its deployment.
const FRESH_FOR: Duration = Duration::from_hours(7 * 24);

/// Jobs of which the archive is asked at once.
const BATCH: usize = 200;

/// Where the markers lie.
const MARKERS: &str = "deployments/";
/// Longest marker, in bytes.
const MARKER_MAX: u64 = 1024;

/// What a deployment leaves among its files.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Marker {
    /// When it left its first.
    since: Timestamp,
    /// When it renewed it last.
    seen: Timestamp,
}

/// Why files of no job were not looked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrphanError {
    #[error(transparent)]
    Blobs(#[from] BlobError),
    #[error(transparent)]
    Jobs(#[from] StoreError),
    #[error("the history cannot tell whose files may go: {0}")]
    Archive(#[source] StoreError),
}

impl Inner {
    /// Removes bodies that broke off, renews the marker, and deletes the files of no job, unless they may be
    /// another deployment's or it is to delete none.
    pub(super) async fn search_orphans(&self, now: Timestamp) -> Result<(), OrphanError> {
        self.ports.blobs.remove_broken_off().await?;
        let proposed = self.ports.entropy.uuid();
        let own = self.ports.jobs.deployment_id(proposed).await?;
        let own_key = format!("{MARKERS}{own}");
        let since = self.renew_marker(&own_key, now).await?;
        if !self.settings.deletes_files {
            return Ok(());
        }
        if let Some(other) = self.other_marker(&own_key, now).await? {
            tracing::warn!(
                deployment = %own, marker = %other,
                "files of no job are kept: another deployment has files in the same place, or had in the \
                 last seven days. Give each a bucket of its own; if there is no other, as after a loss of \
                 the job store, wait, or delete the marker"
            );
            return Ok(());
        }
        if now.since(since) < NEW_FOR {
            return Ok(());
        }
        self.delete_orphans(now).await
    }

    /// Leaves this deployment's marker; returns since when it has had one.
    async fn renew_marker(&self, key: &str, now: Timestamp) -> Result<Timestamp, BlobError> {
        let known = self.marker(key).await?.and_then(Result::ok);
        let since = known.map_or(now, |marker| marker.since);
        let marker = serde_json::to_vec(&Marker { since, seen: now });
        let text = Bytes::from(marker.expect("it has no keys that are none of JSON's"));
        self.ports.blobs.put_whole(key, text).await?;
        Ok(since)
    }

    /// Reads a marker, if it is there.
    async fn marker(
        &self,
        key: &str,
    ) -> Result<Option<Result<Marker, serde_json::Error>>, BlobError> {
        let Some((info, body)) = self.ports.blobs.get(key).await? else {
            return Ok(None);
        };
        let mut text = Vec::new();
        if info.bytes <= MARKER_MAX {
            text = body.try_collect::<Vec<Bytes>>().await?.concat();
        }
        Ok(Some(serde_json::from_slice(&text)))
    }

    /// Returns a marker of another deployment that is fresh, or cannot be read; deletes those that are not.
    async fn other_marker(&self, own: &str, now: Timestamp) -> Result<Option<String>, BlobError> {
        for other in self.ports.blobs.list(MARKERS).await? {
            if other.key == own {
                continue;
            }
            match self.marker(&other.key).await? {
                Some(Ok(marker)) if now.since(marker.seen) >= FRESH_FOR => {
                    self.ports.blobs.delete_prefix(&other.key).await?;
                }
                Some(_) => return Ok(Some(other.key)),
                // Another orchestrator has just deleted it.
                None => {}
            }
        }
        Ok(None)
    }

    async fn delete_orphans(&self, now: Timestamp) -> Result<(), OrphanError> {
        let mut missing = Vec::new();
        for name in self.ports.blobs.folders("jobs/").await? {
            let Ok(job) = name.parse::<JobId>() else {
                continue;
            };
            if now.since(job.made_at()) < ORPHAN_AFTER {
                continue;
            }
            match self.ports.jobs.is_there(job).await {
                Ok(false) => missing.push(job),
                // A job that cannot be read is there.
                Ok(true) | Err(StoreError::Corrupt(_)) => {}
                Err(error) => return Err(error.into()),
            }
            if missing.len() >= BATCH {
                self.delete_unless_kept(&missing, now).await?;
                missing.clear();
            }
            if self.stop.is_cancelled() {
                return Ok(());
            }
        }
        self.delete_unless_kept(&missing, now).await
    }

    /// Deletes the files of jobs that the store does not have, but for those that have left it early: their
    /// page is read from the archive for the rest of their time.
    async fn delete_unless_kept(
        &self,
        missing: &[JobId],
        now: Timestamp,
    ) -> Result<(), OrphanError> {
        let kept = self.kept_by_archive(missing, now).await;
        let kept = kept.map_err(OrphanError::Archive)?;
        for job in missing.iter().filter(|job| !kept.contains(job)) {
            let prefix = format!("jobs/{job}/");
            self.ports.blobs.delete_prefix(&prefix).await?;
            tracing::info!(job.id = %job, "files of no job have been deleted");
        }
        Ok(())
    }
}
