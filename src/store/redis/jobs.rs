//! `JobStore` in Redis.

use std::collections::BTreeMap;

use async_trait::async_trait;
use fred::types::Value;
use uuid::Uuid;

use super::commit::pin;
use super::link::{Repeat, held};
use super::records::{items, text};
use super::{RedisStore, arguments, code};
use crate::base::{ClientId, JobId, TaskId, Timestamp, WorkerId};
use crate::domain::{Job, JobStatus, Lease, Task};
use crate::engine::DataStores;
use crate::store::{
    BlueprintRevision, Commit, CommitError, Committed, Delivery, DeliveryRecord, Due, Durability,
    FleetNews, Hints, JobQuery, JobStore, KnownKey, MessageKind, OutboxItem, StoreError,
};

code!(LOAD, "load");

#[async_trait]
impl JobStore for RedisStore {
    async fn load(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        let sent = arguments([&id, &""]);
        let answer = self
            .link
            .run(&LOAD, id.partition(), sent, Repeat::Safe)
            .await?;
        let job = items(answer).into_iter().next().unwrap_or(Value::Null);
        self.seal.decode_job(id, job)
    }

    async fn load_task(&self, id: &TaskId) -> Result<Option<Task>, StoreError> {
        Ok(self
            .tasks(std::slice::from_ref(id))
            .await?
            .into_iter()
            .next())
    }

    async fn load_tasks(&self, ids: &[TaskId]) -> Result<Vec<Task>, StoreError> {
        self.tasks(ids).await
    }

    async fn load_with_task(
        &self,
        id: JobId,
        task: &TaskId,
    ) -> Result<(Option<Job>, Option<Task>), StoreError> {
        if id.partition() != task.partition() {
            return Ok((self.load(id).await?, self.load_task(task).await?));
        }
        let sent = arguments([&id, task]);
        let answer = self
            .link
            .run(&LOAD, id.partition(), sent, Repeat::Safe)
            .await?;
        let mut answer = items(answer).into_iter();
        let job = self
            .seal
            .decode_job(id, answer.next().unwrap_or(Value::Null))?;
        let task = self
            .seal
            .decode_task(answer.next().unwrap_or(Value::Null))?;
        Ok((job, task))
    }

    async fn branches(&self, job: JobId, visit: u64) -> Result<Vec<Task>, StoreError> {
        self.latest(job, visit).await
    }

    async fn open_tasks(&self, job: JobId, limit: u32) -> Result<Vec<Task>, StoreError> {
        self.unended(job, limit).await
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        self.put(commit).await
    }

    async fn lease_task(&self, id: &TaskId, lease: Lease) -> Result<Option<Task>, StoreError> {
        self.lease(id, &lease).await
    }

    async fn extend_leases(
        &self,
        worker: &WorkerId,
        tasks: &[TaskId],
        until: Timestamp,
    ) -> Result<Vec<TaskId>, StoreError> {
        self.extend(worker, tasks, until).await
    }

    async fn release_task(&self, id: &TaskId, lease: Uuid) -> Result<Option<Task>, StoreError> {
        self.release(id, lease).await
    }

    async fn queued_tasks(
        &self,
        after: Option<&TaskId>,
        limit: u32,
    ) -> Result<Vec<Task>, StoreError> {
        self.queued(after, limit).await
    }

    async fn leased_tasks(&self, worker: &WorkerId) -> Result<Vec<Task>, StoreError> {
        self.leased(worker).await
    }

    async fn due(&self, now: Timestamp, limit: u32) -> Result<Due, StoreError> {
        self.look(now, limit).await
    }

    async fn take_outbox(
        &self,
        kind: MessageKind,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<OutboxItem>, StoreError> {
        self.claimed(kind, now, until, limit).await
    }

    async fn extend_outbox(&self, ids: &[Uuid], until: Timestamp) -> Result<(), StoreError> {
        self.extended(ids, until).await
    }

    async fn next_outbox(&self, kind: MessageKind) -> Result<Option<Timestamp>, StoreError> {
        self.next_message(kind).await
    }

    async fn outbox_length(&self, _limit: u32) -> Result<Option<u64>, StoreError> {
        self.messages_waiting().await.map(Some)
    }

    async fn settle_outbox(
        &self,
        id: Uuid,
        delivery: Delivery,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.settled(id, &delivery, now).await
    }

    async fn deliveries(&self, job: JobId, limit: u32) -> Result<Vec<DeliveryRecord>, StoreError> {
        self.log(job, limit).await
    }

    async fn data_stores(&self, blueprint: &str) -> Result<DataStores, StoreError> {
        self.data_of(blueprint).await
    }

    async fn deployment_id(&self, proposed: Uuid) -> Result<Uuid, StoreError> {
        self.id_of_deployment(proposed).await
    }

    async fn find_by_key(
        &self,
        client: &ClientId,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<KnownKey>, StoreError> {
        self.known_key(client, key, now).await
    }

    async fn list(&self, query: JobQuery) -> Result<Vec<Job>, StoreError> {
        self.listed(&query).await
    }

    async fn counts(
        &self,
        client: Option<&ClientId>,
    ) -> Result<BTreeMap<JobStatus, u64>, StoreError> {
        self.counted(client).await
    }

    async fn purge(&self, now: Timestamp, limit: u32) -> Result<Vec<JobId>, StoreError> {
        self.purged(now, limit).await
    }

    async fn put_blueprint(
        &self,
        name: &str,
        revision: &str,
        source: &str,
    ) -> Result<(), StoreError> {
        self.revision_kept(name, revision, source).await
    }

    async fn blueprint_source(
        &self,
        name: &str,
        revision: &str,
    ) -> Result<Option<String>, StoreError> {
        let sources = format!("{}bp", self.link.global());
        let asked = arguments([&sources, &pin(name, revision)]);
        Ok(text(self.link.call("HGET", asked, Repeat::Safe).await?))
    }

    async fn purge_blueprints(
        &self,
        in_use: &[BlueprintRevision],
    ) -> Result<Vec<BlueprintRevision>, StoreError> {
        self.revisions_forgotten(in_use).await
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.answers().await
    }

    fn server(&self) -> Option<String> {
        Some(self.description())
    }

    /// Also without a retention of its own: others, and this one before, may have had one when jobs ended.
    fn purges_early(&self) -> bool {
        true
    }

    fn refusal(&self) -> Option<String> {
        self.facts.refusal()
    }

    fn durability(&self) -> Durability {
        self.kept()
    }

    fn hints(&self) -> Hints {
        Some(self.hints.subscribe())
    }

    async fn tell(&self, news: &FleetNews) -> Result<(), StoreError> {
        self.hints.teller().tell_news(news).await
    }

    async fn close(&self) {
        self.leave_feed().await;
        let mut looking = std::mem::take(&mut *held(&self.looking));
        looking.shutdown().await;
        self.hints.close().await;
        self.link.close().await;
    }
}
