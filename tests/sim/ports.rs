//! The job store as one incarnation of an orchestrator sees it: the true one, behind the gate.
//! Whatever the true store takes is written down in the same instant.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use avtomatika::base::{ClientId, JobId, TaskId, Timestamp, WorkerId};
use avtomatika::domain::{Job, JobStatus, Lease, Task};
use avtomatika::engine::DataStores;
use avtomatika::store::{
    BlueprintRevision, Commit, CommitError, Committed, Delivery, DeliveryRecord, Due, Durability,
    FleetNews, JobQuery, JobStore, KnownKey, MessageKind, OutboxItem, StoreError,
};
use uuid::Uuid;

use crate::gate::Gate;
use crate::seen::Seen;

/// The stores behind a gate.
#[derive(Clone)]
pub struct Ports {
    /// The gate.
    pub gate: Arc<Gate>,
}

/// Passes a call on: the gate, the call's name, and what is done behind the gate.
macro_rules! through {
    ($self:ident, $call:literal, |$world:ident, $gate:ident| $operation:expr) => {{
        let $gate = Arc::clone(&$self.gate);
        let $world = Arc::clone(&$gate.world);
        $self
            .gate
            .pass($call, Box::pin(async move { $operation }))
            .await?
    }};
}
pub(crate) use through;

#[async_trait]
impl JobStore for Ports {
    async fn load(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        through!(self, "load", |world, _gate| world.store.load(id).await)
    }

    async fn load_task(&self, id: &TaskId) -> Result<Option<Task>, StoreError> {
        let id = id.clone();
        through!(self, "load task", |world, _gate| {
            let task = world.store.load_task(&id).await?;
            Ok(world.saboteur.loaded(task))
        })
    }

    async fn branches(&self, job: JobId, visit: u64) -> Result<Vec<Task>, StoreError> {
        through!(self, "branches", |world, _gate| world
            .store
            .branches(job, visit)
            .await)
    }

    async fn open_tasks(&self, job: JobId, limit: u32) -> Result<Vec<Task>, StoreError> {
        through!(self, "open tasks", |world, _gate| world
            .store
            .open_tasks(job, limit)
            .await)
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        through!(self, "commit", |world, gate| {
            let commit = world.saboteur.before_commit(commit);
            if world.saboteur.pretends(&commit) {
                return Ok(Committed::default());
            }
            let committed = match world.store.commit(commit.clone()).await {
                Ok(committed) => committed,
                Err(error) => {
                    gate.note(&format!("commit of {} refused: {error}", commit.job.id));
                    return Err(error);
                }
            };
            let more = world
                .saboteur
                .after_commit(world.store.as_ref(), &commit)
                .await;
            let settles = commit.settles;
            gate.see(Seen::Committed {
                commit: Box::new(commit),
                committed: committed.clone(),
            });
            if let Some(id) = settles {
                let delivery = Delivery::Delivered;
                gate.see(Seen::Settled { id, delivery });
            }
            for (commit, committed) in more {
                let commit = Box::new(commit);
                gate.see(Seen::Committed { commit, committed });
            }
            Ok(committed)
        })
    }

    async fn lease_task(&self, id: &TaskId, lease: Lease) -> Result<Option<Task>, StoreError> {
        let id = id.clone();
        through!(self, "lease", |world, gate| {
            let leased = world.store.lease_task(&id, lease.clone()).await?;
            if leased.is_some() {
                gate.see(Seen::Leased { task: id, lease });
            }
            Ok(leased)
        })
    }

    async fn extend_leases(
        &self,
        worker: &WorkerId,
        tasks: &[TaskId],
        until: Timestamp,
    ) -> Result<Vec<TaskId>, StoreError> {
        let (worker, tasks) = (worker.clone(), tasks.to_vec());
        through!(self, "extend", |world, gate| {
            let held = world.store.extend_leases(&worker, &tasks, until).await?;
            if !held.is_empty() {
                gate.see(Seen::Extended {
                    worker,
                    tasks: held.clone(),
                    until,
                });
            }
            Ok(held)
        })
    }

    async fn release_task(&self, id: &TaskId, lease: Uuid) -> Result<Option<Task>, StoreError> {
        let id = id.clone();
        through!(self, "release", |world, gate| {
            let released = world.store.release_task(&id, lease).await?;
            if released.is_some() {
                gate.see(Seen::Released { task: id, lease });
            }
            Ok(released)
        })
    }

    async fn queued_tasks(
        &self,
        after: Option<&TaskId>,
        limit: u32,
    ) -> Result<Vec<Task>, StoreError> {
        let after = after.cloned();
        through!(self, "queued tasks", |world, _gate| {
            world.store.queued_tasks(after.as_ref(), limit).await
        })
    }

    async fn leased_tasks(&self, worker: &WorkerId) -> Result<Vec<Task>, StoreError> {
        let worker = worker.clone();
        through!(self, "leased tasks", |world, _gate| world
            .store
            .leased_tasks(&worker)
            .await)
    }

    async fn due(&self, now: Timestamp, limit: u32) -> Result<Due, StoreError> {
        through!(self, "due", |world, _gate| {
            let due = world.store.due(now, limit).await?;
            Ok(world.saboteur.due(due))
        })
    }

    async fn take_outbox(
        &self,
        kind: MessageKind,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<OutboxItem>, StoreError> {
        through!(self, "take outbox", |world, _gate| {
            world.store.take_outbox(kind, now, until, limit).await
        })
    }

    async fn tell(&self, news: &FleetNews) -> Result<(), StoreError> {
        let news = news.clone();
        through!(self, "tell", |world, _gate| world.store.tell(&news).await)
    }

    async fn extend_outbox(&self, ids: &[Uuid], until: Timestamp) -> Result<(), StoreError> {
        let ids = ids.to_vec();
        through!(self, "extend outbox", |world, _gate| world
            .store
            .extend_outbox(&ids, until)
            .await)
    }

    async fn next_outbox(&self, kind: MessageKind) -> Result<Option<Timestamp>, StoreError> {
        through!(self, "next outbox", |world, _gate| world
            .store
            .next_outbox(kind)
            .await)
    }

    async fn settle_outbox(
        &self,
        id: Uuid,
        delivery: Delivery,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        through!(self, "settle", |world, gate| {
            world.store.settle_outbox(id, delivery.clone(), now).await?;
            gate.see(Seen::Settled { id, delivery });
            Ok(())
        })
    }

    async fn deliveries(&self, job: JobId, limit: u32) -> Result<Vec<DeliveryRecord>, StoreError> {
        through!(self, "deliveries", |world, _gate| world
            .store
            .deliveries(job, limit)
            .await)
    }

    async fn data_stores(&self, blueprint: &str) -> Result<DataStores, StoreError> {
        let name = blueprint.to_owned();
        through!(self, "data stores", |world, _gate| world
            .store
            .data_stores(&name)
            .await)
    }

    async fn deployment_id(&self, proposed: Uuid) -> Result<Uuid, StoreError> {
        through!(self, "deployment id", |world, _gate| world
            .store
            .deployment_id(proposed)
            .await)
    }

    async fn find_by_key(
        &self,
        client: &ClientId,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<KnownKey>, StoreError> {
        let (client, key) = (client.clone(), key.to_owned());
        through!(self, "find by key", |world, _gate| {
            world.store.find_by_key(&client, &key, now).await
        })
    }

    async fn list(&self, query: JobQuery) -> Result<Vec<Job>, StoreError> {
        through!(self, "list", |world, _gate| world.store.list(query).await)
    }

    async fn counts(
        &self,
        client: Option<&ClientId>,
    ) -> Result<BTreeMap<JobStatus, u64>, StoreError> {
        let client = client.cloned();
        through!(self, "counts", |world, _gate| world
            .store
            .counts(client.as_ref())
            .await)
    }

    async fn purge(&self, now: Timestamp, limit: u32) -> Result<Vec<JobId>, StoreError> {
        through!(self, "purge", |world, _gate| world
            .store
            .purge(now, limit)
            .await)
    }

    async fn put_blueprint(
        &self,
        name: &str,
        revision: &str,
        source: &str,
    ) -> Result<(), StoreError> {
        let (name, revision) = (name.to_owned(), revision.to_owned());
        let source = source.to_owned();
        through!(self, "put blueprint", |world, _gate| {
            world.store.put_blueprint(&name, &revision, &source).await
        })
    }

    async fn purge_blueprints(
        &self,
        in_use: &[BlueprintRevision],
    ) -> Result<Vec<BlueprintRevision>, StoreError> {
        let in_use = in_use.to_vec();
        through!(self, "purge blueprints", |world, _gate| {
            world.store.purge_blueprints(&in_use).await
        })
    }

    async fn blueprint_source(
        &self,
        name: &str,
        revision: &str,
    ) -> Result<Option<String>, StoreError> {
        let (name, revision) = (name.to_owned(), revision.to_owned());
        through!(self, "blueprint source", |world, _gate| {
            world.store.blueprint_source(&name, &revision).await
        })
    }

    async fn health(&self) -> Result<(), StoreError> {
        through!(self, "health", |world, _gate| world.store.health().await)
    }

    fn durability(&self) -> Durability {
        Durability::Fsync
    }

    async fn close(&self) {
        // The true store stays open for the others.
        self.gate.close();
    }
}
