//! A job store that is watched: how long it takes and how often it fails, whether it is away, and what
//! its commits and leases say of jobs and tasks. Changes nothing of what goes through.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::Instant;
use uuid::Uuid;

use super::store::Operation;
use super::{Standing, StoreWatch};
use crate::base::{ClientId, JobId, TaskId, Timestamp, WorkerId};
use crate::domain::{Job, JobStatus, Lease, Task};
use crate::engine::DataStores;
use crate::store::{
    BlueprintRevision, Commit, CommitError, Committed, Delivery, DeliveryRecord, Due, Durability,
    FleetNews, Hints, JobQuery, JobStore, KnownKey, MessageKind, OutboxItem, StoreError,
};

/// See the module.
pub struct WatchedJobs {
    jobs: Arc<dyn JobStore>,
    watch: StoreWatch,
}

impl WatchedJobs {
    /// Watches a store.
    #[must_use]
    pub fn new(jobs: Arc<dyn JobStore>, watch: StoreWatch) -> Self {
        Self { jobs, watch }
    }
}

#[async_trait]
impl JobStore for WatchedJobs {
    async fn load(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        self.watch.timed(Operation::Load, self.jobs.load(id)).await
    }

    async fn is_there(&self, id: JobId) -> Result<bool, StoreError> {
        self.watch
            .timed(Operation::Load, self.jobs.is_there(id))
            .await
    }

    async fn load_task(&self, id: &TaskId) -> Result<Option<Task>, StoreError> {
        self.watch
            .timed(Operation::Load, self.jobs.load_task(id))
            .await
    }

    async fn load_tasks(&self, ids: &[TaskId]) -> Result<Vec<Task>, StoreError> {
        self.watch
            .timed(Operation::Load, self.jobs.load_tasks(ids))
            .await
    }

    async fn load_with_task(
        &self,
        id: JobId,
        task: &TaskId,
    ) -> Result<(Option<Job>, Option<Task>), StoreError> {
        self.watch
            .timed(Operation::Load, self.jobs.load_with_task(id, task))
            .await
    }

    async fn branches(&self, job: JobId, visit: u64) -> Result<Vec<Task>, StoreError> {
        self.watch
            .timed(Operation::Branches, self.jobs.branches(job, visit))
            .await
    }

    async fn open_tasks(&self, job: JobId, limit: u32) -> Result<Vec<Task>, StoreError> {
        self.watch
            .timed(Operation::Load, self.jobs.open_tasks(job, limit))
            .await
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        let (job, effects) = (Arc::clone(&commit.job), Arc::clone(&commit.effects));
        let began = Instant::now();
        let ended = self.jobs.commit(commit).await;
        let trouble = match &ended {
            Err(CommitError::Store(error)) => Some(error),
            _ => None,
        };
        self.watch.called(Operation::Commit, began, trouble);
        self.watch.metrics().store().committed(&ended);
        if ended.is_ok() {
            self.watch.wrote();
            self.watch.metrics().jobs().committed(&job, &effects);
        }
        ended
    }

    async fn lease_task(&self, id: &TaskId, lease: Lease) -> Result<Option<Task>, StoreError> {
        let leased = self
            .watch
            .timed(Operation::Lease, self.jobs.lease_task(id, lease));
        let leased = leased.await;
        if let Ok(Some(task)) = &leased {
            self.watch.metrics().jobs().leased(task);
        }
        leased
    }

    async fn extend_leases(
        &self,
        worker: &WorkerId,
        tasks: &[TaskId],
        until: Timestamp,
    ) -> Result<Vec<TaskId>, StoreError> {
        let extend = self.jobs.extend_leases(worker, tasks, until);
        let held = self.watch.timed(Operation::Extend, extend).await?;
        self.watch
            .metrics()
            .store()
            .extended
            .inc_by(held.len() as u64);
        Ok(held)
    }

    async fn release_task(&self, id: &TaskId, lease: Uuid) -> Result<Option<Task>, StoreError> {
        let release = self.jobs.release_task(id, lease);
        let released = self.watch.timed(Operation::Release, release).await?;
        if released.is_some() {
            self.watch.metrics().store().released.inc();
        }
        Ok(released)
    }

    async fn queued_tasks(
        &self,
        after: Option<&TaskId>,
        limit: u32,
    ) -> Result<Vec<Task>, StoreError> {
        self.watch
            .timed(Operation::Queue, self.jobs.queued_tasks(after, limit))
            .await
    }

    async fn leased_tasks(&self, worker: &WorkerId) -> Result<Vec<Task>, StoreError> {
        self.watch
            .timed(Operation::Queue, self.jobs.leased_tasks(worker))
            .await
    }

    async fn due(&self, now: Timestamp, limit: u32) -> Result<Due, StoreError> {
        self.watch
            .timed(Operation::Due, self.jobs.due(now, limit))
            .await
    }

    async fn take_outbox(
        &self,
        kind: MessageKind,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<OutboxItem>, StoreError> {
        let taken = self.jobs.take_outbox(kind, now, until, limit);
        self.watch.timed(Operation::Outbox, taken).await
    }

    async fn extend_outbox(&self, ids: &[Uuid], until: Timestamp) -> Result<(), StoreError> {
        self.watch
            .timed(Operation::Outbox, self.jobs.extend_outbox(ids, until))
            .await
    }

    async fn next_outbox(&self, kind: MessageKind) -> Result<Option<Timestamp>, StoreError> {
        self.watch
            .timed(Operation::Outbox, self.jobs.next_outbox(kind))
            .await
    }

    async fn settle_outbox(
        &self,
        id: Uuid,
        delivery: Delivery,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.watch
            .timed(
                Operation::Settle,
                self.jobs.settle_outbox(id, delivery, now),
            )
            .await
    }

    async fn deliveries(&self, job: JobId, limit: u32) -> Result<Vec<DeliveryRecord>, StoreError> {
        self.watch
            .timed(Operation::List, self.jobs.deliveries(job, limit))
            .await
    }

    async fn data_stores(&self, blueprint: &str) -> Result<DataStores, StoreError> {
        self.watch
            .timed(Operation::Load, self.jobs.data_stores(blueprint))
            .await
    }

    async fn deployment_id(&self, proposed: Uuid) -> Result<Uuid, StoreError> {
        self.watch
            .timed(Operation::Find, self.jobs.deployment_id(proposed))
            .await
    }

    async fn find_by_key(
        &self,
        client: &ClientId,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<KnownKey>, StoreError> {
        self.watch
            .timed(Operation::Find, self.jobs.find_by_key(client, key, now))
            .await
    }

    async fn list(&self, query: JobQuery) -> Result<Vec<Job>, StoreError> {
        self.watch
            .timed(Operation::List, self.jobs.list(query))
            .await
    }

    async fn counts(
        &self,
        client: Option<&ClientId>,
    ) -> Result<BTreeMap<JobStatus, u64>, StoreError> {
        self.watch
            .timed(Operation::List, self.jobs.counts(client))
            .await
    }

    async fn purge(&self, now: Timestamp, limit: u32) -> Result<Vec<JobId>, StoreError> {
        self.watch
            .timed(Operation::Purge, self.jobs.purge(now, limit))
            .await
    }

    async fn put_blueprint(
        &self,
        name: &str,
        revision: &str,
        source: &str,
    ) -> Result<(), StoreError> {
        self.watch
            .timed(
                Operation::Blueprints,
                self.jobs.put_blueprint(name, revision, source),
            )
            .await
    }

    async fn blueprint_source(
        &self,
        name: &str,
        revision: &str,
    ) -> Result<Option<String>, StoreError> {
        self.watch
            .timed(
                Operation::Blueprints,
                self.jobs.blueprint_source(name, revision),
            )
            .await
    }

    async fn purge_blueprints(
        &self,
        in_use: &[BlueprintRevision],
    ) -> Result<Vec<BlueprintRevision>, StoreError> {
        self.watch
            .timed(Operation::Blueprints, self.jobs.purge_blueprints(in_use))
            .await
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.watch
            .timed(Operation::Health, self.jobs.health())
            .await
    }

    async fn outbox_length(&self, limit: u32) -> Result<Option<u64>, StoreError> {
        self.watch
            .timed(Operation::Outbox, self.jobs.outbox_length(limit))
            .await
    }

    fn standing(&self) -> Standing {
        // One that must not be given jobs is no better than one that does not take them.
        let standing = self.watch.standing();
        Standing {
            is_away: standing.is_away || self.jobs.refusal().is_some(),
            ..standing
        }
    }

    fn durability(&self) -> Durability {
        self.jobs.durability()
    }

    fn purges_early(&self) -> bool {
        self.jobs.purges_early()
    }

    fn refusal(&self) -> Option<String> {
        self.jobs.refusal()
    }

    fn server(&self) -> Option<String> {
        self.jobs.server()
    }

    async fn tell(&self, news: &FleetNews) -> Result<(), StoreError> {
        self.jobs.tell(news).await
    }

    fn hints(&self) -> Hints {
        self.jobs.hints()
    }

    async fn close(&self) {
        self.watch.close();
        self.jobs.close().await;
    }
}
