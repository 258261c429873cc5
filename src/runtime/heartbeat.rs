//! What workers tell and are told: registrations, heartbeats, sockets.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

use tokio::sync::mpsc;

use super::registry::{Beat, BeatAnswer, Known, NOTICES_MAX, Notice, Socket};
use super::{Runtime, RuntimeError};
use crate::base::{TaskId, WorkerId};
use crate::domain::Worker;
use crate::domain::worker::WorkerStatus;

impl Runtime {
    /// Takes a registration. Times are the shell's, reputation is what the worker has earned.
    pub async fn register(&self, mut worker: Worker) -> Result<Worker, RuntimeError> {
        let now = self.inner.ports.clock.now();
        worker.registered_at = now;
        worker.last_seen = now;
        worker.expires_at = now.after_ms(self.inner.settings.worker_ttl_ms);
        let stored = self.inner.ports.workers.put_worker(worker).await?;
        self.inner.registry.insert(Known::new(stored.clone()));
        self.inner.rematch(&stored.id);
        tracing::info!(worker.id = %stored.id, worker.r#type = %stored.worker_type, "worker registered");
        Ok(stored)
    }

    /// Takes a heartbeat; nothing when the worker is not known and has to register again.
    pub async fn heartbeat(
        &self,
        id: &WorkerId,
        beat: Beat,
    ) -> Result<Option<BeatAnswer>, RuntimeError> {
        let Some(known) = self.inner.registry.known(id) else {
            return Ok(None);
        };
        let now = self.inner.ports.clock.now();
        let mut worker = Worker::clone(&known.worker);
        worker.last_seen = now;
        worker.expires_at = now.after_ms(self.inner.settings.worker_ttl_ms);
        let tasks = if beat.empty {
            worker.current_tasks.clone()
        } else {
            merge(&mut worker, &beat);
            beat.current_tasks.clone().unwrap_or_default()
        };
        let cancel_task_ids = self.extend(id, &tasks).await?;
        let skills_changed = worker.skills != known.worker.skills;
        let require_full_sync = worker.skills.is_empty() && beat.skills.is_none() && !beat.empty;
        if worker_differs(&worker, &known.worker) {
            self.inner.ports.workers.beat(worker.clone()).await?;
        }
        if worker.status == WorkerStatus::Offline {
            self.inner.registry.remove(std::slice::from_ref(id));
            tracing::info!(worker.id = %id, "worker said goodbye");
        } else {
            let known = if skills_changed {
                Known::new(worker)
            } else {
                Known::with_skills_of(worker, &known)
            };
            self.inner.registry.insert(known);
            self.inner.rematch(id);
        }
        Ok(Some(BeatAnswer {
            require_full_sync,
            cancel_task_ids,
        }))
    }

    /// Extends the worker's leases; returns the tasks that it has no lease on.
    async fn extend(&self, id: &WorkerId, tasks: &[TaskId]) -> Result<Vec<TaskId>, RuntimeError> {
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        let until = self.inner.lease_until();
        let held = self
            .inner
            .ports
            .jobs
            .extend_leases(id, tasks, until)
            .await?;
        let held: HashSet<TaskId> = held.into_iter().collect();
        Ok(tasks
            .iter()
            .filter(|task| !held.contains(*task))
            .cloned()
            .collect())
    }

    /// Opens the worker's channel for notices; an older one is told that it is replaced.
    #[must_use]
    pub fn open_socket(&self, worker: &WorkerId) -> mpsc::Receiver<Notice> {
        let (notices, receiver) = mpsc::channel(NOTICES_MAX);
        let mut sockets = self
            .inner
            .registry
            .sockets
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        sockets.1.retain(|_, socket| !socket.notices.is_closed());
        sockets.0 += 1;
        let socket = Socket {
            number: sockets.0,
            notices,
        };
        if let Some(old) = sockets.1.insert(worker.clone(), socket) {
            tracing::debug!(worker.id = %worker, socket = old.number, "socket replaced");
            // Full or closed: dropping the sender ends it as well.
            drop(old.notices.try_send(Notice::Replaced));
        }
        receiver
    }

    /// Returns every known worker, by id.
    #[must_use]
    pub fn workers(&self) -> Vec<Arc<Worker>> {
        self.inner
            .registry
            .read()
            .values()
            .map(|known| Arc::clone(&known.worker))
            .collect()
    }

    /// Returns one worker.
    #[must_use]
    pub fn worker(&self, id: &WorkerId) -> Option<Arc<Worker>> {
        self.inner
            .registry
            .known(id)
            .map(|known| Arc::clone(&known.worker))
    }
}

/// Takes over what a heartbeat may change, and nothing else (fixes WQ12).
fn merge(worker: &mut Worker, beat: &Beat) {
    if let Some(status) = beat.status {
        worker.status = status;
    }
    if beat.usage.is_some() {
        worker.usage.clone_from(&beat.usage);
    }
    worker.current_tasks = beat.current_tasks.clone().unwrap_or_default();
    let same_hash = beat.skills_hash.is_some() && beat.skills_hash == worker.skills_hash;
    if let Some(skills) = &beat.skills
        && (!same_hash || worker.skills.is_empty())
    {
        worker.skills.clone_from(skills);
    }
    if beat.skills_hash.is_some() {
        worker.skills_hash.clone_from(&beat.skills_hash);
    }
    worker.available_skills.clone_from(&beat.available_skills);
    worker.hot_skills = beat.hot_skills.clone().unwrap_or_default();
    if beat.metadata.is_some() {
        worker.metadata.clone_from(&beat.metadata);
    }
}

/// Tells whether a heartbeat changed what is worth a write: not that it came, nor the load.
fn worker_differs(new: &Worker, old: &Worker) -> bool {
    new.status != old.status
        || new.skills != old.skills
        || new.available_skills != old.available_skills
        || new.hot_skills != old.hot_skills
        || new.skills_hash != old.skills_hash
        || new.metadata != old.metadata
}
