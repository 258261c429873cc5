//! Floor 3: the engine. Decides everything about a job and does nothing.
//!
//! One external input is one pure [`step()`]: the job and what is known go in, the new job and the
//! effects that it wants come out. The engine reads no clock, draws no random number, performs no
//! I/O, logs nothing and never waits; `now` and entropy are data. Nothing from outside can make it
//! fail: what no longer counts is [`Ignored`], what goes wrong in a blueprint ends the job.

mod advance;
mod approval;
pub mod child;
pub mod codes;
mod dispatch;
mod ending;
pub mod explain;
mod failure;
mod fanout;
pub mod invariants;
mod lifecycle;
mod matching;
mod passage;
mod report;
pub mod select;
mod size;
pub mod step;
pub mod submission;
mod wait;
mod webhook;
mod worker_event;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::base::{ClientId, JobId, TaskId, Timestamp, WorkerId};
use crate::blueprint::Blueprint;
pub use crate::domain::task::Answer;
use crate::domain::task::RetryPolicy;
use crate::domain::{Event, Job, Object, Task, TaskReport, Webhook};

pub use child::{ChildEnd, ChildStart};
pub use step::{create, step};
pub use submission::{IdempotencyKey, Quota, Submission, SubmitError};

/// The content of a blueprint's data stores: store, key, value.
pub type DataStores = BTreeMap<String, Object>;

/// Every bound that the engine keeps, with its unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// State entries of one job, unless the job or its blueprint allows fewer.
    pub max_transitions: u32,
    /// Levels of children below a client's job.
    pub max_depth: u32,
    /// Branches of one fan-out.
    pub branches_max: u32,
    /// Longest run of a task that names no other, in ms.
    pub execution_timeout_ms: u64,
    /// Attempts and back-off of a task that names no others.
    pub retry: RetryPolicy,
    /// Deliveries that may be lost, on the way to a worker or with it.
    pub max_deliveries: u32,
    /// Serialised size of `state_history`, a result, parameters or an event, in bytes.
    pub payload_bytes_max: usize,
    /// Serialised size of all parameters, or all results, of one fan-out together, in bytes.
    pub aggregation_bytes_max: usize,
    /// Serialised size of an event's details, in bytes.
    pub event_details_bytes_max: usize,
    /// How long ended jobs are kept, in ms.
    pub retention_ms: u64,
    /// Loss of reputation for breaking a contract.
    pub penalty_contract: f64,
    /// Loss of reputation for a permanent failure.
    pub penalty_failure: f64,
    /// Gain of reputation for a success.
    pub reward_success: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_transitions: 100,
            max_depth: 10,
            branches_max: 10_000,
            execution_timeout_ms: 300_000,
            retry: RetryPolicy::default(),
            max_deliveries: 3,
            payload_bytes_max: 1 << 20,
            aggregation_bytes_max: 64 << 20,
            event_details_bytes_max: 4096,
            retention_ms: 30 * 24 * 3_600_000,
            penalty_contract: 0.2,
            penalty_failure: 0.05,
            reward_success: 0.001,
        }
    }
}

/// All that a step may know besides the job and the input.
#[derive(Debug, Clone, Copy)]
pub struct World<'a> {
    /// The job's own revision of its blueprint.
    pub blueprint: &'a Blueprint,
    /// The blueprint's data stores as they are.
    pub data: &'a DataStores,
    /// Read once by the shell.
    pub now: Timestamp,
    /// 32 unpredictable bytes, for the one token that a step may mint.
    pub seed: [u8; 32],
    /// The bounds.
    pub limits: &'a Limits,
    /// Where clients reach this server, before links; empty leaves links without a host.
    pub public_url: &'a str,
    /// The records of the visit's branches, once [`Outcome::NeedsBranches`] has asked for them.
    pub branches: Option<&'a [Task]>,
}

/// Something that has happened and that a job may care about.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one input lives at a time")]
pub enum Input {
    /// A worker has ended a task. The task is its record as the store has it now.
    TaskReported {
        /// The record.
        task: Box<Task>,
        /// Who says so, authenticated.
        worker: WorkerId,
        /// What it says.
        report: TaskReport,
    },
    /// A task's `due_at` has passed: its lease, or one of its deadlines.
    TaskExpired {
        /// The record.
        task: Box<Task>,
    },
    /// A task was leased to a worker, and its worker says that it has not got it.
    TaskLost {
        /// The record.
        task: Box<Task>,
    },
    /// A worker says something of its task, or of the job.
    WorkerEvent {
        /// The task that it names, when the store knows it.
        task: Option<Box<Task>>,
        /// The event.
        event: WorkerEvent,
    },
    /// A person has decided. Whoever received it has checked that they may.
    Decided {
        /// The visit that the decision was asked for: one that comes late does not decide the
        /// job's next question.
        visit: u64,
        /// One of the state's.
        decision: String,
        /// Merged into the job's metadata, after the form has been checked.
        metadata: Option<Object>,
        /// Replaces the job's.
        security: Option<Value>,
    },
    /// A named event from outside.
    EventReceived {
        /// Its name.
        name: String,
        /// Its payload, seen as `event`.
        payload: Value,
    },
    /// A child has ended.
    ChildEnded(ChildEnd),
    /// The job's `wake_at` has passed.
    Woken,
    /// Someone wants the job to stop.
    Cancel {
        /// In their words, for the history.
        reason: String,
    },
    /// Someone wants an ended, failed or quarantined job to go on from the state where it failed.
    Retry,
}

/// A worker's event. Source: wire-protocol §8.5.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerEvent {
    /// The worker's id for it.
    pub id: String,
    /// `progress` or the skill's own.
    pub event_type: String,
    /// Its payload.
    pub payload: Object,
    /// Who sends it, authenticated.
    pub worker: WorkerId,
    /// Which task it is about.
    pub task_id: Option<TaskId>,
    /// When it was made, in the worker's words.
    pub timestamp: Option<i64>,
}

/// An input for another job, stored with the step that caused it and delivered at least once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "signal", rename_all = "snake_case")]
pub enum Signal {
    /// Create this child. The shell loads the parent for what is inherited.
    StartChild(ChildStart),
    /// Tell the parent.
    ChildEnded {
        /// The parent.
        parent: JobId,
        /// What happened.
        end: ChildEnd,
    },
    /// Stop the child.
    CancelChild {
        /// The child.
        child: JobId,
        /// For its history.
        reason: String,
    },
}

/// What a step wants done, all of it in the same transaction as the job.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "a step ends few tasks; what it makes many of is boxed"
)]
pub enum Effect {
    /// Store a new attempt: queued, or held back by a fan-out's `limit`.
    PutTask(Box<Task>),
    /// The attempt is over. Its record stays, without its parameters, to answer resends.
    EndTask {
        /// Which.
        id: TaskId,
        /// What the worker is answered, now and when it asks again.
        answer: Answer,
        /// Kept for branches until the fan-out ends.
        report: Option<TaskReport>,
    },
    /// Queue these branches of the visit, which were held: `Task::release` on each.
    ReleaseBranches {
        /// The visit.
        visit: u64,
        /// The first branch.
        from: u32,
        /// One past the last branch.
        to: u32,
    },
    /// End every task of the visit that has not ended; workers at work on one are told.
    EndTasks {
        /// The visit.
        visit: u64,
    },
    /// Give another job an input, or start a child.
    Signal(Signal),
    /// Tell the client.
    SendWebhook(Box<Webhook>),
    /// Write a line of history.
    Record(Arc<Event>),
    /// Write to a data store of the job's blueprint.
    PutData {
        /// The store.
        store: String,
        /// The key.
        key: String,
        /// The value.
        value: Value,
    },
}

/// What must still be true when the step is committed.
#[derive(Debug, Clone, PartialEq)]
pub enum Guard {
    /// No job has this key yet.
    Idempotency {
        /// Whose key.
        client: ClientId,
        /// The key.
        key: IdempotencyKey,
    },
    /// The client has a job left this month; takes it.
    Quota {
        /// Whose.
        client: ClientId,
        /// How many.
        quota: Quota,
    },
    /// The task is still leased to this worker (I4).
    TaskHeldBy {
        /// Which.
        id: TaskId,
        /// By whom.
        worker: WorkerId,
    },
    /// The task is still with its worker, and by this lease.
    TaskLeasedBy {
        /// Which.
        id: TaskId,
        /// The lease's id.
        lease: Uuid,
    },
    /// The task's `due_at` is still not after this time: no heartbeat has extended it meanwhile.
    TaskDue {
        /// Which.
        id: TaskId,
        /// When it was seen to be due.
        now: Timestamp,
    },
    /// Another job, the parent, is still at the revision at which it was seen to wait for this one.
    JobAt {
        /// Which.
        id: JobId,
        /// Its revision.
        revision: u64,
    },
}

/// Why an input changes nothing. The texts are the wire's where it has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ignored {
    /// The same result came before; this was the answer.
    Repeated(Answer),
    /// The task is another worker's.
    WorkerMismatch,
    /// The job is past that task or attempt.
    StaleTask,
    /// The job has ended.
    JobAlreadyTerminated,
    /// The job was cancelled.
    JobCancelled,
    /// The job ended by a deadline.
    DeadlineExceeded,
    /// The job does not wait for this.
    NotWaiting,
    /// The job has no way out by that decision.
    UnknownDecision,
    /// The answer does not match the approval's form.
    InvalidForm,
    /// Not due yet.
    NotDue,
    /// Only a failed or quarantined job can be retried.
    NotRetryable,
}

/// A step's fruit.
#[derive(Debug, Clone, PartialEq)]
pub struct Advance {
    /// The job, with its revision already raised.
    pub job: Job,
    /// What it wants.
    pub effects: Vec<Effect>,
    /// What must still be true.
    pub guards: Vec<Guard>,
    /// For the worker, when the input was its result.
    pub answer: Answer,
    /// Change of the worker's reputation; applied after the commit, lost at worst with a crash.
    pub reputation: Option<(WorkerId, f64)>,
}

/// What a step came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Something to commit.
    Advanced(Box<Advance>),
    /// Nothing to do.
    Ignored(Ignored),
    /// The input ends a fan-out, which takes all its branches: the same step again, with them in
    /// [`World::branches`]. Only then are they read, so that a branch's cost does not grow.
    NeedsBranches,
}

#[cfg(test)]
mod tests;
