//! Watching a job: whoever asks is told of its events as they are committed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast;

use super::Runtime;
use crate::base::JobId;
use crate::domain::Event;

/// Events that a slow watcher may be behind before it is dropped; it reads the history and begins
/// anew.
const WATCH_BACKLOG: usize = 256;

/// Who watches what.
#[derive(Default)]
pub(super) struct Watchers {
    by_job: Mutex<HashMap<JobId, broadcast::Sender<Arc<Event>>>>,
}

impl Watchers {
    /// Tells the job's watchers, if there are any.
    pub(super) fn publish(&self, job: JobId, events: impl Iterator<Item = Event>) {
        let mut by_job = self.by_job.lock().unwrap_or_else(PoisonError::into_inner);
        if by_job.is_empty() {
            return;
        }
        let Some(sender) = by_job.get(&job) else {
            return;
        };
        let mut watched = true;
        for event in events {
            watched = sender.send(Arc::new(event)).is_ok();
        }
        if !watched {
            by_job.remove(&job);
        }
    }

    /// Has the job's watchers read its history again: another process has changed it.
    pub(super) fn look_again(&self, job: JobId) {
        let mut by_job = self.by_job.lock().unwrap_or_else(PoisonError::into_inner);
        by_job.remove(&job);
    }

    /// Has every watcher read its job's history again.
    pub(super) fn all_look_again(&self) {
        let mut by_job = self.by_job.lock().unwrap_or_else(PoisonError::into_inner);
        by_job.clear();
    }

    fn subscribe(&self, job: JobId) -> broadcast::Receiver<Arc<Event>> {
        let mut by_job = self.by_job.lock().unwrap_or_else(PoisonError::into_inner);
        by_job.retain(|known, sender| *known == job || sender.receiver_count() > 0);
        by_job
            .entry(job)
            .or_insert_with(|| broadcast::channel(WATCH_BACKLOG).0)
            .subscribe()
    }
}

/// One watcher's end.
pub struct Watch {
    receiver: broadcast::Receiver<Arc<Event>>,
    stop: tokio_util::sync::CancellationToken,
}

impl Watch {
    /// Waits for the job's next event. None when this watcher fell behind or the process is on its
    /// way out: read the history and watch again.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        tokio::select! {
            biased;
            event = self.receiver.recv() => event.ok(),
            () = self.stop.cancelled() => None,
        }
    }
}

impl Runtime {
    /// Watches a job: every event that is committed from now on, in order.
    #[must_use]
    pub fn watch(&self, job: JobId) -> Watch {
        Watch {
            receiver: self.inner.watchers.subscribe(job),
            stop: self.inner.stop.clone(),
        }
    }
}
