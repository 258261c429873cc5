//! The commit in SQLite: revision, guards, effects, in that order, in the writer's transaction.

use std::sync::Arc;

use rusqlite::{Connection, params};
use serde::Serialize;

use super::given;
use super::history::{Numbers, Run};
use super::resident::Transaction;
use super::rows::{self, first, int};
use super::{outbox, queries, tasks};
use crate::base::{JobId, TaskId, Timestamp, WorkerId};
use crate::domain::{Task, Webhook};
use crate::engine::{Effect, Guard, Signal};
use crate::store::given::{given, rest};
use crate::store::{Commit, CommitError, Committed, StoreError, rules};

/// A commit with its bodies already written out, which is the caller's time and not the writer's.
pub(super) struct Prepared {
    commit: Commit,
    /// What a new job was given.
    given_body: Option<String>,
    job_body: String,
    history: Option<Run>,
    numbers: Numbers,
    /// One for each effect, empty for those that have none.
    bodies: Vec<String>,
}

impl Prepared {
    /// Writes out the bodies.
    pub fn new(commit: Commit, numbers: &Numbers) -> Result<Self, StoreError> {
        rules::assert_well_formed(&commit);
        let given_body = (commit.expected_revision == 0)
            .then(|| rows::encode(&given(&commit.job)))
            .transpose()?;
        let job_body = rows::encode(&rest(&commit.job))?;
        let history = Run::of(&commit.effects, numbers)?;
        let bodies = commit.effects.iter().map(body).collect::<Result<_, _>>()?;
        Ok(Self {
            commit,
            given_body,
            job_body,
            history,
            numbers: numbers.clone(),
            bodies,
        })
    }

    /// Stores all of the commit, or returns why it may not be stored, having written nothing.
    pub fn apply(
        &self,
        db: &Transaction<'_>,
    ) -> Result<Result<Committed, CommitError>, StoreError> {
        if let Some(refusal) = self.refusal(db)? {
            return Ok(Err(refusal));
        }
        for guard in &self.commit.guards {
            self.take(db, guard)?;
        }
        if let Some(id) = self.commit.settles {
            outbox::remove_signal(db, id)?;
        }
        self.put_job(db)?;
        if let Some(history) = &self.history {
            history.insert(db, self.commit.job.id, &self.numbers)?;
        }
        let mut committed = Committed::default();
        for index in 0..self.commit.effects.len() {
            self.perform(db, index, &mut committed)?;
        }
        Ok(Ok(committed))
    }

    fn refusal(&self, db: &Transaction<'_>) -> Result<Option<CommitError>, StoreError> {
        let revision = revision(db, self.commit.job.id)?;
        if revision.unwrap_or(0) != self.commit.expected_revision {
            return Ok(Some(CommitError::Conflict));
        }
        for guard in &self.commit.guards {
            let refusal = check(db, guard, self.commit.now)?;
            if refusal.is_some() {
                return Ok(refusal);
            }
        }
        Ok(None)
    }

    fn take(&self, db: &Connection, guard: &Guard) -> Result<(), StoreError> {
        match guard {
            Guard::Idempotency { client, key } => {
                let job = self.commit.job.id.0.as_bytes();
                db.prepare_cached(
                    "INSERT OR REPLACE INTO idempotency_keys (client, name, job, fingerprint, until)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![client.as_str(), key.key, job, key.fingerprint, key.until.0])?;
            }
            Guard::Quota { client, quota } => {
                db.prepare_cached(
                    "INSERT INTO quotas (client, month, taken) VALUES (?1, ?2, 1)
                     ON CONFLICT DO UPDATE SET taken = taken + 1",
                )?
                .execute(params![client.as_str(), quota.month])?;
            }
            Guard::TaskHeldBy { .. }
            | Guard::TaskLeasedBy { .. }
            | Guard::TaskDue { .. }
            | Guard::JobAt { .. } => {}
        }
        Ok(())
    }

    fn put_job(&self, db: &Transaction<'_>) -> Result<(), StoreError> {
        let job = &self.commit.job;
        let given_bytes = self.given_body.as_ref().map_or(0, String::len);
        db.wrote_job(job, self.job_body.len() + given_bytes);
        let (id, revision) = (job.id.0.as_bytes(), int(job.revision));
        let (wake_at, keep_until) = (job.wake_at.map(|at| at.0), job.keep_until.map(|at| at.0));
        if self.commit.expected_revision > 0 {
            db.prepare_cached(
                "UPDATE jobs SET revision = ?2, status = ?3, wake_at = ?4, keep_until = ?5,
                 body = ?6 WHERE id = ?1",
            )?
            .execute(params![
                id,
                revision,
                job.status.as_str(),
                wake_at,
                keep_until,
                self.job_body
            ])?;
            return Ok(());
        }
        db.prepare_cached(
            "INSERT INTO jobs
             (id, revision, status, blueprint, client, created_at, wake_at, keep_until, body,
              blueprint_revision)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            id,
            revision,
            job.status.as_str(),
            job.blueprint,
            job.client.id.as_str(),
            job.created_at.0,
            wake_at,
            keep_until,
            self.job_body,
            job.blueprint_revision,
        ])?;
        if let Some(body) = &self.given_body {
            given::insert(db, job.id, body)?;
        }
        for (name, value) in &job.labels {
            db.prepare_cached("INSERT INTO labels (name, value, job) VALUES (?1, ?2, ?3)")?
                .execute(params![name, value, id])?;
        }
        Ok(())
    }

    fn perform(
        &self,
        db: &Transaction<'_>,
        index: usize,
        committed: &mut Committed,
    ) -> Result<(), StoreError> {
        let (job, now) = (&self.commit.job, self.commit.now);
        let body = self.bodies[index].as_str();
        match &self.commit.effects[index] {
            Effect::PutTask(task) => tasks::insert(db, task, body)?,
            Effect::EndTask { id, answer, report } => {
                tasks::change(db, id, |task| {
                    rules::end_task(task, *answer, report.as_ref());
                    true
                })?;
            }
            Effect::ReleaseBranches { visit, from, to } => {
                for mut task in tasks::held_branches(db, job.id, *visit, &(*from..*to))? {
                    task.release(now);
                    committed.released.push(task.clone());
                    tasks::update(db, Arc::new(task))?;
                }
            }
            Effect::EndTasks { visit } => {
                let open = tasks::open_of_visit(db, job.id, *visit)?;
                end_tasks(db, open, &mut committed.ended_leases)?;
            }
            Effect::Signal(signal) => {
                let id = rules::signal_id(job, index);
                let kind = rules::signal_kind(signal);
                outbox::insert(
                    db,
                    &outbox::NewRow {
                        id,
                        kind,
                        body,
                        commit: &self.commit,
                    },
                )?;
                committed.outbox.push(id);
            }
            Effect::SendWebhook(webhook) => {
                let (id, kind) = (webhook.id, outbox::WEBHOOK);
                outbox::insert(
                    db,
                    &outbox::NewRow {
                        id,
                        kind,
                        body,
                        commit: &self.commit,
                    },
                )?;
                committed.outbox.push(id);
            }
            // Written above, all in one row.
            Effect::Record(_) => {}
            Effect::PutData { store, key, .. } => {
                db.prepare_cached(
                    "INSERT OR REPLACE INTO data_stores (blueprint, store, name, value)
                     VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![job.blueprint, store, key, body])?;
            }
        }
        Ok(())
    }
}

/// A [`Message`](crate::store::Message) that is only written: its form must be the same.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum MessageRef<'a> {
    Signal(&'a Signal),
    Webhook(&'a Webhook),
}

fn body(effect: &Effect) -> Result<String, StoreError> {
    match effect {
        Effect::PutTask(task) => rows::encode(task),
        Effect::PutData { value, .. } => rows::encode(value),
        Effect::Signal(signal) => rows::encode(&MessageRef::Signal(signal)),
        Effect::SendWebhook(webhook) => rows::encode(&MessageRef::Webhook(webhook)),
        Effect::Record(_)
        | Effect::EndTask { .. }
        | Effect::ReleaseBranches { .. }
        | Effect::EndTasks { .. } => Ok(String::new()),
    }
}

/// Returns the job's revision, when there is such a job.
fn revision(db: &Transaction<'_>, id: JobId) -> Result<Option<u64>, StoreError> {
    if let Some(job) = db.known_job(id) {
        return Ok(Some(job.revision));
    }
    let known: Option<i64> = first(
        db,
        "SELECT revision FROM jobs WHERE id = ?1",
        [id.0.as_bytes()],
    )?;
    Ok(known.map(|revision| u64::try_from(revision).unwrap_or(0)))
}

fn check(
    db: &Transaction<'_>,
    guard: &Guard,
    now: Timestamp,
) -> Result<Option<CommitError>, StoreError> {
    match guard {
        Guard::Idempotency { client, key } => {
            let known = queries::find_key(db, client.as_str(), &key.key, now)?;
            Ok(known.map(|known| CommitError::KeyTaken {
                job_id: known.job_id,
                fingerprint: known.fingerprint,
            }))
        }
        Guard::Quota { client, quota } => {
            let taken: Option<i64> = first(
                db,
                "SELECT taken FROM quotas WHERE client = ?1 AND month = ?2",
                params![client.as_str(), quota.month],
            )?;
            let is_left = taken.unwrap_or(0) < int(quota.limit);
            Ok((!is_left).then_some(CommitError::QuotaExceeded { limit: quota.limit }))
        }
        Guard::TaskHeldBy { id, worker } => {
            let is_held = tasks::load(db, id)?.is_some_and(|task| rules::is_held_by(&task, worker));
            Ok((!is_held).then(|| CommitError::TaskChanged(id.clone())))
        }
        Guard::TaskLeasedBy { id, lease } => {
            let task = tasks::load(db, id)?;
            let is_leased = task.is_some_and(|task| rules::is_leased_by(&task, *lease));
            Ok((!is_leased).then(|| CommitError::TaskChanged(id.clone())))
        }
        Guard::JobAt { id, revision } => {
            let is_at = self::revision(db, *id)? == Some(*revision);
            Ok((!is_at).then_some(CommitError::OtherJobChanged(*id)))
        }
        Guard::TaskDue { id, now } => {
            let due_at = tasks::load(db, id)?.and_then(|task| task.due_at());
            let is_due = due_at.is_some_and(|at| at <= *now);
            Ok((!is_due).then(|| CommitError::TaskChanged(id.clone())))
        }
    }
}

fn end_tasks(
    db: &Transaction<'_>,
    open: Vec<Task>,
    ended: &mut Vec<(WorkerId, TaskId)>,
) -> Result<(), StoreError> {
    for mut task in open {
        if let Some(holder) = rules::end_open_task(&mut task) {
            ended.push((holder, task.id.clone()));
        }
        tasks::update(db, Arc::new(task))?;
    }
    Ok(())
}
