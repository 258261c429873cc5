//! The one path by which a job changes: load, pure step, atomic commit, hints.

use std::sync::Arc;

use super::intake::Occasion;
use super::queue::Origin;
use super::{Applied, Inner, Reported, Runtime, RuntimeError};
use serde_json::json;
use uuid::Uuid;

use crate::base::{JobId, TaskId, WorkerId, crypto};
use crate::domain::{Event, EventKind, Job, Object, Task, TaskReport, TaskStatus};
use crate::engine::{self, Answer, Effect, Ignored, Input, Outcome, WorkerEvent, World};
use crate::observe::trace::Lap;
use crate::store::{CommitError, Committed, StoreError};

/// An input of which a part is read from the store anew for every try.
enum Request {
    /// Complete as it is.
    Ready(Input),
    /// A worker's result; the task's record is read with the job.
    Result {
        task_id: TaskId,
        worker: WorkerId,
        report: TaskReport,
    },
    /// A worker's event; likewise.
    Event(WorkerEvent),
    /// A task is due; likewise.
    Expiry { task_id: TaskId },
    /// The worker to which a task was leased by this lease has not got it; likewise.
    Loss { task_id: TaskId, lease: Uuid },
}

impl Request {
    /// Returns the task that it names, if any.
    fn task_id(&self) -> Option<&TaskId> {
        match self {
            Self::Ready(_) => None,
            Self::Result { task_id, .. }
            | Self::Expiry { task_id }
            | Self::Loss { task_id, .. } => Some(task_id),
            Self::Event(event) => event.task_id.as_ref(),
        }
    }

    /// Adds the task's record; nothing when it is about a task that is not known.
    fn complete(&self, task: Option<Task>) -> Option<Input> {
        Some(match self {
            Self::Ready(input) => input.clone(),
            Self::Result { worker, report, .. } => Input::TaskReported {
                task: Box::new(task?),
                worker: worker.clone(),
                report: report.clone(),
            },
            Self::Event(event) => Input::WorkerEvent {
                task: task.map(Box::new),
                event: event.clone(),
            },
            Self::Expiry { .. } => Input::TaskExpired {
                task: Box::new(task?),
            },
            Self::Loss { lease, .. } => {
                let is_by_it = |task: &Task| task.lease.as_ref().is_some_and(|l| l.id == *lease);
                Input::TaskLost {
                    task: Box::new(task.filter(is_by_it)?),
                }
            }
        })
    }
}

impl Runtime {
    /// Gives a job an input. What no longer counts is `Applied::Ignored`, not an error.
    pub async fn apply(&self, id: JobId, input: Input) -> Result<Applied, RuntimeError> {
        self.inner.apply(id, input).await
    }

    /// Takes a worker's result. Repeating it is safe: the first answer is given again.
    pub async fn report(
        &self,
        worker: &WorkerId,
        job: JobId,
        task: &TaskId,
        report: TaskReport,
    ) -> Result<Reported, RuntimeError> {
        let request = Request::Result {
            task_id: task.clone(),
            worker: worker.clone(),
            report,
        };
        let processed = self.inner.process(job, request, None).await;
        if matches!(
            processed,
            Ok(Applied::Ignored(_)) | Err(RuntimeError::JobNotFound)
        ) {
            // It has ended without this process, or the answer of the commit was lost.
            self.inner
                .matchmaker
                .holders(|holders| holders.remove_from(task, worker));
        }
        match processed {
            Ok(Applied::Advanced { answer, .. } | Applied::Ignored(Ignored::Repeated(answer))) => {
                Ok(Reported::Accepted(answer))
            }
            Ok(Applied::Ignored(reason)) => {
                self.inner.ports.metrics.ignored(reason);
                if let Err(error) = self.inner.record_ignored(job, worker, task, reason).await {
                    warn_of!(error, job.id = %job, task.id = %task, "an ignored result is not in the history");
                }
                Ok(Reported::Ignored(reason))
            }
            Err(RuntimeError::JobNotFound) => Ok(Reported::JobNotFound),
            Err(error) => Err(error),
        }
    }

    /// Takes a worker's event about a job. It also shows that the worker is at work on the task.
    pub async fn worker_event(
        &self,
        job: JobId,
        event: WorkerEvent,
    ) -> Result<Applied, RuntimeError> {
        if let Some(task_id) = &event.task_id {
            let held = std::slice::from_ref(task_id);
            self.inner.hear(&event.worker, held).await?;
        }
        self.inner.process(job, Request::Event(event), None).await
    }

    /// Takes a worker's event whose message may come again: once it has been taken, the same nonce
    /// is answered and does nothing. A message that failed is not remembered, so that its repetition
    /// counts.
    pub async fn worker_event_once(
        &self,
        job: JobId,
        event: WorkerEvent,
        nonce: &str,
    ) -> Result<Applied, RuntimeError> {
        let worker = event.worker.clone();
        let turn = self.inner.messages.take(job).await;
        if self.inner.came_before(&worker, nonce).await? {
            return Ok(Applied::Ignored(Ignored::Repeated(Answer::None)));
        }
        let applied = self.worker_event(job, event).await?;
        if matches!(applied, Applied::Advanced { .. }) {
            self.inner.remember(&worker, nonce).await;
        }
        drop(turn);
        Ok(applied)
    }
}

impl Inner {
    pub(super) async fn apply(
        self: &Arc<Self>,
        id: JobId,
        input: Input,
    ) -> Result<Applied, RuntimeError> {
        self.process(id, Request::Ready(input), None).await
    }

    /// Gives a job the input that a signal in the outbox carries; the commit settles the signal.
    pub(super) async fn apply_signal(
        self: &Arc<Self>,
        id: JobId,
        input: Input,
        message: Uuid,
    ) -> Result<Applied, RuntimeError> {
        self.process(id, Request::Ready(input), Some(message)).await
    }

    /// Deals with a task whose `due_at` has passed.
    pub(super) async fn expire(self: &Arc<Self>, task: &Task) -> Result<Applied, RuntimeError> {
        let request = Request::Expiry {
            task_id: task.id.clone(),
        };
        self.process(task.job_id, request, None).await
    }

    /// Deals with a task of which its worker says that it has not got it.
    pub(super) async fn lose(
        self: &Arc<Self>,
        task: &Task,
        lease: Uuid,
    ) -> Result<Applied, RuntimeError> {
        let request = Request::Loss {
            task_id: task.id.clone(),
            lease,
        };
        self.process(task.job_id, request, None).await
    }

    async fn process(
        self: &Arc<Self>,
        id: JobId,
        request: Request,
        settles: Option<Uuid>,
    ) -> Result<Applied, RuntimeError> {
        let _turn = self.turns.take(id).await;
        let mut ends_fan_out = false;
        let mut is_named = false;
        // Once more than for conflicts: to come back with a fan-out's branches.
        for _ in 0..=self.settings.conflict_retries {
            let (job, task) = match request.task_id() {
                Some(task) => self.ports.jobs.load_with_task(id, task).await?,
                None => (self.ports.jobs.load(id).await?, None),
            };
            let job = job.ok_or(RuntimeError::JobNotFound)?;
            if !std::mem::replace(&mut is_named, true) {
                self.ports.traces.name_in_log(&job.tracing_context);
            }
            let Some(input) = request.complete(task) else {
                return Ok(Applied::Ignored(Ignored::StaleTask));
            };
            let blueprint = self.pinned(&job).await?;
            let data = self.data_of(&blueprint).await?;
            let now = self.ports.clock.now();
            let branches = if ends_fan_out {
                Some(self.ports.jobs.branches(id, job.visit).await?)
            } else {
                None
            };
            let world = World {
                blueprint: &blueprint,
                data: &data,
                now,
                seed: self.seed(),
                limits: &self.settings.limits,
                public_url: &self.settings.public_url,
                branches: branches.as_deref(),
            };
            let revision = job.revision;
            let trace = self.ports.traces.step(&job, &input, || self.lap());
            let advance = match engine::step(&world, job, input) {
                Outcome::Ignored(reason) => return Ok(Applied::Ignored(reason)),
                Outcome::Advanced(advance) => *advance,
                Outcome::NeedsBranches => {
                    ends_fan_out = true;
                    continue;
                }
            };
            let answer = advance.answer;
            match self
                .commit(revision, advance, now, Occasion { settles, trace })
                .await
            {
                Ok(job) => return Ok(Applied::Advanced { job, answer }),
                // Another process was faster, or a heartbeat was: look again.
                Err(
                    CommitError::Conflict
                    | CommitError::TaskChanged(_)
                    | CommitError::OtherJobChanged(_),
                ) => {}
                Err(CommitError::Store(error)) => return Err(error.into()),
                Err(error @ (CommitError::KeyTaken { .. } | CommitError::QuotaExceeded { .. })) => {
                    // Only a new job has these guards.
                    return Err(StoreError::Corrupt(error.to_string()).into());
                }
            }
        }
        Err(RuntimeError::Busy)
    }

    /// Lets the hints of a commit go out. Whatever is lost here is found again by a scan.
    pub(super) fn after_commit(
        self: &Arc<Self>,
        job: &Job,
        effects: &[Effect],
        committed: Committed,
    ) {
        let events = effects.iter().filter_map(|effect| match effect {
            Effect::Record(event) => Some(event.as_ref().clone()),
            _ => None,
        });
        self.watchers.publish(job.id, events);
        self.exporting.wake(effects);
        if let Some(at) = job.wake_at {
            self.schedule.wake_at(at);
        }
        for effect in effects {
            match effect {
                Effect::PutTask(task) if task.status == TaskStatus::Queued => {
                    self.offer(task.as_ref().clone(), Origin::Here);
                }
                Effect::EndTask { id, answer, .. } => {
                    let holder = self.matchmaker.remove(id);
                    // Its own result was answered; for any other end it is at work in vain.
                    if let (Some(worker), Answer::None) = (holder, answer) {
                        self.tell_to_stop(&worker, id.clone(), job.id);
                    }
                }
                Effect::EndTasks { visit } => self.matchmaker.remove_visit(job.id, *visit),
                _ => {}
            }
        }
        for task in committed.released {
            self.offer(task, Origin::Here);
        }
        for (worker, task) in committed.ended_leases {
            self.matchmaker.remove(&task);
            self.tell_to_stop(&worker, task, job.id);
        }
        self.deliver_now(effects, committed.outbox);
    }

    fn tell_to_stop(&self, worker: &WorkerId, task_id: TaskId, job_id: JobId) {
        let notice = super::Notice::CancelTask { task_id, job_id };
        self.registry.notify(worker, notice);
    }

    /// Writes into the history that a result came that no longer counts. The same result again is
    /// the same event, so that a worker cannot fill the history.
    async fn record_ignored(
        &self,
        id: JobId,
        worker: &WorkerId,
        task: &TaskId,
        reason: Ignored,
    ) -> Result<(), RuntimeError> {
        let Some(job) = self.ports.jobs.load(id).await? else {
            return Ok(());
        };
        let digest = crypto::sha256(&[b"ignored", task.as_str().as_bytes()]);
        // The upper half of the places is never reached by a step's own events.
        let index = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]) | 1 << 31;
        let mut details = Object::new();
        details.insert("reason".to_owned(), json!(reason));
        let event = Event {
            event_id: Event::derive_id(id, job.revision, index),
            job_id: id,
            client: job.client.id,
            revision: job.revision,
            index,
            at: self.ports.clock.now(),
            kind: EventKind::TaskIgnored,
            state: job.state,
            previous_state: None,
            next_state: None,
            worker_id: Some(worker.clone()),
            task_id: Some(task.clone()),
            attempt: None,
            duration_ms: None,
            details,
        };
        Ok(self.ports.history.append(vec![event]).await?)
    }

    /// Makes a queued task known: to the timers, and to the matchmaker or the workers that wait.
    pub(super) fn offer(self: &Arc<Self>, task: Task, origin: Origin) {
        if let Some(at) = task.due_at() {
            self.schedule.wake_at(at);
        }
        let now = self.ports.clock.now();
        if task.available_at > now {
            self.schedule.wake_at(task.available_at);
        }
        self.match_task(task, origin, now);
    }

    /// Begins to measure a span.
    pub(super) fn lap(&self) -> Lap {
        Lap::begin(self.ports.clock.as_ref())
    }

    /// Returns when a lease that is given or extended now ends.
    pub(super) fn lease_until(&self) -> crate::base::Timestamp {
        self.ports.clock.now().after_ms(self.settings.lease_ms)
    }
}
