//! What the store under test hands on unchanged, so that it is a whole store to the suite.

use std::collections::BTreeMap;

use async_trait::async_trait;
use avtomatika::base::{ClientId, JobId, TaskId, Timestamp, WorkerId};
use avtomatika::domain::{Event, Job, JobStatus, Lease, Task, Worker};
use avtomatika::engine::DataStores;
use avtomatika::store::{
    BlueprintRevision, Commit, CommitError, Committed, Delivery, DeliveryRecord, Due, Durability,
    FleetNews, HistoryStore, JobQuery, JobStore, KnownKey, MessageKind, OutboxItem, RefreshOutcome,
    StoreError, TokenRecord, WorkerStore,
};
use uuid::Uuid;

use super::offload::Heavy;
#[async_trait]
impl HistoryStore for Heavy {
    async fn append(&self, events: Vec<Event>) -> Result<(), StoreError> {
        self.rest.append(events).await
    }

    async fn by_job(
        &self,
        job: JobId,
        after: Option<(u64, u32)>,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        self.rest.by_job(job, after, limit).await
    }
}

#[async_trait]
impl WorkerStore for Heavy {
    async fn put_worker(&self, worker: Worker) -> Result<Worker, StoreError> {
        self.rest.put_worker(worker).await
    }

    async fn beat(&self, worker: Worker) -> Result<(), StoreError> {
        self.rest.beat(worker).await
    }

    async fn extend_workers(&self, until: Vec<(WorkerId, Timestamp)>) -> Result<(), StoreError> {
        self.rest.extend_workers(until).await
    }

    async fn list_workers(&self) -> Result<Vec<Worker>, StoreError> {
        self.rest.list_workers().await
    }

    async fn forget_workers(&self, expired_before: Timestamp) -> Result<Vec<WorkerId>, StoreError> {
        self.rest.forget_workers(expired_before).await
    }

    async fn adjust_reputation(&self, worker: &WorkerId, delta: f64) -> Result<f64, StoreError> {
        self.rest.adjust_reputation(worker, delta).await
    }

    async fn put_tokens(&self, tokens: Vec<TokenRecord>) -> Result<(), StoreError> {
        self.rest.put_tokens(tokens).await
    }

    async fn find_access_token(&self, hash: &str) -> Result<Option<TokenRecord>, StoreError> {
        self.rest.find_access_token(hash).await
    }

    async fn take_refresh_token(
        &self,
        hash: &str,
        worker: &WorkerId,
        now: Timestamp,
    ) -> Result<RefreshOutcome, StoreError> {
        self.rest.take_refresh_token(hash, worker, now).await
    }

    async fn remember_nonce(
        &self,
        worker: &WorkerId,
        nonce: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        self.rest.remember_nonce(worker, nonce, now, until).await
    }

    async fn knows_nonce(
        &self,
        worker: &WorkerId,
        nonce: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.rest.knows_nonce(worker, nonce, now).await
    }

    async fn purge_secrets(&self, now: Timestamp) -> Result<(), StoreError> {
        self.rest.purge_secrets(now).await
    }
}

#[async_trait]
impl JobStore for Heavy {
    async fn load(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        self.jobs.load(id).await
    }

    async fn is_there(&self, id: JobId) -> Result<bool, StoreError> {
        self.jobs.is_there(id).await
    }

    async fn load_task(&self, id: &TaskId) -> Result<Option<Task>, StoreError> {
        self.jobs.load_task(id).await
    }

    async fn load_with_task(
        &self,
        id: JobId,
        task: &TaskId,
    ) -> Result<(Option<Job>, Option<Task>), StoreError> {
        self.jobs.load_with_task(id, task).await
    }

    async fn branches(&self, job: JobId, visit: u64) -> Result<Vec<Task>, StoreError> {
        self.jobs.branches(job, visit).await
    }

    async fn open_tasks(&self, job: JobId, limit: u32) -> Result<Vec<Task>, StoreError> {
        self.jobs.open_tasks(job, limit).await
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        self.jobs.commit(commit).await
    }

    async fn lease_task(&self, id: &TaskId, lease: Lease) -> Result<Option<Task>, StoreError> {
        self.jobs.lease_task(id, lease).await
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
        self.jobs.release_task(id, lease).await
    }

    async fn queued_tasks(
        &self,
        after: Option<&TaskId>,
        limit: u32,
    ) -> Result<Vec<Task>, StoreError> {
        self.jobs.queued_tasks(after, limit).await
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

    async fn tell(&self, news: &FleetNews) -> Result<(), StoreError> {
        self.jobs.tell(news).await
    }

    async fn extend_outbox(&self, ids: &[Uuid], until: Timestamp) -> Result<(), StoreError> {
        self.jobs.extend_outbox(ids, until).await
    }

    async fn next_outbox(&self, kind: MessageKind) -> Result<Option<Timestamp>, StoreError> {
        self.jobs.next_outbox(kind).await
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

    /// A list has references: whoever wants the values reads the jobs themselves.
    async fn list(&self, query: JobQuery) -> Result<Vec<Job>, StoreError> {
        let mut jobs = Vec::new();
        for listed in self.jobs.list(query).await? {
            jobs.extend(self.jobs.load(listed.id).await?);
        }
        Ok(jobs)
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

    fn durability(&self) -> Durability {
        self.jobs.durability()
    }

    async fn close(&self) {
        self.jobs.close().await;
    }
}
