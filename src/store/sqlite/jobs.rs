//! `JobStore` on SQLite: each method is one read or one write, done elsewhere in this folder.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::params;
use uuid::Uuid;

use super::commit::Prepared;
use super::rows::first;
use super::{SqliteStore, outbox, queries, tasks};
use crate::base::{ClientId, JobId, TaskId, Timestamp, WorkerId};
use crate::domain::{Job, JobStatus, Lease, Task};
use crate::engine::DataStores;
use crate::store::{
    BlueprintRevision, Commit, CommitError, Committed, Delivery, DeliveryRecord, Due, Durability,
    FleetNews, JobQuery, JobStore, KnownKey, MessageKind, OutboxItem, StoreError, rules,
};

#[async_trait]
impl JobStore for SqliteStore {
    async fn load(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        if let Some(job) = self.resident.job(id) {
            return Ok(Some(Arc::unwrap_or_clone(job)));
        }
        self.read(move |db| queries::load(db, id)).await
    }

    async fn load_task(&self, id: &TaskId) -> Result<Option<Task>, StoreError> {
        if let Some(task) = self.resident.task(id) {
            return Ok(Some(Arc::unwrap_or_clone(task)));
        }
        let id = id.clone();
        self.read(move |db| tasks::read(db, &id)).await
    }

    async fn branches(&self, job: JobId, visit: u64) -> Result<Vec<Task>, StoreError> {
        self.read(move |db| tasks::branches(db, job, visit)).await
    }

    async fn open_tasks(&self, job: JobId, limit: u32) -> Result<Vec<Task>, StoreError> {
        self.read(move |db| tasks::open_of_job(db, job, limit))
            .await
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        let prepared = Prepared::new(commit, &self.numbers)?;
        self.write(move |db| prepared.apply(db)).await?
    }

    async fn lease_task(&self, id: &TaskId, lease: Lease) -> Result<Option<Task>, StoreError> {
        let id = id.clone();
        let leased = self.write(move |db| tasks::lease(db, &id, &lease)).await?;
        Ok(leased.map(Arc::unwrap_or_clone))
    }

    async fn extend_leases(
        &self,
        worker: &WorkerId,
        tasks: &[TaskId],
        until: Timestamp,
    ) -> Result<Vec<TaskId>, StoreError> {
        let (worker, ids) = (worker.clone(), tasks.to_vec());
        self.write(move |db| tasks::extend(db, &worker, &ids, until))
            .await
    }

    async fn release_task(&self, id: &TaskId, lease: Uuid) -> Result<Option<Task>, StoreError> {
        let id = id.clone();
        let released = self
            .write(move |db| tasks::change(db, &id, |task| rules::release_task(task, lease)))
            .await?;
        Ok(released.map(Arc::unwrap_or_clone))
    }

    async fn queued_tasks(
        &self,
        after: Option<&TaskId>,
        limit: u32,
    ) -> Result<Vec<Task>, StoreError> {
        let after = after.cloned();
        self.read(move |db| queries::queued(db, after.as_ref().map(TaskId::as_str), limit))
            .await
    }

    async fn leased_tasks(&self, worker: &WorkerId) -> Result<Vec<Task>, StoreError> {
        const SQL: &str = "SELECT body FROM tasks WHERE worker = ?1 ORDER BY id";
        let worker = worker.clone();
        self.read(move |db| tasks::find(db, SQL, [worker.as_str()]))
            .await
    }

    async fn due(&self, now: Timestamp, limit: u32) -> Result<Due, StoreError> {
        self.read(move |db| queries::due(db, now, limit)).await
    }

    async fn take_outbox(
        &self,
        kind: MessageKind,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<OutboxItem>, StoreError> {
        self.write(move |db| outbox::take(db, kind, now, until, limit))
            .await
    }

    async fn tell(&self, _news: &FleetNews) -> Result<(), StoreError> {
        Ok(())
    }

    async fn extend_outbox(&self, ids: &[Uuid], until: Timestamp) -> Result<(), StoreError> {
        let ids = ids.to_vec();
        self.write(move |db| outbox::extend(db, &ids, until)).await
    }

    async fn next_outbox(&self, kind: MessageKind) -> Result<Option<Timestamp>, StoreError> {
        self.read(move |db| outbox::next_due(db, kind)).await
    }

    async fn outbox_length(&self, limit: u32) -> Result<Option<u64>, StoreError> {
        self.read(move |db| outbox::length(db, limit))
            .await
            .map(Some)
    }

    async fn settle_outbox(
        &self,
        id: Uuid,
        delivery: Delivery,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |db| outbox::settle(db, id, &delivery, now))
            .await
    }

    async fn deliveries(&self, job: JobId, limit: u32) -> Result<Vec<DeliveryRecord>, StoreError> {
        self.read(move |db| outbox::deliveries(db, job, limit))
            .await
    }

    async fn data_stores(&self, blueprint: &str) -> Result<DataStores, StoreError> {
        let blueprint = blueprint.to_owned();
        self.read(move |db| queries::data_stores(db, &blueprint))
            .await
    }

    async fn deployment_id(&self, proposed: Uuid) -> Result<Uuid, StoreError> {
        const PUT: &str = "INSERT OR IGNORE INTO deployment (place, id) VALUES (1, ?1)";
        const GET: &str = "SELECT id FROM deployment";
        let found: Option<[u8; 16]> = self
            .write(move |db| {
                db.prepare_cached(PUT)?.execute([proposed.as_bytes()])?;
                first(db, GET, [])
            })
            .await?;
        let none = || StoreError::Corrupt("the deployment's id is not there".to_owned());
        found.map(Uuid::from_bytes).ok_or_else(none)
    }

    async fn find_by_key(
        &self,
        client: &ClientId,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<KnownKey>, StoreError> {
        let (client, key) = (client.clone(), key.to_owned());
        self.read(move |db| queries::find_key(db, client.as_str(), &key, now))
            .await
    }

    async fn list(&self, query: JobQuery) -> Result<Vec<Job>, StoreError> {
        self.read(move |db| queries::list(db, &query)).await
    }

    async fn counts(
        &self,
        client: Option<&ClientId>,
    ) -> Result<BTreeMap<JobStatus, u64>, StoreError> {
        let client = client.cloned();
        self.read(move |db| queries::counts(db, client.as_ref()))
            .await
    }

    async fn purge(&self, now: Timestamp, limit: u32) -> Result<Vec<JobId>, StoreError> {
        self.purge_jobs(now, limit).await
    }

    async fn put_blueprint(
        &self,
        name: &str,
        revision: &str,
        source: &str,
    ) -> Result<(), StoreError> {
        let row = [name.to_owned(), revision.to_owned(), source.to_owned()];
        self.write(move |db| {
            db.prepare_cached(
                "INSERT OR IGNORE INTO blueprints (name, revision, source) VALUES (?1, ?2, ?3)",
            )?
            .execute(rusqlite::params_from_iter(&row))?;
            Ok(())
        })
        .await
    }

    async fn blueprint_source(
        &self,
        name: &str,
        revision: &str,
    ) -> Result<Option<String>, StoreError> {
        const SQL: &str = "SELECT source FROM blueprints WHERE name = ?1 AND revision = ?2";
        let (name, revision) = (name.to_owned(), revision.to_owned());
        self.read(move |db| first(db, SQL, params![name, revision]))
            .await
    }

    async fn purge_blueprints(
        &self,
        in_use: &[BlueprintRevision],
    ) -> Result<Vec<BlueprintRevision>, StoreError> {
        self.purge_revisions(in_use).await
    }

    async fn health(&self) -> Result<(), StoreError> {
        // Only what writes something tells that the disk has no room. No family has this name, and nothing
        // is left of it but a changed page.
        const PUT: &str = "INSERT INTO revoked_families (family, until) VALUES (x'', 0)";
        const TAKE: &str = "DELETE FROM revoked_families WHERE family = x''";
        const READ: &str = "SELECT 1 FROM jobs LIMIT 1";
        self.write(|db| {
            db.prepare_cached(PUT)?.execute([])?;
            db.prepare_cached(TAKE)?.execute([])?;
            Ok(())
        })
        .await?;
        self.read(|db| first::<i64>(db, READ, [])).await?;
        Ok(())
    }

    fn durability(&self) -> Durability {
        self.durability_now()
    }

    async fn close(&self) {
        self.shut_down().await;
    }
}
