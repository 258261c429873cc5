//! `JobStore` in memory: each method is one look at, or one change of, the ordered maps.

use std::collections::{BTreeMap, HashSet};

use async_trait::async_trait;
use uuid::Uuid;

use super::{MemoryStore, State};
use crate::base::{ClientId, JobId, TaskId, Timestamp, WorkerId};
use crate::domain::{Job, JobStatus, Lease, Task, TaskStatus};
use crate::engine::DataStores;
use crate::store::{
    BlueprintRevision, Commit, CommitError, Committed, Delivery, DeliveryRecord, Due, Durability,
    FleetNews, JobQuery, JobStore, KnownKey, MessageKind, OutboxItem, StoreError, rules,
};

impl State {
    fn due(&self, now: Timestamp, limit: u32) -> Due {
        let limit = limit as usize;
        let jobs: Vec<JobId> = self
            .wakes
            .iter()
            .take_while(|(at, _)| *at <= now)
            .take(limit)
            .map(|(_, id)| *id)
            .collect();
        let tasks: Vec<Task> = self
            .tasks
            .by_due()
            .take_while(|(at, _)| *at <= now)
            .take(limit)
            .map(|(_, task)| task.clone())
            .collect();
        let next_job = self.wakes.iter().nth(jobs.len()).map(|(at, _)| *at);
        let next_task = self.tasks.by_due().nth(tasks.len()).map(|(at, _)| at);
        Due {
            jobs,
            tasks,
            next: next_job.into_iter().chain(next_task).min(),
        }
    }

    fn list(&self, query: &JobQuery) -> Vec<Job> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.jobs
            .range((Unbounded, query.after.map_or(Unbounded, Excluded)))
            .rev()
            .map(|(_, job)| job)
            .filter(|job| rules::matches(query, job))
            .skip(query.skip as usize)
            .take(query.limit as usize)
            .cloned()
            .collect()
    }

    fn purge(&mut self, now: Timestamp, limit: u32) -> Vec<JobId> {
        let mut over: Vec<(Option<Timestamp>, JobId)> = self
            .jobs
            .values()
            .filter(|job| rules::is_forgettable(job, now))
            .map(|job| (job.keep_until, job.id))
            .filter(|(_, id)| !self.outbox.is_pending_for(*id))
            .filter(|(_, id)| self.feed.as_ref().is_none_or(|feed| !feed.has(*id)))
            .collect();
        over.sort_unstable();
        over.truncate(limit as usize);
        let ids: Vec<JobId> = over.into_iter().map(|(_, id)| id).collect();
        for id in &ids {
            self.forget_job(*id);
        }
        self.keys.retain(|_, record| record.until > now);
        ids
    }

    fn purge_blueprints(&mut self, in_use: &[BlueprintRevision]) -> Vec<BlueprintRevision> {
        let pinned: HashSet<(&str, &str)> = in_use
            .iter()
            .map(|one| (one.name.as_str(), one.revision.as_str()))
            .chain(
                self.jobs
                    .values()
                    .map(|job| (job.blueprint.as_str(), job.blueprint_revision.as_str())),
            )
            .collect();
        let gone: Vec<BlueprintRevision> = self
            .blueprints
            .keys()
            .filter(|(name, revision)| !pinned.contains(&(name.as_str(), revision.as_str())))
            .map(|(name, revision)| BlueprintRevision {
                name: name.clone(),
                revision: revision.clone(),
            })
            .collect();
        for one in &gone {
            self.blueprints
                .remove(&(one.name.clone(), one.revision.clone()));
        }
        gone
    }
}

#[async_trait]
impl JobStore for MemoryStore {
    async fn load(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        Ok(self.state()?.jobs.get(&id).cloned())
    }

    async fn load_task(&self, id: &TaskId) -> Result<Option<Task>, StoreError> {
        Ok(self.state()?.tasks.get(id).cloned())
    }

    async fn branches(&self, job: JobId, visit: u64) -> Result<Vec<Task>, StoreError> {
        Ok(rules::latest_branches(
            self.state()?.tasks.of_visit(job, visit).cloned(),
        ))
    }

    async fn open_tasks(&self, job: JobId, limit: u32) -> Result<Vec<Task>, StoreError> {
        let state = self.state()?;
        let with_status = |held: bool| {
            state
                .tasks
                .of_job(job)
                .filter(move |task| match task.status {
                    TaskStatus::Held => held,
                    TaskStatus::Queued | TaskStatus::Leased => !held,
                    TaskStatus::Ended => false,
                })
        };
        Ok(with_status(false)
            .chain(with_status(true))
            .take(limit as usize)
            .cloned()
            .collect())
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        self.state()?.commit(commit)
    }

    async fn lease_task(&self, id: &TaskId, lease: Lease) -> Result<Option<Task>, StoreError> {
        let mut state = self.state()?;
        let leased = state.tasks.change(id, |task| {
            rules::lease_task(task, lease).then(|| task.clone())
        });
        Ok(leased.flatten())
    }

    async fn extend_leases(
        &self,
        worker: &WorkerId,
        tasks: &[TaskId],
        until: Timestamp,
    ) -> Result<Vec<TaskId>, StoreError> {
        let mut state = self.state()?;
        let mut held = Vec::new();
        for id in tasks {
            let extended = state
                .tasks
                .change(id, |task| rules::extend_lease(task, worker, until));
            if extended == Some(true) {
                held.push(id.clone());
            }
        }
        Ok(held)
    }

    async fn release_task(&self, id: &TaskId, lease: Uuid) -> Result<Option<Task>, StoreError> {
        let mut state = self.state()?;
        let released = state.tasks.change(id, |task| {
            rules::release_task(task, lease).then(|| task.clone())
        });
        Ok(released.flatten())
    }

    async fn queued_tasks(
        &self,
        after: Option<&TaskId>,
        limit: u32,
    ) -> Result<Vec<Task>, StoreError> {
        Ok(self
            .state()?
            .tasks
            .queued_after(after)
            .take(limit as usize)
            .cloned()
            .collect())
    }

    async fn leased_tasks(&self, worker: &WorkerId) -> Result<Vec<Task>, StoreError> {
        Ok(self.state()?.tasks.leased_to(worker).cloned().collect())
    }

    async fn due(&self, now: Timestamp, limit: u32) -> Result<Due, StoreError> {
        Ok(self.state()?.due(now, limit))
    }

    async fn take_outbox(
        &self,
        kind: MessageKind,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<OutboxItem>, StoreError> {
        Ok(self.state()?.outbox.take(kind, now, until, limit))
    }

    async fn tell(&self, _news: &FleetNews) -> Result<(), StoreError> {
        Ok(())
    }

    async fn extend_outbox(&self, ids: &[Uuid], until: Timestamp) -> Result<(), StoreError> {
        self.state()?.outbox.extend(ids, until);
        Ok(())
    }

    async fn next_outbox(&self, kind: MessageKind) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.state()?.outbox.next_due(kind))
    }

    async fn outbox_length(&self, limit: u32) -> Result<Option<u64>, StoreError> {
        Ok(Some(self.state()?.outbox.due_count().min(limit.into())))
    }

    async fn settle_outbox(
        &self,
        id: Uuid,
        delivery: Delivery,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.state()?.outbox.settle(id, delivery, now);
        Ok(())
    }

    async fn deliveries(&self, job: JobId, limit: u32) -> Result<Vec<DeliveryRecord>, StoreError> {
        Ok(self.state()?.outbox.deliveries(job, limit))
    }

    async fn data_stores(&self, blueprint: &str) -> Result<DataStores, StoreError> {
        let state = self.state()?;
        let Some(stores) = state.data.get(blueprint) else {
            return Ok(DataStores::new());
        };
        Ok(stores
            .iter()
            .map(|(store, values)| (store.clone(), values.clone().into_iter().collect()))
            .collect())
    }

    async fn deployment_id(&self, proposed: Uuid) -> Result<Uuid, StoreError> {
        Ok(*self.state()?.deployment.get_or_insert(proposed))
    }

    async fn find_by_key(
        &self,
        client: &ClientId,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<KnownKey>, StoreError> {
        let state = self.state()?;
        let record = state.keys.get(&(client.clone(), key.to_owned()));
        Ok(record
            .filter(|record| record.until > now)
            .map(|record| record.known.clone()))
    }

    async fn list(&self, query: JobQuery) -> Result<Vec<Job>, StoreError> {
        Ok(self.state()?.list(&query))
    }

    async fn counts(
        &self,
        client: Option<&ClientId>,
    ) -> Result<BTreeMap<JobStatus, u64>, StoreError> {
        let state = self.state()?;
        let mut counts = BTreeMap::new();
        for job in state.jobs.values() {
            if client.is_none_or(|client| *client == job.client.id) {
                *counts.entry(job.status).or_default() += 1;
            }
        }
        Ok(counts)
    }

    async fn purge(&self, now: Timestamp, limit: u32) -> Result<Vec<JobId>, StoreError> {
        Ok(self.state()?.purge(now, limit))
    }

    async fn put_blueprint(
        &self,
        name: &str,
        revision: &str,
        source: &str,
    ) -> Result<(), StoreError> {
        let mut state = self.state()?;
        let key = (name.to_owned(), revision.to_owned());
        state
            .blueprints
            .entry(key)
            .or_insert_with(|| source.to_owned());
        Ok(())
    }

    async fn blueprint_source(
        &self,
        name: &str,
        revision: &str,
    ) -> Result<Option<String>, StoreError> {
        let key = (name.to_owned(), revision.to_owned());
        Ok(self.state()?.blueprints.get(&key).cloned())
    }

    async fn purge_blueprints(
        &self,
        in_use: &[BlueprintRevision],
    ) -> Result<Vec<BlueprintRevision>, StoreError> {
        Ok(self.state()?.purge_blueprints(in_use))
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.state().map(drop)
    }

    fn durability(&self) -> Durability {
        Durability::None
    }

    async fn close(&self) {
        if let Ok(mut state) = self.state() {
            state.closed = true;
        }
    }
}
