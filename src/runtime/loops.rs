//! The loops: what time brings (`timers.rs`), what workers earn, and what has to be swept. Each sleeps
//! until the next moment that it knows of.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;

use super::{Inner, orphans};
use crate::base::{JobId, Timestamp};
use crate::store::{Hints, MessageKind, StoreError};

/// Between two looks at the store's queue, while workers wait: another process may have queued
/// something, and a commit whose answer was lost may have gone through all the same.
const REFILL_AT_MOST_EVERY: Duration = Duration::from_secs(5);
/// A look at a long queue may take one part in so many of the time.
const REFILL_SHARE: u32 = 20;
/// Jobs that one sweep step deletes, so that it never holds the writer for long.
const SWEEP_BATCH: u32 = 200;

/// How many loops were started, and how many still run.
#[derive(Debug, Default)]
pub(super) struct Loops {
    started: AtomicUsize,
    ended: AtomicUsize,
}

impl Loops {
    /// Returns how many run, and how many should.
    pub(super) fn count(&self) -> (usize, usize) {
        let started = self.started.load(Ordering::Acquire);
        let ended = self.ended.load(Ordering::Acquire);
        (started.saturating_sub(ended), started)
    }
}

/// Counts a loop as ended when it goes, by a panic too.
struct Running(Arc<Inner>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.loops.ended.fetch_add(1, Ordering::AcqRel);
    }
}

/// Starts a loop, on another runtime if so.
fn run<F>(inner: &Arc<Inner>, on: Option<&Handle>, work: impl FnOnce(Arc<Inner>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    inner.loops.started.fetch_add(1, Ordering::AcqRel);
    let (work, running) = (work(Arc::clone(inner)), Running(Arc::clone(inner)));
    let work = async move {
        let _running = running;
        work.await;
    };
    match on {
        Some(handle) => inner.tasks.spawn_on(work, handle),
        None => inner.tasks.spawn(work),
    };
}

/// Starts every loop; they end when the shell stops.
pub(super) fn start(inner: &Arc<Inner>, hints: Hints) {
    run(inner, None, Inner::run_timers);
    for kind in [MessageKind::Signal, MessageKind::Webhook] {
        run(inner, None, move |inner| inner.run_outbox(kind));
    }
    run(inner, None, Inner::run_claims);
    run(inner, None, Inner::run_reputation);
    run(inner, None, Inner::run_sweep);
    run(inner, None, Inner::run_expiry);
    run(inner, None, Inner::run_refill);
    let export = inner.ports.export.as_ref();
    let on = export.and_then(|export| export.runs_on.clone());
    run(inner, on.as_ref(), Inner::run_export);
    if let Some(hints) = hints {
        run(inner, None, |inner| inner.run_hints(hints));
        run(inner, None, Inner::run_fleet);
    }
}

impl Inner {
    /// Sleeps, but not past the end.
    pub(super) async fn pause(&self, pause: Duration) {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }

    /// Finds queued tasks that this process was not told of.
    async fn run_refill(self: Arc<Self>) {
        let mut pause = REFILL_AT_MOST_EVERY;
        let mut earliest = tokio::time::Instant::now();
        loop {
            let is_asked = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = async {
                    self.refill.notified().await;
                    tokio::time::sleep_until(earliest).await;
                } => true,
                () = tokio::time::sleep(pause) => false,
            };
            if !is_asked && !self.matchmaker.has_open_polls() {
                continue;
            }
            let began = tokio::time::Instant::now();
            if let Err(error) = self.refill_queue().await {
                tracing::debug!(%error, "the queue was not read again");
            }
            let share = began.elapsed() * REFILL_SHARE;
            earliest = tokio::time::Instant::now() + share;
            pause = REFILL_AT_MOST_EVERY.max(share);
        }
    }

    async fn run_sweep(self: Arc<Self>) {
        let mut next_search = self.ports.clock.now();
        loop {
            self.pause(Duration::from_millis(self.settings.sweep_every_ms))
                .await;
            if self.stop.is_cancelled() {
                return;
            }
            if let Err(error) = self.sweep().await {
                tracing::debug!(%error, "the sweep has to wait");
            }
            // Nobody may be at work with files while their store goes and comes back: it tells the
            // log when it is asked.
            let files = self.ports.blobs.health().await;
            let now = self.ports.clock.now();
            if now >= next_search && files.is_ok() {
                match self.search_orphans(now).await {
                    Ok(()) => next_search = now.after(orphans::SEARCH_EVERY),
                    Err(error) => {
                        tracing::warn!(%error, "the search for files of no job has to wait");
                        next_search = now.after(orphans::SEARCH_AGAIN);
                    }
                }
            }
        }
    }

    async fn sweep(&self) -> Result<(), StoreError> {
        let now = self.ports.clock.now();
        loop {
            let purged = self.ports.jobs.purge(now, SWEEP_BATCH).await?;
            if self.settings.deletes_files {
                self.delete_files(&purged, now).await;
            }
            if purged.len() < SWEEP_BATCH as usize || self.stop.is_cancelled() {
                break;
            }
        }
        self.forget_revisions(now).await?;
        self.forget_ended_claims().await?;
        self.ports.workers.purge_secrets(now).await?;
        self.forget_expired_workers(now).await
    }

    /// Deletes the files of jobs that have left the store, but for those that have left it early: their page
    /// is read from the archive for the rest of their time. What stays is left to the search for orphans.
    async fn delete_files(&self, purged: &[JobId], now: Timestamp) {
        let mut kept = BTreeSet::new();
        if self.ports.jobs.purges_early() {
            kept = match self.kept_by_archive(purged, now).await {
                Ok(kept) => kept,
                Err(error) => {
                    tracing::debug!(%error, "files of purged jobs are left behind");
                    return;
                }
            };
        }
        for job in purged.iter().filter(|job| !kept.contains(job)) {
            let prefix = format!("jobs/{job}/");
            if let Err(error) = self.ports.blobs.delete_prefix(&prefix).await {
                tracing::warn!(job.id = %job, %error, "a purged job's files are left behind");
            }
        }
    }
}
