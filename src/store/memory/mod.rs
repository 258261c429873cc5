//! The store in memory: for tests, the simulation and jobs that may be lost, and the model that the
//! other adapters are compared with. One lock over plain ordered maps; nothing survives the
//! process.

mod commit;
mod feed;
mod jobs;
mod outbox;
mod tasks;
mod workers;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use serde_json::Value;
use uuid::Uuid;

use self::feed::Feed;
use self::outbox::Outbox;
use self::tasks::Tasks;
use self::workers::Workers;
use super::{HistoryStore, KnownKey, StoreError};
use crate::base::{ClientId, JobId, Timestamp};
use crate::domain::{Event, Job};

/// Jobs, workers and history in memory.
///
/// Every call takes the one lock, does its work and lets go: calls are atomic, and their results
/// depend on their order only.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

impl MemoryStore {
    /// Makes an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes an empty store whose history is handed out for an archive as well.
    #[must_use]
    pub fn with_feed() -> Self {
        Self {
            state: Mutex::new(State {
                feed: Some(Feed::default()),
                ..State::default()
            }),
        }
    }

    fn state(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self
            .state
            .lock()
            .map_err(|_| StoreError::Unavailable("a call has panicked half-way".to_owned()))?;
        if state.closed {
            return Err(StoreError::Unavailable("the store is closed".to_owned()));
        }
        Ok(state)
    }
}

/// A key that a client gave a submission.
#[derive(Debug)]
struct KeyRecord {
    known: KnownKey,
    until: Timestamp,
}

/// All that the store holds.
#[derive(Debug, Default)]
struct State {
    closed: bool,
    jobs: BTreeMap<JobId, Job>,
    /// The jobs that have a `wake_at`, by it.
    wakes: BTreeSet<(Timestamp, JobId)>,
    tasks: Tasks,
    outbox: Outbox,
    /// By client and key.
    keys: BTreeMap<(ClientId, String), KeyRecord>,
    /// Jobs taken, by client and month.
    quotas: BTreeMap<(ClientId, String), u64>,
    /// Values by blueprint, store and key.
    data: BTreeMap<String, BTreeMap<String, BTreeMap<String, Value>>>,
    /// Sources by name and revision.
    blueprints: BTreeMap<(String, String), String>,
    /// Events by their place, which their id derives from.
    history: BTreeMap<(JobId, u64, u32), Event>,
    /// None while nothing is handed out.
    feed: Option<Feed>,
    workers: Workers,
    deployment: Option<Uuid>,
}

impl State {
    fn put_job(&mut self, job: Job) {
        self.forget_wake(job.id);
        if let Some(at) = job.wake_at {
            self.wakes.insert((at, job.id));
        }
        self.jobs.insert(job.id, job);
    }

    fn forget_wake(&mut self, id: JobId) {
        if let Some(at) = self.jobs.get(&id).and_then(|known| known.wake_at) {
            self.wakes.remove(&(at, id));
        }
    }

    fn record(&mut self, event: Event) {
        let place = (event.job_id, event.revision, event.index);
        if let Entry::Vacant(vacant) = self.history.entry(place) {
            vacant.insert(event);
            if let Some(feed) = &mut self.feed {
                feed.add(place);
            }
        }
    }

    fn forget_job(&mut self, id: JobId) {
        self.forget_wake(id);
        self.jobs.remove(&id);
        self.tasks.forget_job(id);
        self.outbox.forget_job(id);
        self.history.retain(|(job, ..), _| *job != id);
    }
}

#[async_trait]
impl HistoryStore for MemoryStore {
    async fn append(&self, events: Vec<Event>) -> Result<(), StoreError> {
        let mut state = self.state()?;
        for event in events {
            state.record(event);
        }
        Ok(())
    }

    async fn by_job(
        &self,
        job: JobId,
        after: Option<(u64, u32)>,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let state = self.state()?;
        Ok(state
            .history
            .range((job, 0, 0)..=(job, u64::MAX, u32::MAX))
            .filter(|((_, revision, index), _)| {
                after.is_none_or(|after| (*revision, *index) > after)
            })
            .take(limit as usize)
            .map(|(_, event)| event.clone())
            .collect())
    }
}
