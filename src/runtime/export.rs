//! The way of history into the archive: batches of the store's feed, appended and then acknowledged.
//!
//! Jobs never wait for it. What it has not brought over yet lies in the store, so a server that is
//! away costs neither memory nor an event, and it begins again where it was.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::upkeep::Upkeep;
use super::{Inner, RuntimeError, refused};
use crate::base::{JobId, Timestamp};
use crate::domain::{Event, Job};
use crate::engine::Effect;
use crate::observe::{Metrics, Standing};
use crate::store::archive::{JobPage, JobSearch, kept};
use crate::store::{Archive, HistoryFeed, StoreError, offload};

/// Commits that one batch brings over. Of a short job all are in one batch mostly, and then it is
/// written to the archive once.
const BATCH: u32 = 2_000;
/// After a batch that was not full: what many commits tell goes over together.
const GATHER: Duration = Duration::from_millis(250);
/// Between tries while the archive or the store does not answer; doubles up to 32 times this.
const PAUSE: Duration = Duration::from_secs(1);

/// An archive, and what it is fed from.
#[derive(Clone)]
pub struct Export {
    /// Where history is kept besides the job store.
    pub archive: Arc<dyn Archive>,
    /// What the job store has for it.
    pub feed: Arc<dyn HistoryFeed>,
    /// How long history is kept there; none is for ever.
    pub retention: Option<Duration>,
    /// Where it is brought over, as an [`ExportThread`] has it; none is among the requests.
    pub runs_on: Option<Handle>,
}

/// A thread for the export: a batch takes milliseconds, for which requests should not wait while another
/// core is idle. Dropping it ends the export.
#[derive(Debug)]
pub struct ExportThread(Option<tokio::runtime::Runtime>);

impl ExportThread {
    /// Starts it.
    pub fn start() -> std::io::Result<Self> {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("history")
            .enable_all()
            .build()
            .map(|runtime| Self(Some(runtime)))
    }

    /// Returns what [`Export::runs_on`] is to be.
    #[must_use]
    pub fn handle(&self) -> Handle {
        let runtime = self.0.as_ref();
        runtime
            .expect("it is there until it is dropped")
            .handle()
            .clone()
    }
}

impl Drop for ExportThread {
    fn drop(&mut self) {
        // Waiting for its end is not for whoever drops it, which may be a task.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// How the export stands.
#[derive(Default)]
pub(super) struct Exporting {
    more: Notify,
    /// Since when it does not get on, and why.
    outage: Mutex<Option<(Timestamp, String)>>,
    outage_count: AtomicU64,
    /// How much waited when this was last looked at in an outage.
    waiting: Mutex<Option<u64>>,
    pub(super) upkeep: Upkeep,
}

impl Exporting {
    /// Tells that a commit has left something in the feed.
    pub(super) fn wake(&self, effects: &[Effect]) {
        let is_record = |effect: &Effect| matches!(effect, Effect::Record(_));
        if effects.iter().any(is_record) {
            self.more.notify_one();
        }
    }

    /// Tells that another process may have left something in the feed.
    pub(super) fn look(&self) {
        self.more.notify_one();
    }

    /// Returns since when it does not get on, if so.
    pub(super) fn outage_since(&self) -> Option<Timestamp> {
        let outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        outage.as_ref().map(|(since, _)| *since)
    }

    /// Returns how it stands. An upkeep that fails is none of the outages, but somebody should look.
    pub(super) fn standing(&self) -> Standing {
        Standing {
            is_away: self.outage_since().is_some() || self.upkeep.failing_since().is_some(),
            outage_count: self.outage_count.load(Ordering::Relaxed),
        }
    }

    fn begin_outage(&self, now: Timestamp, error: &StoreError) {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        if outage.is_none() {
            self.outage_count.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%error, "the history cannot be written: events wait in the store");
            *outage = Some((now, error.to_string()));
            *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Tells whether what waits says that somebody has written the history: nothing waits, or less than
    /// before.
    fn is_written(&self, waiting: u64) -> bool {
        let mut known = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.replace(waiting);
        waiting == 0 || before.is_some_and(|before| waiting < before)
    }

    fn end_outage(&self, now: Timestamp) {
        let outage = self
            .outage
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some((since, reason)) = outage {
            let duration_ms = u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX);
            tracing::info!(duration_ms, %reason, "the history can be written again");
        }
    }
}

impl Inner {
    /// Brings over what the feed has, until the shell stops.
    pub(super) async fn run_export(self: Arc<Self>) {
        let Some(export) = self.ports.export.clone() else {
            // Without an archive there is nothing to do but to be there: a loop that ends is missed.
            self.stop.cancelled().await;
            return;
        };
        let mut failures = 0_u32;
        while !self.stop.is_cancelled() {
            let now = self.ports.clock.now();
            let round = async {
                let upkeep = self.upkeep_when_due(&export, now).await;
                (upkeep, export_batch(&export, &self.ports.metrics).await)
            };
            // What is broken off comes again with the next start. It may be a migration that takes hours.
            let (upkeep, exported) = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                ended = round => ended,
            };
            // One that fails in an outage says nothing, and is due when that is over.
            if let (Some(upkeep), Ok(_) | Err(Away::Store(_))) = (upkeep, &exported) {
                self.exporting.upkeep.ended(now, upkeep);
            }
            match exported {
                Ok(brought) => {
                    if self.is_over(&export, brought).await {
                        self.exporting.end_outage(self.ports.clock.now());
                    }
                    failures = 0;
                    if brought != Brought::Full {
                        self.wait_for_more().await;
                    }
                }
                Err(away) => {
                    match away {
                        Away::Archive(error) => self.exporting.begin_outage(now, &error),
                        // The store's own outage, which is told elsewhere.
                        Away::Store(error) => tracing::debug!(%error, "the feed has to wait"),
                    }
                    self.pause(PAUSE * (1 << failures.min(5))).await;
                    failures += 1;
                }
            }
        }
    }

    /// Tells whether an outage is over, if there was one. Where nothing is to be had here another
    /// orchestrator may be at it, and an archive that answers may yet be full.
    async fn is_over(&self, export: &Export, brought: Brought) -> bool {
        if brought != Brought::Nothing {
            return true;
        }
        self.exporting.outage_since().is_some()
            && export
                .feed
                .feed_length()
                .await
                .is_ok_and(|waiting| self.exporting.is_written(waiting))
    }

    /// Tries an upkeep when it is due and the archive is not known to be away.
    async fn upkeep_when_due(
        &self,
        export: &Export,
        now: Timestamp,
    ) -> Option<Result<(), StoreError>> {
        if self.exporting.outage_since().is_some() || !self.exporting.upkeep.is_due(now) {
            return None;
        }
        Some(export.archive.upkeep(now, export.retention).await)
    }

    async fn wait_for_more(&self) {
        let at_most = Duration::from_millis(self.settings.look_every_ms);
        tokio::select! {
            biased;
            () = self.stop.cancelled() => return,
            () = self.exporting.more.notified() => {}
            () = tokio::time::sleep(at_most) => {}
        }
        self.pause(GATHER).await;
    }

    /// Returns the archive, if there is one, to be asked something. While it is known to be away
    /// nobody waits for it.
    fn archive_now(&self) -> Result<Option<&Arc<dyn Archive>>, StoreError> {
        match self.exporting.outage_since() {
            Some(since) => Err(StoreError::Unavailable(format!(
                "the history has been away since {since}"
            ))),
            None => Ok(self.archive()),
        }
    }

    /// Returns those of these jobs that the archive goes on showing for their own time; none where there is
    /// no archive. Errors: it cannot be asked just now.
    pub(super) async fn kept_by_archive(
        &self,
        jobs: &[JobId],
        now: Timestamp,
    ) -> Result<BTreeSet<JobId>, StoreError> {
        match self.archive_now()? {
            Some(archive) if !jobs.is_empty() => kept(archive.as_ref(), jobs, now).await,
            _ => Ok(BTreeSet::new()),
        }
    }

    /// Returns the archive, if there is one.
    pub(super) fn archive(&self) -> Option<&Arc<dyn Archive>> {
        self.ports.export.as_ref().map(|export| &export.archive)
    }
}

/// Why a batch was not brought over: which end of the way is in trouble.
enum Away {
    Archive(StoreError),
    Store(StoreError),
}

/// What a round has brought over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Brought {
    /// The feed gave nothing: nothing waits, or another orchestrator is at it.
    Nothing,
    /// All that waited.
    All,
    /// A batch up to its bound: more may wait.
    Full,
}

/// Brings one batch over.
async fn export_batch(export: &Export, metrics: &Metrics) -> Result<Brought, Away> {
    let batch = export.feed.read_feed(BATCH).await.map_err(Away::Store)?;
    if batch.is_empty() {
        // An empty batch says nothing about the archive, and an outage has to be seen to begin and to end.
        export.archive.health().await.map_err(Away::Archive)?;
        return Ok(Brought::Nothing);
    }
    let batch = Arc::new(batch);
    let appended = match export.archive.append(Arc::clone(&batch)).await {
        Err(StoreError::Refused(_)) => {
            refused::append_around(export.archive.as_ref(), metrics, &batch).await
        }
        appended => appended,
    };
    appended.map_err(Away::Archive)?;
    let (through, is_full) = (&batch.through, batch.is_full);
    let acknowledged = export.feed.acknowledge_feed(through).await;
    acknowledged.map_err(Away::Store)?;
    Ok(if is_full { Brought::Full } else { Brought::All })
}

impl super::Runtime {
    /// Finds jobs in the archive, newest first; nothing when there is no archive.
    pub async fn search(&self, search: JobSearch) -> Result<Option<JobPage>, RuntimeError> {
        match self.inner.archive_now()? {
            Some(archive) => Ok(Some(archive.search(search).await?)),
            None => Ok(None),
        }
    }

    /// Returns a job that has left the store, as it ended. Where its values were too large for the store it
    /// has references: see [`with_values`](Self::with_values).
    pub async fn archived_job(&self, id: JobId) -> Result<Option<Job>, RuntimeError> {
        match self.inner.archive_now()? {
            Some(archive) => Ok(archive.job(id).await?),
            None => Ok(None),
        }
    }

    /// Puts those values into a job that has left the store which its files still have; a reference whose
    /// value has gone with them stays. Errors: the files cannot be read just now.
    pub async fn with_values(&self, job: Job) -> Result<Job, RuntimeError> {
        let blobs = Arc::clone(&self.inner.ports.blobs);
        Ok(offload::fill_archived(blobs, job).await?)
    }

    /// Returns the events of a job that has left the store, as [`history`](Self::history) does.
    pub async fn archived_history(
        &self,
        id: JobId,
        after: Option<(u64, u32)>,
        limit: u32,
    ) -> Result<Vec<Event>, RuntimeError> {
        match self.inner.archive_now()? {
            Some(archive) => Ok(archive.by_job(id, after, limit).await?),
            None => Ok(Vec::new()),
        }
    }
}
