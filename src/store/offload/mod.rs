//! A job store whose large values lie in the blob store: a job's record keeps a reference, with size
//! and digest, and whoever reads through here gets the value, but in lists. Values are members of initial data, of
//! `state_history`, of results, of tasks' parameters and of branches' reports.
//!
//! They have keys below `jobs/<job id>/`, named after their content, so that they go with the job and
//! an unchanged value is stored once however often its job is. A value is stored before the commit
//! that refers to it; what a refused commit has stored goes with the job, or as an orphan.

mod fill;
mod lighten;
mod payloads;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use uuid::Uuid;

use super::{
    BlobStore, BlueprintRevision, Commit, CommitError, Committed, Delivery, DeliveryRecord, Due,
    Durability, FleetNews, Hints, JobQuery, JobStore, KnownKey, MessageKind, OutboxItem,
    StoreError,
};
use crate::base::{ClientId, JobId, TaskId, Timestamp, WorkerId};
use crate::domain::{Job, JobStatus, Lease, Task};
use crate::engine::DataStores;
use crate::observe::Standing;
use payloads::Payloads;

pub use fill::fill_archived;
pub use payloads::FOLDER;

/// Records that are filled at once.
const FILLED_AT_ONCE: usize = 8;

/// See the module.
pub struct Offloading {
    jobs: Arc<dyn JobStore>,
    payloads: Payloads,
}

impl Offloading {
    /// Keeps values whose JSON is larger than `bytes_max` in the blob store, the rest in the job
    /// store.
    #[must_use]
    pub fn new(jobs: Arc<dyn JobStore>, blobs: Arc<dyn BlobStore>, bytes_max: usize) -> Self {
        Self {
            jobs,
            payloads: Payloads::new(blobs, bytes_max),
        }
    }

    async fn filled(&self, tasks: Vec<Task>) -> Result<Vec<Task>, StoreError> {
        let filling = tasks.into_iter().map(|task| self.payloads.fill_task(task));
        stream::iter(filling)
            .buffered(FILLED_AT_ONCE)
            .try_collect()
            .await
    }

    /// Leaves those as they are stored that cannot be filled just now, so that they do not keep the
    /// others back. Whoever goes to work with one asks for it again.
    async fn filled_where_possible(&self, tasks: Vec<Task>) -> Vec<Task> {
        let filling = tasks.into_iter().map(|task| async move {
            let filled = self.payloads.fill_task(task.clone()).await;
            filled.unwrap_or(task)
        });
        stream::iter(filling)
            .buffered(FILLED_AT_ONCE)
            .collect()
            .await
    }

    async fn filled_one(&self, task: Option<Task>) -> Result<Option<Task>, StoreError> {
        match task {
            Some(task) => self.payloads.fill_task(task).await.map(Some),
            None => Ok(None),
        }
    }
}

#[async_trait]
impl JobStore for Offloading {
    async fn load(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        match self.jobs.load(id).await? {
            Some(job) => self.payloads.fill_job(job).await.map(Some),
            None => Ok(None),
        }
    }

    async fn is_there(&self, id: JobId) -> Result<bool, StoreError> {
        self.jobs.is_there(id).await
    }

    async fn load_task(&self, id: &TaskId) -> Result<Option<Task>, StoreError> {
        self.filled_one(self.jobs.load_task(id).await?).await
    }

    async fn load_tasks(&self, ids: &[TaskId]) -> Result<Vec<Task>, StoreError> {
        let tasks = self.jobs.load_tasks(ids).await?;
        Ok(self.filled_where_possible(tasks).await)
    }

    async fn load_with_task(
        &self,
        id: JobId,
        task: &TaskId,
    ) -> Result<(Option<Job>, Option<Task>), StoreError> {
        let (job, task) = self.jobs.load_with_task(id, task).await?;
        let job = match job {
            Some(job) => Some(self.payloads.fill_job(job).await?),
            None => None,
        };
        Ok((job, self.filled_one(task).await?))
    }

    async fn branches(&self, job: JobId, visit: u64) -> Result<Vec<Task>, StoreError> {
        self.filled(self.jobs.branches(job, visit).await?).await
    }

    async fn open_tasks(&self, job: JobId, limit: u32) -> Result<Vec<Task>, StoreError> {
        let tasks = self.jobs.open_tasks(job, limit).await?;
        Ok(self.filled_where_possible(tasks).await)
    }

    async fn commit(&self, mut commit: Commit) -> Result<Committed, CommitError> {
        if let Some(job) = self.payloads.lighten_job(&commit.job).await? {
            commit.job = Arc::new(job);
        }
        let lightened = self
            .payloads
            .lighten_effects(commit.job.id, &commit.effects);
        if let Some(effects) = lightened.await? {
            commit.effects = Arc::new(effects);
        }
        let mut committed = self.jobs.commit(commit).await?;
        // The commit has gone through: nobody is told that it has failed.
        let released = std::mem::take(&mut committed.released);
        committed.released = self.filled_where_possible(released).await;
        Ok(committed)
    }

    async fn lease_task(&self, id: &TaskId, lease: Lease) -> Result<Option<Task>, StoreError> {
        let lease_id = lease.id;
        let leased = self.jobs.lease_task(id, lease).await?;
        let filled = self.filled_one(leased).await;
        if filled.is_err() {
            // Nobody gets it without its parameters: it is for another time, and no delivery.
            self.jobs.release_task(id, lease_id).await?;
        }
        filled
    }

    async fn extend_leases(
        &self,
        worker: &WorkerId,
        tasks: &[TaskId],
        until: Timestamp,
    ) -> Result<Vec<TaskId>, StoreError> {
        self.jobs.extend_leases(worker, tasks, until).await
    }

    async fn release_task(&self, id: &TaskId, lease: Uuid) -> Result<Option<Task>, StoreError> {
        let Some(task) = self.jobs.release_task(id, lease).await? else {
            return Ok(None);
        };
        Ok(self.filled_where_possible(vec![task]).await.pop())
    }

    async fn queued_tasks(
        &self,
        after: Option<&TaskId>,
        limit: u32,
    ) -> Result<Vec<Task>, StoreError> {
        let tasks = self.jobs.queued_tasks(after, limit).await?;
        Ok(self.filled_where_possible(tasks).await)
    }

    async fn leased_tasks(&self, worker: &WorkerId) -> Result<Vec<Task>, StoreError> {
        self.jobs.leased_tasks(worker).await
    }

    async fn due(&self, now: Timestamp, limit: u32) -> Result<Due, StoreError> {
        self.jobs.due(now, limit).await
    }

    async fn take_outbox(
        &self,
        kind: MessageKind,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<OutboxItem>, StoreError> {
        self.jobs.take_outbox(kind, now, until, limit).await
    }

    async fn extend_outbox(&self, ids: &[Uuid], until: Timestamp) -> Result<(), StoreError> {
        self.jobs.extend_outbox(ids, until).await
    }

    async fn next_outbox(&self, kind: MessageKind) -> Result<Option<Timestamp>, StoreError> {
        self.jobs.next_outbox(kind).await
    }

    async fn outbox_length(&self, limit: u32) -> Result<Option<u64>, StoreError> {
        self.jobs.outbox_length(limit).await
    }

    async fn settle_outbox(
        &self,
        id: Uuid,
        delivery: Delivery,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.jobs.settle_outbox(id, delivery, now).await
    }

    async fn deliveries(&self, job: JobId, limit: u32) -> Result<Vec<DeliveryRecord>, StoreError> {
        self.jobs.deliveries(job, limit).await
    }

    async fn data_stores(&self, blueprint: &str) -> Result<DataStores, StoreError> {
        self.jobs.data_stores(blueprint).await
    }

    async fn deployment_id(&self, proposed: Uuid) -> Result<Uuid, StoreError> {
        self.jobs.deployment_id(proposed).await
    }

    async fn find_by_key(
        &self,
        client: &ClientId,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<KnownKey>, StoreError> {
        self.jobs.find_by_key(client, key, now).await
    }

    /// Leaves references where values were heavy: a page of many jobs would bring any number of them, and
    /// one whose values cannot be had just now would hide the others.
    async fn list(&self, query: JobQuery) -> Result<Vec<Job>, StoreError> {
        self.jobs.list(query).await
    }

    async fn counts(
        &self,
        client: Option<&ClientId>,
    ) -> Result<BTreeMap<JobStatus, u64>, StoreError> {
        self.jobs.counts(client).await
    }

    async fn purge(&self, now: Timestamp, limit: u32) -> Result<Vec<JobId>, StoreError> {
        self.jobs.purge(now, limit).await
    }

    async fn put_blueprint(
        &self,
        name: &str,
        revision: &str,
        source: &str,
    ) -> Result<(), StoreError> {
        self.jobs.put_blueprint(name, revision, source).await
    }

    async fn blueprint_source(
        &self,
        name: &str,
        revision: &str,
    ) -> Result<Option<String>, StoreError> {
        self.jobs.blueprint_source(name, revision).await
    }

    async fn purge_blueprints(
        &self,
        in_use: &[BlueprintRevision],
    ) -> Result<Vec<BlueprintRevision>, StoreError> {
        self.jobs.purge_blueprints(in_use).await
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.jobs.health().await
    }

    fn standing(&self) -> Standing {
        self.jobs.standing()
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
        self.jobs.close().await;
    }
}
