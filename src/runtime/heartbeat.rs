//! What workers tell and are told: registrations, heartbeats, sockets.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

use tokio::sync::mpsc;
use uuid::Uuid;

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
        self.inner.worker_changed(&stored.id);
        self.inner.rematch(&stored.id);
        tracing::info!(worker.id = %stored.id, worker.r#type = %stored.worker_type, "worker registered");
        Ok(stored)
    }

    /// Returns what all orchestrators on this store have in common, and no other has.
    pub async fn deployment(&self) -> Result<Uuid, RuntimeError> {
        let ports = &self.inner.ports;
        Ok(ports.jobs.deployment_id(ports.entropy.uuid()).await?)
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
        if !beat.empty {
            merge(&mut worker, &beat);
        }
        let names_tasks = !beat.empty && beat.current_tasks.is_some();
        let cancel_task_ids = self.extend(&worker, names_tasks).await?;
        let skills_changed = worker.skills != known.worker.skills;
        let require_full_sync = worker.skills.is_empty() && beat.skills.is_none() && !beat.empty;
        let mut stored_until = known.stored_until;
        if worker_differs(&worker, &known.worker) {
            self.inner.ports.workers.beat(worker.clone()).await?;
            stored_until = worker.expires_at;
            self.inner.worker_changed(id);
        }
        if let Some(meanwhile) = self.inner.registry.known(id) {
            // A report may have been rated while the store was busy.
            worker.reputation = meanwhile.worker.reputation;
        }
        if worker.status == WorkerStatus::Offline {
            self.inner.registry.remove(std::slice::from_ref(id));
            tracing::info!(worker.id = %id, "worker said goodbye");
        } else {
            let mut known = if skills_changed {
                Known::new(worker)
            } else {
                Known::with_skills_of(Arc::new(worker), &known)
            };
            known.stored_until = stored_until;
            self.inner.registry.insert(known);
            self.inner.rematch(id);
        }
        Ok(Some(BeatAnswer {
            require_full_sync,
            cancel_task_ids,
        }))
    }

    /// Extends the worker's leases: on the tasks that its heartbeat names or, when it names none,
    /// on all, since it lives. Returns the tasks that it works on without a lease.
    async fn extend(
        &self,
        worker: &Worker,
        names_tasks: bool,
    ) -> Result<Vec<TaskId>, RuntimeError> {
        let jobs = &self.inner.ports.jobs;
        let tasks = if names_tasks {
            worker.current_tasks.clone()
        } else {
            let leased = jobs.leased_tasks(&worker.id).await?;
            leased.into_iter().map(|task| task.id).collect()
        };
        let mut held = HashSet::new();
        if !tasks.is_empty() {
            held.extend(self.inner.hear(&worker.id, &tasks).await?);
        }
        Ok(worker
            .current_tasks
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
    if let Some(tasks) = &beat.current_tasks {
        worker.current_tasks.clone_from(tasks);
    }
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

/// Tells whether a heartbeat changed what is worth a write of its own: not that it came, which is
/// written for all workers at once, nor the load.
fn worker_differs(new: &Worker, old: &Worker) -> bool {
    new.status != old.status
        || new.skills != old.skills
        || new.available_skills != old.available_skills
        || new.hot_skills != old.hot_skills
        || new.skills_hash != old.skills_hash
        || new.metadata != old.metadata
}
