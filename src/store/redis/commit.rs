//! The commit: a step's fruit written out as the arguments of one script, and its answer read.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use fred::types::Value;

use super::feed_entry::Number;
use super::kept::Told;
use super::link::{Repeat, held};
use super::records::{self, branch_place, items, ordered, text, time};
use super::spread::{After, after_name, refused};
use super::{PARTITIONS, RedisStore, arguments, code};
use crate::base::{JobId, TaskId, Timestamp, WorkerId};
use crate::domain::Job;
use crate::engine::{Effect, Guard};
use crate::store::event_text::{Mark, write_out};
use crate::store::{Commit, CommitError, Committed, Message, StoreError, rules};

code!(COMMIT, "commit");

/// How long a month's count is kept after its last job, in ms.
pub(super) const QUOTA_KEPT_MS: i64 = 62 * 24 * 3_600_000;
/// The place of the first event of a row, and the text of all with where they are.
type Events = ((u64, u32), (Bytes, Vec<Mark>));
/// Sorts after everything that begins with the same visit.
const VISIT_END: &str = "z";
/// What a webhook is in the outbox.
pub(super) const WEBHOOK: &str = "webhook";

impl RedisStore {
    /// Stores all of the commit, or nothing.
    pub(super) async fn put(&self, commit: Commit) -> Result<Committed, CommitError> {
        rules::assert_well_formed(&commit);
        if self.is_spread(&commit) {
            return Box::pin(self.put_spread(&commit)).await;
        }
        let stored = self.put_in_partition(&commit, &[]).await?;
        stored.ok_or_else(|| refused().into())
    }

    /// Stores what lies in the job's partition, and notes what is to be done elsewhere afterwards;
    /// nothing when the job has been refused for good.
    pub(super) async fn put_in_partition(
        &self,
        commit: &Commit,
        after: &[After],
    ) -> Result<Option<Committed>, CommitError> {
        let mut outbox = Vec::new();
        let guards: Vec<&Guard> = commit
            .guards
            .iter()
            .filter(|one| self.is_here(one))
            .collect();
        let (history, kept) = self.history_of(commit);
        let sent = self.written_out(commit, (history, &guards, after), &mut outbox)?;
        let partition = commit.job.id.partition();
        let answer = match self.replicas {
            0 => {
                let run = self.link.run(&COMMIT, partition, sent, Repeat::Never);
                run.await
            }
            count => {
                // Large, and rarer than the other: it makes no commit's future larger.
                let run = self.link.run_replicated(&COMMIT, partition, sent, count);
                Box::pin(run).await
            }
        };
        // It may be stored all the same.
        let answer = answer.inspect_err(|_| self.hints.teller().tell_of_a_gap())?;
        let mut answer = items(answer).into_iter();
        match answer.next().and_then(text).as_deref() {
            Some("ok") => {}
            Some("conflict") => return Err(CommitError::Conflict),
            Some("never") => return Ok(None),
            Some("refused") => return Err(refusal(&guards, &answer.collect::<Vec<_>>())),
            _ => return Err(unreadable().into()),
        }
        let ended = answer.next().map(items).unwrap_or_default();
        let released = answer.next().unwrap_or(Value::Null);
        let told = answer.next().map(items).unwrap_or_default();
        let told = told.into_iter().filter_map(text);
        self.hints.teller().tell_of_job(commit.job.id, told);
        let number = answer.next().and_then(text);
        let number = number.and_then(|number| Number::read(&number));
        if let (Some((first, events)), Some(number)) = (kept, number) {
            let place = (partition % PARTITIONS, number);
            let told = Told::new(&commit.job, first, events);
            held(&self.kept).add(place, &told);
        }
        if let Some(id) = commit.settles.filter(|id| !is_beside(*id, commit.job.id)) {
            self.answered(id, commit.now).await?;
        }
        Ok(Some(Committed {
            ended_leases: pairs(ended),
            released: self.seal.decode_tasks(released)?,
            outbox,
        }))
    }

    /// Tells whether a guard is looked after by the commit's script.
    fn is_here(&self, guard: &Guard) -> bool {
        !(matches!(guard, Guard::Quota { .. }) && self.link.is_cluster())
    }

    fn written_out(
        &self,
        commit: &Commit,
        (history, guards, after): ([Value; 2], &[&Guard], &[After]),
        outbox: &mut Vec<uuid::Uuid>,
    ) -> Result<Vec<Value>, StoreError> {
        let job = &commit.job;
        let mut sent = arguments([
            &job.id,
            &commit.expected_revision,
            &job.revision,
            &commit.now.0,
        ]);
        sent.push(commit.outbox_due.0.to_string().into());
        sent.push(self.seal.encode_job(job)?);
        sent.push(match commit.expected_revision {
            0 => self.seal.encode_given(job)?,
            _ => "".into(),
        });
        sent.push(job.status.as_str().into());
        sent.push(time(job.wake_at));
        sent.push(time(job.keep_until.filter(|_| job.status.is_terminal())));
        sent.push(time(self.early(job)));
        sent.push(job.client.id.as_str().into());
        sent.push(pin(&job.blueprint, &job.blueprint_revision).into());
        sent.extend(history);
        let settles = commit.settles.filter(|id| is_beside(*id, job.id));
        sent.push(settles.map_or_else(String::new, |id| id.to_string()).into());
        sent.push(guards.len().to_string().into());
        for guard in guards {
            sent.extend(self.guard(guard));
        }
        let count_at = sent.len();
        sent.push("".into());
        let mut count = 0_u32;
        for (index, effect) in commit.effects.iter().enumerate() {
            if let Some(written) = self.effect(commit, index, effect, outbox)? {
                sent.extend(written);
                count += 1;
            }
        }
        for (index, one) in after.iter().enumerate() {
            sent.extend(arguments([&"after", &after_name(commit, index)]));
            sent.push(self.seal.encode(one)?);
            count += 1;
        }
        sent[count_at] = count.to_string().into();
        Ok(sent)
    }

    /// Returns when an ended job may go once the archive has it, if that is before its time.
    fn early(&self, job: &Job) -> Option<Timestamp> {
        let ended_at = job.ended_at.filter(|_| job.status.is_terminal())?;
        let early = ended_at.after(self.retention?);
        job.keep_until
            .is_some_and(|until| early < until)
            .then_some(early)
    }

    /// Writes the events of a commit as one row, its body and its place; returns what is to be kept of
    /// them once they are stored, too: nothing unless this process brings them over.
    fn history_of(&self, commit: &Commit) -> ([Value; 2], Option<Events>) {
        let events = commit.effects.iter().filter_map(|effect| match effect {
            Effect::Record(event) => Some(event.as_ref()),
            _ => None,
        });
        let Some(first) = events.clone().next() else {
            return (["".into(), "".into()], None);
        };
        let first = (first.revision, first.index);
        let (text, marks) = write_out(events);
        let text = Bytes::from(text);
        let is_kept = self.brings.load(Ordering::Acquire);
        let kept = is_kept.then(|| (first, (text.clone(), marks)));
        let body = Value::Bytes(self.seal.close_shared(text));
        ([body, row_place(first.0, first.1).into()], kept)
    }

    fn guard(&self, guard: &Guard) -> Vec<Value> {
        let (kind, values) = match guard {
            Guard::Idempotency { client, key } => {
                let name = self.key_name(client, &key.key);
                ("key", arguments([&name, &key.fingerprint, &key.until.0]))
            }
            Guard::Quota { client, quota } => {
                let (_, name) = self.quota_at(client, &quota.month);
                ("quota", arguments([&name, &quota.limit, &QUOTA_KEPT_MS]))
            }
            Guard::TaskHeldBy { id, worker } => ("held", arguments([id, worker])),
            Guard::TaskLeasedBy { id, lease } => ("leased", arguments([id, lease])),
            Guard::TaskDue { id, now } => ("due", arguments([id, &now.0])),
            Guard::JobAt { id, revision } => ("job", arguments([id, revision])),
        };
        std::iter::once(kind.into()).chain(values).collect()
    }

    fn effect(
        &self,
        commit: &Commit,
        index: usize,
        effect: &Effect,
        outbox: &mut Vec<uuid::Uuid>,
    ) -> Result<Option<Vec<Value>>, StoreError> {
        let mut message = |id: uuid::Uuid, kind: &str, message: &Message| {
            outbox.push(id);
            let mut sent = arguments([&"message", &id, &kind]);
            sent.push(self.seal.encode(message)?);
            Ok(Some(sent))
        };
        Ok(Some(match effect {
            Effect::PutTask(task) => {
                let fields = self.seal.encode_task(task)?;
                let place = records::place(task);
                let mut sent = arguments([&"put", &task.id, &place, &(fields.len() / 2)]);
                sent.extend(fields);
                sent
            }
            Effect::EndTask { id, answer, report } => {
                // `Answer::None` is what nobody was answered, as when a deadline has ended the task.
                let answer = match answer {
                    crate::domain::task::Answer::None => String::new(),
                    given => records::answer_text(*given),
                };
                let mut sent = arguments([&"end", id, &answer]);
                sent.push(match report {
                    Some(report) => self.seal.encode(report)?,
                    None => "".into(),
                });
                sent
            }
            Effect::ReleaseBranches { visit, from, to } => {
                let place = |branch: u32| branch_place(*visit, branch.saturating_add(1));
                arguments([&"release", &place(*from), &place(*to)])
            }
            Effect::EndTasks { visit } => {
                let from = ordered(*visit);
                arguments([&"end_all", &from, &format!("{from}{VISIT_END}")])
            }
            Effect::Signal(signal) => {
                let id = rules::signal_id(&commit.job, index);
                let kind = rules::signal_kind(signal);
                return message(id, kind, &Message::Signal(signal.clone()));
            }
            Effect::SendWebhook(webhook) => {
                return message(webhook.id, WEBHOOK, &Message::Webhook(webhook.clone()));
            }
            // Written before, all in one row.
            Effect::Record(_) => return Ok(None),
            // Written afterwards, where they lie.
            Effect::PutData { .. } if self.link.is_cluster() => return Ok(None),
            Effect::PutData { store, key, value } => {
                let (_, name) = self.data_at(&commit.job.blueprint);
                let field = format!("{store}\0{key}");
                let mut sent = arguments([&"data", &name, &field]);
                sent.push(self.seal.encode(value)?);
                sent
            }
        }))
    }
}

/// Returns where the row that begins with an event lies among those of its job.
pub(super) fn row_place(revision: u64, index: u32) -> String {
    format!("{}{}", ordered(revision), ordered(index.into()))
}

/// Returns a revision of a blueprint as one text.
pub(super) fn pin(name: &str, revision: &str) -> String {
    format!("{name}\0{revision}")
}

/// Tells whether a message lies in the job's partition, as those of its family do.
fn is_beside(message: uuid::Uuid, job: JobId) -> bool {
    message.as_bytes()[15] % PARTITIONS == job.partition() % PARTITIONS
}

/// Reads which guard was not met; its number comes first.
fn refusal(guards: &[&Guard], answer: &[Value]) -> CommitError {
    let said = |index: usize| answer.get(index).cloned().and_then(text);
    let number = said(0).and_then(|number| number.parse::<usize>().ok());
    match number.and_then(|number| guards.get(number.checked_sub(1)?)) {
        Some(Guard::Idempotency { .. }) => {
            let known = said(1).and_then(|id| id.parse::<JobId>().ok());
            match (known, said(2)) {
                (Some(job_id), Some(fingerprint)) => CommitError::KeyTaken {
                    job_id,
                    fingerprint,
                },
                _ => unreadable().into(),
            }
        }
        Some(Guard::Quota { quota, .. }) => CommitError::QuotaExceeded { limit: quota.limit },
        Some(
            Guard::TaskHeldBy { id, .. }
            | Guard::TaskLeasedBy { id, .. }
            | Guard::TaskDue { id, .. },
        ) => CommitError::TaskChanged(id.clone()),
        Some(Guard::JobAt { id, .. }) => CommitError::OtherJobChanged(*id),
        None => unreadable().into(),
    }
}

/// Returns the error of an answer that is none.
pub(super) fn unreadable() -> StoreError {
    StoreError::Corrupt("Redis: the answer to a commit is none".to_owned())
}

fn pairs(values: Vec<Value>) -> Vec<(WorkerId, TaskId)> {
    let texts: Vec<String> = values.into_iter().filter_map(text).collect();
    texts
        .chunks_exact(2)
        .map(|pair| (pair[0].as_str().into(), pair[1].as_str().into()))
        .collect()
}
