//! New jobs: a client's request, or a parent's child.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use uuid::Uuid;

use super::outbox::Answered;
use super::{Created, Inner, NewJob, Runtime, RuntimeError};
use crate::base::{JobId, Timestamp};
use crate::blueprint::Blueprint;
use crate::domain::Job;
use crate::engine::{
    self, Advance, ChildStart, Guard, IdempotencyKey, Input, Quota, Submission, World, child,
};
use crate::observe::trace::StepTrace;
use crate::store::{Commit, CommitError, StoreError, rules};

impl Runtime {
    /// Creates a job of the newest revision and runs it to its first wait; it is stored before
    /// this returns.
    ///
    /// Errors: the client's to mend are `UnknownBlueprint`, `Submit`, `KeyReused` and
    /// `QuotaExceeded`; after `Store` the same request with the same idempotency key is safe.
    pub async fn submit(&self, blueprint: &str, new: NewJob) -> Result<Created, RuntimeError> {
        if self.inner.closed.load(Ordering::Acquire) {
            return Err(RuntimeError::ShuttingDown);
        }
        let newest = self.inner.blueprints.newest(blueprint).ok_or_else(|| {
            RuntimeError::UnknownBlueprint {
                name: blueprint.to_owned(),
            }
        })?;
        let now = self.inner.ports.clock.now();
        let mut id = self.inner.ports.entropy.job_id(now);
        if let Some((key, _)) = &new.idempotency {
            id = id.in_partition(rules::key_partition(&new.client.id, key));
        }
        let submission = submission(id, now, new, self.inner.settings.idempotency_ms);
        let fingerprint = submission
            .idempotency
            .as_ref()
            .map(|key| key.fingerprint.clone());
        match self
            .inner
            .create(&newest, submission, now, Cause::default())
            .await
        {
            Ok(()) => Ok(Created {
                job_id: id,
                repeated: false,
            }),
            Err(CreateError::Refused(CommitError::KeyTaken {
                job_id,
                fingerprint: known,
            })) => {
                if Some(known) == fingerprint {
                    Ok(Created {
                        job_id,
                        repeated: true,
                    })
                } else {
                    Err(RuntimeError::KeyReused { job_id })
                }
            }
            Err(CreateError::Refused(CommitError::QuotaExceeded { limit })) => {
                Err(RuntimeError::QuotaExceeded { limit })
            }
            Err(CreateError::Refused(CommitError::Store(error))) => Err(error.into()),
            // Two random ids were the same, or a guard that a new job does not have: try again.
            Err(CreateError::Refused(
                CommitError::Conflict
                | CommitError::TaskChanged(_)
                | CommitError::OtherJobChanged(_),
            )) => Err(RuntimeError::Busy),
            Err(CreateError::Runtime(error)) => Err(error),
        }
    }
}

/// What a commit stands in.
#[derive(Default)]
pub(super) struct Occasion {
    /// The signal that it answers.
    pub(super) settles: Option<Uuid>,
    /// What its spans are made of.
    pub(super) trace: Option<Box<StepTrace>>,
}

/// What a child's creation depends on and answers; nothing for a client's job.
#[derive(Default)]
struct Cause {
    guard: Option<Guard>,
    settles: Option<Uuid>,
}

/// Why a job was not created.
enum CreateError {
    /// The commit did not go through.
    Refused(CommitError),
    /// It did not come to a commit.
    Runtime(RuntimeError),
}

impl<E: Into<RuntimeError>> From<E> for CreateError {
    fn from(error: E) -> Self {
        Self::Runtime(error.into())
    }
}

impl Inner {
    async fn create(
        self: &Arc<Self>,
        blueprint: &Blueprint,
        submission: Submission,
        now: Timestamp,
        cause: Cause,
    ) -> Result<(), CreateError> {
        let data = self.data_of(blueprint).await?;
        let world = World {
            blueprint,
            data: &data,
            now,
            seed: self.seed(),
            limits: &self.settings.limits,
            public_url: &self.settings.public_url,
            branches: None,
        };
        let trace = self
            .ports
            .traces
            .creation(&submission.tracing_context, || self.lap());
        let mut advance = engine::create(&world, submission).map_err(RuntimeError::from)?;
        advance.guards.extend(cause.guard);
        let settles = cause.settles;
        self.commit(0, advance, now, Occasion { settles, trace })
            .await
            .map_err(CreateError::Refused)?;
        Ok(())
    }

    /// Starts the child that a parent asked for. Safe to repeat: the child's id is derived, and a
    /// parent that has moved on starts nothing.
    pub(super) async fn start_child(
        self: &Arc<Self>,
        start: &ChildStart,
        message: Uuid,
    ) -> Result<Answered, RuntimeError> {
        let Some(parent) = self.ports.jobs.load(start.parent).await? else {
            return Ok(Answered::Without);
        };
        self.ports.traces.name_in_log(&parent.tracing_context);
        let waits = matches!(
            parent.waiting,
            Some(crate::domain::Waiting::Child { job_id }) if job_id == start.child
        );
        if !waits || parent.visit != start.visit {
            return Ok(Answered::Without);
        }
        if !self.blueprints.are_read() {
            // Left over from before a restart: its blueprint may yet be found.
            return Err(RuntimeError::Busy);
        }
        let Some(blueprint) = self.blueprints.newest(&start.blueprint) else {
            return self
                .child_not_started(start, message, "there is no such blueprint")
                .await;
        };
        let now = self.ports.clock.now();
        // A parent that gives the child up just now must not leave it behind, running for nobody.
        let awaited = Guard::JobAt {
            id: parent.id,
            revision: parent.revision,
        };
        match self
            .create(
                &blueprint,
                child::submission(&parent, start, &self.settings.limits),
                now,
                Cause {
                    guard: Some(awaited),
                    settles: Some(message),
                },
            )
            .await
        {
            Ok(()) => Ok(Answered::InCommit),
            // A conflict means that an earlier delivery has created it.
            Err(CreateError::Refused(CommitError::Conflict)) => Ok(Answered::Without),
            Err(CreateError::Runtime(RuntimeError::Submit(error))) => {
                self.child_not_started(start, message, &error.to_string())
                    .await
            }
            // Delivered again soon, when the parent may wait still.
            Err(CreateError::Refused(CommitError::OtherJobChanged(_))) => Err(RuntimeError::Busy),
            Err(CreateError::Refused(CommitError::Store(error))) => Err(error.into()),
            Err(CreateError::Refused(error)) => {
                Err(StoreError::Unavailable(error.to_string()).into())
            }
            Err(CreateError::Runtime(error)) => Err(error),
        }
    }

    async fn child_not_started(
        self: &Arc<Self>,
        start: &ChildStart,
        message: Uuid,
        reason: &str,
    ) -> Result<Answered, RuntimeError> {
        if self.ports.jobs.is_there(start.child).await? {
            // Whatever a newer revision says to its input: an earlier delivery has created it.
            return Ok(Answered::Without);
        }
        let end = Input::ChildEnded(child::refused(start, reason));
        self.answer_signal(start.parent, end, message).await
    }

    /// Stores an advance and lets the hints go out.
    pub(super) async fn commit(
        self: &Arc<Self>,
        expected_revision: u64,
        advance: Advance,
        now: Timestamp,
        occasion: Occasion,
    ) -> Result<Arc<Job>, CommitError> {
        let Occasion { settles, mut trace } = occasion;
        let Advance {
            job,
            mut effects,
            guards,
            reputation,
            ..
        } = advance;
        let reservations = self.reserve(&mut effects, now);
        if let Some(trace) = &mut trace {
            trace.commit_begins();
        }
        let (job, effects) = (Arc::new(job), Arc::new(effects));
        let commit = Commit {
            expected_revision,
            job: Arc::clone(&job),
            effects: Arc::clone(&effects),
            guards,
            now,
            outbox_due: now.after_ms(super::outbox::CLAIM_MS),
            settles,
        };
        let committed = match self.ports.jobs.commit(commit).await {
            Ok(committed) => committed,
            Err(error) => {
                // Nobody knows whether the store has written it when the store is in trouble; then
                // dropping the reservations takes back what may have been leased.
                if !matches!(error, CommitError::Store(_)) {
                    reservations.refused();
                }
                return Err(error);
            }
        };
        reservations.stored();
        if let Some(trace) = &trace {
            let traces = &self.ports.traces;
            traces.stepped(trace, &job, &effects, &committed.ended_leases);
        }
        self.after_commit(&job, &effects, committed);
        if let Some((worker, delta)) = &reputation {
            self.registry.queue_reputation(worker, *delta);
        }
        Ok(job)
    }

    /// Returns fresh entropy for one step.
    pub(super) fn seed(&self) -> [u8; 32] {
        let mut seed = [0_u8; 32];
        self.ports.entropy.fill(&mut seed);
        seed
    }
}

fn submission(id: JobId, now: Timestamp, new: NewJob, idempotency_ms: u64) -> Submission {
    Submission {
        id,
        client: new.client,
        initial_data: new.initial_data,
        webhook_url: new.webhook_url,
        dispatch_timeout_ms: new.dispatch_timeout_ms,
        result_timeout_ms: new.result_timeout_ms,
        policy: new.policy,
        security: new.security,
        metadata: new.metadata,
        data_metadata: new.data_metadata,
        max_transitions: new.max_transitions,
        labels: new.labels,
        tracing_context: new.tracing_context,
        depth: 0,
        parent: None,
        idempotency: new.idempotency.map(|(key, fingerprint)| IdempotencyKey {
            key,
            fingerprint,
            until: now.after_ms(idempotency_ms),
        }),
        quota: new.quota.map(|limit| Quota {
            month: now.to_rfc3339()[..7].to_owned(),
            limit,
        }),
    }
}
