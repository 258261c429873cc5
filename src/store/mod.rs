//! Floor 4: the ports to what lasts, cut by what must be atomic together, and their adapters.
//!
//! A store decides nothing about a job: it keeps what a step came to and hands it out again.
//! [`JobStore::commit`] is the only way a job changes. One conformance suite
//! (`tests/store_suite.rs`) runs against every adapter.

pub mod archive;
pub mod blob_dir;
mod blob_keys;
pub mod blob_port;
pub mod blob_s3;
mod durability;
mod error;
mod event_text;
pub mod feed_port;
mod given;
mod hint;
mod job_text;
mod known;
pub mod memory;
mod message;
pub mod offload;
mod partial;
pub mod redis;
pub mod rules;
pub mod sqlite;
mod text;
pub mod worker_port;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::base::{ClientId, JobId, TaskId, Timestamp, WorkerId};
use crate::domain::{Event, Job, JobStatus, Lease, Task};
use crate::engine::{DataStores, Effect, Guard};
use crate::observe::Standing;

pub use archive::Archive;
pub use blob_dir::DirBlobStore;
pub use blob_port::{BlobBody, BlobError, BlobInfo, BlobRight, BlobStore, PRESIGN_MAX};
pub use blob_s3::{S3Addressing, S3BlobStore, S3Settings};
pub use durability::Durability;
pub use error::{CommitError, StoreError};
pub use event_text::EventText;
pub use feed_port::{FeedBatch, HistoryFeed};
pub use hint::{FleetNews, HINTS_MAX, Hint, Hints};
pub use job_text::JobText;
pub use known::{BlueprintRevision, Due, KnownKey};
pub use memory::MemoryStore;
pub use message::{Message, MessageKind, OutboxItem};
pub use offload::Offloading;
pub use redis::{RedisSettings, RedisStore};
pub use sqlite::{SqliteArchive, SqliteSettings, SqliteStore, Synchronous};
pub use text::Text;
pub use worker_port::{RefreshOutcome, TokenKind, TokenRecord, WorkerStore};

/// One step's fruit, to be stored all together or not at all.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// The stored revision that the step started from; 0 when the job is new.
    pub expected_revision: u64,
    /// The job as it is to be. Its id, client, blueprint, labels, initial data, policy, trace context
    /// and time of creation never change.
    pub job: Arc<Job>,
    /// What goes with it, in order.
    pub effects: Arc<Vec<Effect>>,
    /// What must still be true.
    pub guards: Vec<Guard>,
    /// The step's time, for rows that need one.
    pub now: Timestamp,
    /// When the outbox rows are first due for a claim: later than `now`, because the shell that
    /// commits delivers them itself at once and a scan is only for what a crash leaves behind.
    pub outbox_due: Timestamp,
    /// The signal that this step answers: it leaves the outbox with the commit. One that has left
    /// already is no reason to refuse.
    pub settles: Option<Uuid>,
}

/// What the shell is told of a commit.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Committed {
    /// Leases that `EndTasks` has ended: the workers are to be told.
    pub ended_leases: Vec<(WorkerId, TaskId)>,
    /// Branches that `ReleaseBranches` has queued.
    pub released: Vec<Task>,
    /// Outbox rows that were written, one for each `Signal` and `SendWebhook`, in their order.
    pub outbox: Vec<Uuid>,
}

/// How a try at delivering an outbox item ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Delivery {
    /// Done: the item leaves the queue. A webhook stays in the delivery log.
    Delivered,
    /// Again at that time.
    Retry {
        /// When.
        at: Timestamp,
        /// What went wrong, for the delivery log.
        reason: String,
    },
    /// Given up: a dead letter, kept in the delivery log.
    Dead {
        /// Why.
        reason: String,
    },
}

/// One webhook in the delivery log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeliveryRecord {
    /// `webhook-id` on the wire.
    pub id: Uuid,
    /// The job.
    pub job_id: JobId,
    /// The event's name.
    pub event: String,
    /// Where it goes.
    pub url: String,
    /// `pending`, `delivered` or `dead`.
    pub status: String,
    /// Tries so far.
    pub attempts: u32,
    /// What the last failed try said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it is tried next, or was tried last.
    pub updated_at: Timestamp,
}

/// Which jobs to list; newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobQuery {
    /// Only this client's; none is everybody's.
    pub client: Option<ClientId>,
    /// Only in one of these; empty is any.
    pub statuses: Vec<JobStatus>,
    /// Only of this blueprint.
    pub blueprint: Option<String>,
    /// Created at or after.
    pub created_from: Option<Timestamp>,
    /// Created before.
    pub created_to: Option<Timestamp>,
    /// All of these labels.
    pub labels: BTreeMap<String, String>,
    /// Continue after this job.
    pub after: Option<JobId>,
    /// Leave out so many first; they are passed over, not read.
    pub skip: u32,
    /// At most so many.
    pub limit: u32,
}

/// Jobs, their tasks, the outbox and what guards them.
#[async_trait]
pub trait JobStore: Send + Sync + 'static {
    /// Returns the job.
    async fn load(&self, id: JobId) -> Result<Option<Job>, StoreError>;

    /// Tells whether there is such a job; reads nothing of it that the store keeps elsewhere.
    async fn is_there(&self, id: JobId) -> Result<bool, StoreError> {
        Ok(self.load(id).await?.is_some())
    }

    /// Returns the task, in whatever status.
    async fn load_task(&self, id: &TaskId) -> Result<Option<Task>, StoreError>;

    /// Returns those of the tasks that are there, in whatever status, in the order of the ids: for
    /// filling an index.
    async fn load_tasks(&self, ids: &[TaskId]) -> Result<Vec<Task>, StoreError> {
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            found.extend(self.load_task(id).await?);
        }
        Ok(found)
    }

    /// Returns both at once, which is one way to a store that is elsewhere and not two.
    async fn load_with_task(
        &self,
        id: JobId,
        task: &TaskId,
    ) -> Result<(Option<Job>, Option<Task>), StoreError> {
        Ok((self.load(id).await?, self.load_task(task).await?))
    }

    /// Returns every latest attempt of the visit's branches, by branch. Superseded attempts (ended
    /// without a report) are left out.
    async fn branches(&self, job: JobId, visit: u64) -> Result<Vec<Task>, StoreError>;

    /// Returns the tasks of the job that have not ended, queued or leased first in branch order,
    /// at most `limit`.
    async fn open_tasks(&self, job: JobId, limit: u32) -> Result<Vec<Task>, StoreError>;

    /// Stores a step's fruit, all of it or nothing; checks the revision, then the guards.
    ///
    /// Invariants: I1, I7, I12. `EndTask` keeps the record (status `ended`, lease holder, answer
    /// and, for branches, the report) and drops its parameters. What an effect does to a task is
    /// written once for all adapters, in [`rules`].
    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError>;

    /// Gives a queued task to a worker; nothing when it is no longer queued.
    async fn lease_task(&self, id: &TaskId, lease: Lease) -> Result<Option<Task>, StoreError>;

    /// Puts off the end of the worker's leases on these tasks; returns those that it does hold.
    async fn extend_leases(
        &self,
        worker: &WorkerId,
        tasks: &[TaskId],
        until: Timestamp,
    ) -> Result<Vec<TaskId>, StoreError>;

    /// Ends that lease, whose worker never got the task: queued again, as it was. Nothing when the
    /// task is not leased by it, though the same worker may have it by another.
    async fn release_task(&self, id: &TaskId, lease: Uuid) -> Result<Option<Task>, StoreError>;

    /// Returns queued tasks in id order after `after`, at most `limit`: for filling an index. What cannot be
    /// read is passed over; none come only when none is left.
    async fn queued_tasks(
        &self,
        after: Option<&TaskId>,
        limit: u32,
    ) -> Result<Vec<Task>, StoreError>;

    /// Returns the tasks leased to the worker, as they are stored: of what they hold only ids and leases
    /// are for use. Whoever goes to work with one asks for it again.
    async fn leased_tasks(&self, worker: &WorkerId) -> Result<Vec<Task>, StoreError>;

    /// Returns what is due at `now`, oldest first, at most `limit` of each; tasks as they are stored, as
    /// with [`JobStore::leased_tasks`]. Tasks that cannot be read are passed over.
    async fn due(&self, now: Timestamp, limit: u32) -> Result<Due, StoreError>;

    /// Claims outbox items of a kind that are due, oldest first, until `until`: no one else gets them
    /// before.
    async fn take_outbox(
        &self,
        kind: MessageKind,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<OutboxItem>, StoreError>;

    /// Puts off the end of claims. An item that is settled or due later stays as it is.
    async fn extend_outbox(&self, ids: &[Uuid], until: Timestamp) -> Result<(), StoreError>;

    /// Returns when the next outbox item of a kind is due, if any: claimed ones at the end of their claim.
    async fn next_outbox(&self, kind: MessageKind) -> Result<Option<Timestamp>, StoreError>;

    /// Returns how many outbox items are still to be delivered, counted up to `limit`; nothing when
    /// the store does not count them.
    async fn outbox_length(&self, _limit: u32) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }

    /// Records how a try ended.
    async fn settle_outbox(
        &self,
        id: Uuid,
        delivery: Delivery,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Returns the job's webhooks with how they stand, oldest first, at most `limit`.
    async fn deliveries(&self, job: JobId, limit: u32) -> Result<Vec<DeliveryRecord>, StoreError>;

    /// Returns a blueprint's data stores as written so far; what was never written is absent.
    async fn data_stores(&self, blueprint: &str) -> Result<DataStores, StoreError>;

    /// Returns the id of the deployment whose jobs these are: the proposed one if it has none yet. All that
    /// use this store get the same, for as long as it keeps what it was told.
    async fn deployment_id(&self, proposed: Uuid) -> Result<Uuid, StoreError>;

    /// Returns what a key stands for, unless it is past its time.
    async fn find_by_key(
        &self,
        client: &ClientId,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<KnownKey>, StoreError>;

    /// Lists jobs, newest first. A value that the store keeps elsewhere stands there as a reference.
    async fn list(&self, query: JobQuery) -> Result<Vec<Job>, StoreError>;

    /// Counts jobs by status; none counts everybody's.
    async fn counts(
        &self,
        client: Option<&ClientId>,
    ) -> Result<BTreeMap<JobStatus, u64>, StoreError>;

    /// Deletes ended jobs whose time (`Job::keep_until`) has passed, with their tasks, history and
    /// deliveries, and forgotten keys; at most `limit` jobs; returns which. A job with messages
    /// that are still to be delivered stays until they are settled, and one of which entries wait
    /// in the feed until they are acknowledged.
    async fn purge(&self, now: Timestamp, limit: u32) -> Result<Vec<JobId>, StoreError>;

    /// Tells whether jobs may be purged before their time, once an archive has all of them.
    fn purges_early(&self) -> bool {
        false
    }

    /// Keeps a revision's source, so that its jobs can go on after the file has changed.
    async fn put_blueprint(
        &self,
        name: &str,
        revision: &str,
        source: &str,
    ) -> Result<(), StoreError>;

    /// Returns a revision's source.
    async fn blueprint_source(
        &self,
        name: &str,
        revision: &str,
    ) -> Result<Option<String>, StoreError>;

    /// Forgets the revisions that no job is pinned to, but for those of which jobs may still be
    /// made; returns which, in order.
    async fn purge_blueprints(
        &self,
        in_use: &[BlueprintRevision],
    ) -> Result<Vec<BlueprintRevision>, StoreError>;

    /// Tells whether reads and writes work just now.
    async fn health(&self) -> Result<(), StoreError>;

    /// Tells whether it is away, as its calls have seen it.
    fn standing(&self) -> Standing {
        Standing::default()
    }

    /// Tells how much a crash may cost.
    fn durability(&self) -> Durability;

    /// Says in one line what server keeps the jobs, and how; nothing where there is none.
    fn server(&self) -> Option<String> {
        None
    }

    /// Says why it is not to be trusted with jobs, although it takes them.
    fn refusal(&self) -> Option<String> {
        None
    }

    /// Returns what other processes on the store do from now on.
    fn hints(&self) -> Hints {
        None
    }

    /// Tells other processes on the store, if there are any.
    async fn tell(&self, news: &FleetNews) -> Result<(), StoreError>;

    /// Writes what is under way, answers it and stops; later calls are `Unavailable`.
    async fn close(&self);
}

/// History. Losing it never blocks a job.
#[async_trait]
pub trait HistoryStore: Send + Sync + 'static {
    /// Appends events; one whose id is known is left as it is. What a commit records is never
    /// appended before that commit.
    async fn append(&self, events: Vec<Event>) -> Result<(), StoreError>;

    /// Returns the job's events in order after (revision, index), at most `limit`.
    async fn by_job(
        &self,
        job: JobId,
        after: Option<(u64, u32)>,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError>;
}
