//! Workers: who is known, who is alive, what each is told, what each has earned.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use serde_json::Value;
use tokio::sync::mpsc;

use super::queue::Fit;
use super::{Inner, RuntimeError};
use crate::base::{JobId, TaskId, Timestamp, WorkerId};
use crate::blueprint::Schema;
use crate::domain::worker::{SkillInfo, WorkerStatus};
use crate::domain::{Object, TaskSpec, Worker};
use crate::engine::select;
use crate::store::{StoreError, rules};

/// Notices that a slow socket may be behind; beyond it the heartbeat has to tell.
pub(super) const NOTICES_MAX: usize = 256;
/// Changes of reputation that may wait for the store; beyond it they are lost, with a warning.
const REPUTATION_BACKLOG: usize = 10_000;

/// What a worker's open socket is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Stop working on this.
    CancelTask {
        /// The attempt.
        task_id: TaskId,
        /// Its job.
        job_id: JobId,
    },
    /// A newer socket has taken this one's place.
    Replaced,
    /// The process is on its way out.
    ShuttingDown,
}

/// What a heartbeat says; absent members say nothing, but for the two lists of skills, whose
/// absence clears them (fixes WQ16).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Beat {
    /// Nothing but a sign of life: no member below counts.
    pub empty: bool,
    /// As it stands.
    pub status: Option<WorkerStatus>,
    /// Load and memory.
    pub usage: Option<Value>,
    /// Tasks under way.
    pub current_tasks: Option<Vec<TaskId>>,
    /// All skills, when they changed.
    pub skills: Option<Vec<SkillInfo>>,
    /// Skills with a free place.
    pub available_skills: Option<Vec<String>>,
    /// Skills whose models are loaded.
    pub hot_skills: Option<Vec<String>>,
    /// Digest of the skills.
    pub skills_hash: Option<String>,
    /// Free.
    pub metadata: Option<Object>,
}

/// What a heartbeat is answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BeatAnswer {
    /// The skills are not known here: send them all.
    pub require_full_sync: bool,
    /// Tasks that the worker has no claim on any more.
    pub cancel_task_ids: Vec<TaskId>,
}

/// A worker with its skills' schemas compiled.
pub(super) struct Known {
    pub(super) worker: Arc<Worker>,
    /// When the worker expires as the store has it: not every sign of life is written.
    pub(super) stored_until: Timestamp,
    inputs: Arc<BTreeMap<String, Schema>>,
}

impl Known {
    pub(super) fn new(worker: Worker) -> Self {
        let inputs = worker.skills.iter().filter_map(|skill| {
            let schema = skill
                .input_schema
                .as_ref()
                .filter(|schema| restricts(schema))?;
            // A schema that is none restricts nothing: the worker checks its parameters itself.
            let compiled = Schema::compile(&Value::Object(schema.clone())).ok()?;
            Some((skill.name.clone(), compiled))
        });
        Self {
            inputs: Arc::new(inputs.collect()),
            stored_until: worker.expires_at,
            worker: Arc::new(worker),
        }
    }

    pub(super) fn with_skills_of(worker: Arc<Worker>, other: &Self) -> Self {
        Self {
            worker,
            stored_until: other.stored_until,
            inputs: Arc::clone(&other.inputs),
        }
    }

    /// Returns the same worker with another reputation.
    pub(super) fn with_reputation(&self, reputation: f64) -> Self {
        let mut worker = Worker::clone(&self.worker);
        worker.reputation = reputation;
        Self::with_skills_of(Arc::new(worker), self)
    }

    /// Returns the same worker, of which the store knows that it lives so long.
    pub(super) fn stored_until(&self, until: Timestamp) -> Self {
        Self {
            worker: Arc::clone(&self.worker),
            stored_until: until,
            inputs: Arc::clone(&self.inputs),
        }
    }

    pub(super) fn params_ok(&self, skill: &SkillInfo, params: &Object) -> bool {
        let schema = self.inputs.get(&skill.name);
        schema.is_none_or(|schema| schema.check(&Value::Object(params.clone())).is_ok())
    }

    /// Tells whether the worker may have a task.
    pub(super) fn fit(&self, spec: &TaskSpec, reputation_min: f64) -> Fit {
        let params_ok = |skill: &SkillInfo, params: &Object| self.params_ok(skill, params);
        match select::qualify(spec, &self.worker, reputation_min, &params_ok) {
            Ok(()) => Fit::Yes,
            Err(mismatch) if mismatch.code == "params_schema" => Fit::NotTheseParameters,
            Err(_) => Fit::No,
        }
    }

    /// Returns the skills that it takes tasks for just now.
    pub(super) fn open_skills(&self) -> impl Iterator<Item = &str> {
        let stopped = matches!(
            self.worker.status,
            WorkerStatus::Draining | WorkerStatus::Offline
        );
        let available = self.worker.available_skills.as_ref();
        self.worker
            .skills
            .iter()
            .map(|skill| skill.name.as_str())
            .filter(move |_| !stopped)
            .filter(move |name| available.is_none_or(|open| open.iter().any(|one| one == name)))
    }
}

/// Tells whether an input schema can refuse any object at all.
fn restricts(schema: &Object) -> bool {
    schema
        .iter()
        .any(|(key, value)| !(key == "type" && value == "object"))
}

/// A worker's open socket.
pub(super) struct Socket {
    pub(super) number: u64,
    pub(super) notices: mpsc::Sender<Notice>,
}

/// The registry.
pub(super) struct Registry {
    workers: RwLock<BTreeMap<WorkerId, Arc<Known>>>,
    pub(super) sockets: Mutex<(u64, HashMap<WorkerId, Socket>)>,
    reputation: mpsc::Sender<(WorkerId, f64)>,
    reputation_queue: Mutex<Option<mpsc::Receiver<(WorkerId, f64)>>>,
}

impl Default for Registry {
    fn default() -> Self {
        let (reputation, queue) = mpsc::channel(REPUTATION_BACKLOG);
        Self {
            workers: RwLock::default(),
            sockets: Mutex::default(),
            reputation,
            reputation_queue: Mutex::new(Some(queue)),
        }
    }
}

impl Registry {
    pub(super) fn read(&self) -> RwLockReadGuard<'_, BTreeMap<WorkerId, Arc<Known>>> {
        self.workers.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn known(&self, id: &WorkerId) -> Option<Arc<Known>> {
        self.read().get(id).cloned()
    }

    pub(super) fn insert(&self, known: Known) {
        let mut workers = self.workers.write().unwrap_or_else(PoisonError::into_inner);
        workers.insert(known.worker.id.clone(), Arc::new(known));
    }

    /// Puts another in the worker's place, if it is known.
    pub(super) fn change(&self, id: &WorkerId, change: impl FnOnce(&Known) -> Known) {
        let mut workers = self.workers.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = workers.get_mut(id) {
            let changed = change(known);
            *known = Arc::new(changed);
        }
    }

    pub(super) fn remove(&self, ids: &[WorkerId]) {
        let mut workers = self.workers.write().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            workers.remove(id);
        }
    }

    /// Tells the worker's socket, if it has one; otherwise its next heartbeat tells it.
    pub(super) fn notify(&self, worker: &WorkerId, notice: Notice) {
        let sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(socket) = sockets.1.get(worker) {
            // Full or closed: the heartbeat tells it.
            drop(socket.notices.try_send(notice));
        }
    }

    pub(super) fn close_sockets(&self) {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, socket) in sockets.1.drain() {
            // Full or closed: dropping the sender ends it as well.
            drop(socket.notices.try_send(Notice::ShuttingDown));
        }
    }

    pub(super) fn queue_reputation(&self, worker: &WorkerId, delta: f64) {
        if self.reputation.try_send((worker.clone(), delta)).is_err() {
            tracing::warn!(worker.id = %worker, "a change of reputation was lost: too many wait");
        }
    }
}

/// Returns what changes come to for each worker, one after the other within 0 to 1. A worker whose
/// reputation stays as it is, such as one that has all of it already, is left out.
fn summed(
    changes: impl Iterator<Item = (WorkerId, f64)>,
    known: impl Fn(&WorkerId) -> Option<f64>,
) -> BTreeMap<WorkerId, f64> {
    let mut reputations: BTreeMap<WorkerId, (f64, f64)> = BTreeMap::new();
    for (worker, delta) in changes {
        let start = || known(&worker).unwrap_or(rules::REPUTATION_START);
        let before = reputations
            .get(&worker)
            .map_or_else(start, |(before, _)| *before);
        let (_, now) = reputations.entry(worker).or_insert((before, before));
        *now = rules::adjusted_reputation(*now, delta);
    }
    reputations
        .into_iter()
        .map(|(worker, (before, now))| (worker, now - before))
        .filter(|(_, delta)| delta.abs() > 0.0)
        .collect()
}

impl Inner {
    /// Reads who was known when the process ended; each has its time over again.
    pub(super) async fn load_workers(&self) -> Result<(), RuntimeError> {
        let expires_at = self.ports.clock.now().after_ms(self.settings.worker_ttl_ms);
        for mut worker in self.ports.workers.list_workers().await? {
            if worker.status != WorkerStatus::Offline {
                let stored_until = worker.expires_at;
                worker.expires_at = expires_at;
                self.registry.insert(Known {
                    stored_until,
                    ..Known::new(worker)
                });
            }
        }
        Ok(())
    }

    /// Reads who is known, as the word of some may have been lost. Nobody lives longer by it.
    pub(super) async fn meet_workers(&self) -> Result<(), StoreError> {
        let now = self.ports.clock.now();
        for mut worker in self.ports.workers.list_workers().await? {
            let heard_until = self.registry.known(&worker.id).map(|k| k.worker.expires_at);
            let stored_until = worker.expires_at;
            worker.expires_at = heard_until.map_or(stored_until, |until| until.max(stored_until));
            if worker.status != WorkerStatus::Offline && worker.expires_at > now {
                self.registry.insert(Known {
                    stored_until,
                    ..Known::new(worker)
                });
            }
        }
        Ok(())
    }

    /// Gives every lease of a known worker its time over again: while no process was there to hear
    /// it, silence says nothing of the worker.
    pub(super) async fn renew_leases(&self) -> Result<(), RuntimeError> {
        let known: Vec<WorkerId> = self.registry.read().keys().cloned().collect();
        for worker in known {
            let tasks = self.ports.jobs.leased_tasks(&worker).await?;
            if tasks.is_empty() {
                continue;
            }
            let ids: Vec<TaskId> = tasks.iter().map(|task| task.id.clone()).collect();
            let until = self.lease_until();
            self.ports.jobs.extend_leases(&worker, &ids, until).await?;
            self.matchmaker.holders(|holders| {
                for task in &tasks {
                    if let Some(lease) = &task.lease {
                        holders.add(&task.id, &worker, lease.id);
                    }
                }
            });
        }
        Ok(())
    }

    pub(super) async fn run_reputation(self: Arc<Self>) {
        let queue = {
            let mut slot = self
                .registry
                .reputation_queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            slot.take()
        };
        let Some(mut queue) = queue else { return };
        let mut changes = Vec::new();
        loop {
            let count = tokio::select! {
                biased;
                count = queue.recv_many(&mut changes, REPUTATION_BACKLOG) => count,
                () = self.stop.cancelled() => return,
            };
            if count == 0 {
                return;
            }
            let known =
                |worker: &WorkerId| self.registry.known(worker).map(|k| k.worker.reputation);
            let sums = summed(changes.drain(..), known).into_iter();
            futures::future::join_all(sums.map(|(worker, delta)| self.rate(worker, delta))).await;
        }
    }

    async fn rate(&self, worker: WorkerId, delta: f64) {
        if let Err(error) = self.change_reputation(&worker, delta).await {
            warn_of!(error, worker.id = %worker, "a change of reputation was lost");
        }
    }

    pub(super) async fn change_reputation(
        &self,
        worker: &WorkerId,
        delta: f64,
    ) -> Result<(), StoreError> {
        let reputation = self.ports.workers.adjust_reputation(worker, delta).await?;
        self.registry
            .change(worker, |known| known.with_reputation(reputation));
        self.matchmaker.state().news.rated(worker, reputation);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_that_wait_together_count_one_after_the_other() {
        let known = |worker: &WorkerId| match worker.as_str() {
            "half" => Some(0.5),
            "low" => Some(0.05),
            _ => None,
        };
        let changes = [
            ("new", 0.25),
            ("half", 0.25),
            ("low", -0.25),
            ("new", -0.5),
            ("full", 0.25),
            ("half", 0.125),
            ("low", 0.25),
        ];
        let changes = changes.map(|(worker, delta)| (WorkerId::from(worker), delta));
        let sums: Vec<_> = summed(changes.into_iter(), known).into_iter().collect();
        let expected = [("half", 0.375), ("low", 0.2), ("new", -0.5)];
        assert_eq!(
            sums,
            expected.map(|(worker, delta)| (WorkerId::from(worker), delta))
        );
    }
}
