//! Tasks: their leases, and the orders in which they are looked for.

use std::collections::BTreeMap;

use fred::types::Value;
use uuid::Uuid;

use super::link::{Code, Repeat};
use super::records::{bytes, items, ordered, text};
use super::{PARTITIONS, RedisStore, arguments, code};
use crate::base::{JobId, TaskId, Timestamp, WorkerId};
use crate::domain::{Lease, Task, TaskStatus};
use crate::store::{StoreError, rules};

code!(LEASE, "lease");
code!(RELEASE, "release");
code!(EXTEND, "extend");
code!(TASKS, "tasks");
code!(PLACES, "places");
code!(LEASED, "leased");

/// Tasks that one look at a job brings.
const PAGE: usize = 500;

impl RedisStore {
    /// Gives a queued task to a worker.
    pub(super) async fn lease(
        &self,
        id: &TaskId,
        lease: &Lease,
    ) -> Result<Option<Task>, StoreError> {
        let mut sent = arguments([id, &lease.worker, &lease.id]);
        sent.extend(arguments([
            &lease.since.0,
            &lease.until.0,
            &lease.deadline.0,
        ]));
        let leased = self.one(&LEASE, id, sent, Repeat::Never).await;
        let leased = leased.inspect_err(|_| self.hints.teller().tell_of_a_gap())?;
        if leased.is_some() {
            self.hints.teller().tell_of_task('l', id);
        }
        Ok(leased)
    }

    /// Takes a task back from whoever has it by that lease.
    pub(super) async fn release(
        &self,
        id: &TaskId,
        lease: Uuid,
    ) -> Result<Option<Task>, StoreError> {
        let sent = arguments([id, &lease]);
        let released = self.one(&RELEASE, id, sent, Repeat::Never).await;
        let released = released.inspect_err(|_| self.hints.teller().tell_of_a_gap())?;
        if released.is_some() {
            self.hints.teller().tell_of_task('q', id);
        }
        Ok(released)
    }

    async fn one(
        &self,
        code: &Code,
        id: &TaskId,
        sent: Vec<Value>,
        repeat: Repeat,
    ) -> Result<Option<Task>, StoreError> {
        let answer = self.link.run(code, id.partition(), sent, repeat).await?;
        self.seal.decode_task(answer)
    }

    /// Puts off the end of the worker's leases; returns those that it has, in the order asked.
    pub(super) async fn extend(
        &self,
        worker: &WorkerId,
        tasks: &[TaskId],
        until: Timestamp,
    ) -> Result<Vec<TaskId>, StoreError> {
        let runs = by_partition(tasks).into_iter().map(|(partition, ids)| {
            let mut sent = arguments([worker, &until.0]);
            sent.extend(ids.iter().map(|(_, id)| Value::from(id.as_str())));
            self.link.run(&EXTEND, partition, sent, Repeat::Safe)
        });
        let answers = futures::future::try_join_all(runs).await?;
        let held: std::collections::HashSet<String> = answers
            .into_iter()
            .flat_map(items)
            .filter_map(text)
            .collect();
        let is_held = |id: &&TaskId| held.contains(id.as_str());
        Ok(tasks.iter().filter(is_held).cloned().collect())
    }

    /// Reads tasks by their ids, in that order; those that are not there are left out.
    pub(super) async fn tasks(&self, ids: &[TaskId]) -> Result<Vec<Task>, StoreError> {
        let found = self.stored_tasks(ids).await?.into_iter();
        let found = found.map(|(_, task)| task).collect();
        Ok(self.readable_tasks(Value::Array(found)))
    }

    /// Likewise, as they are stored.
    pub(super) async fn stored_tasks<'a>(
        &self,
        ids: &'a [TaskId],
    ) -> Result<Vec<(&'a TaskId, Value)>, StoreError> {
        let runs = by_partition(ids)
            .into_iter()
            .map(|(partition, ids)| async move {
                let sent = ids.iter().map(|(_, id)| Value::from(id.as_str())).collect();
                let answer = self.link.run(&TASKS, partition, sent, Repeat::Safe).await?;
                Ok::<_, StoreError>(ids.into_iter().zip(items(answer)).collect())
            });
        let mut found: Vec<((usize, &TaskId), Value)> = futures::future::try_join_all(runs)
            .await?
            .into_iter()
            .flat_map(|found: Vec<_>| found)
            .collect();
        found.sort_by_key(|((index, _), _)| *index);
        Ok(found
            .into_iter()
            .map(|((_, id), task)| (id, task))
            .collect())
    }

    /// Reads the tasks of a job, or of one visit of it, by visit, branch and attempt.
    pub(super) async fn tasks_of(
        &self,
        job: JobId,
        visit: Option<u64>,
    ) -> Result<Vec<Task>, StoreError> {
        let (mut from, to) = match visit {
            Some(visit) => (
                format!("[{}", ordered(visit)),
                format!("({}z", ordered(visit)),
            ),
            None => ("-".to_owned(), "+".to_owned()),
        };
        let mut found = Vec::new();
        loop {
            let sent = arguments([&job, &from, &to, &PAGE]);
            let answer = self
                .link
                .run(&PLACES, job.partition(), sent, Repeat::Safe)
                .await?;
            let mut answer = items(answer).into_iter();
            let last = answer.next().and_then(bytes);
            let tasks = items(answer.next().unwrap_or(Value::Null));
            let is_full = tasks.len() >= PAGE;
            found.extend(self.seal.decode_tasks(Value::Array(tasks))?);
            match last.and_then(|last| String::from_utf8(last).ok()) {
                Some(last) if is_full => from = format!("({last}"),
                _ => return Ok(found),
            }
        }
    }

    /// Returns the tasks of the job that have not ended, those under way first.
    pub(super) async fn unended(&self, job: JobId, limit: u32) -> Result<Vec<Task>, StoreError> {
        let mut tasks = self.tasks_of(job, None).await?;
        tasks.retain(|task| task.status != TaskStatus::Ended);
        tasks.sort_by_key(|task| task.status == TaskStatus::Held);
        tasks.truncate(limit as usize);
        Ok(tasks)
    }

    /// Returns the latest attempt of each branch.
    pub(super) async fn latest(&self, job: JobId, visit: u64) -> Result<Vec<Task>, StoreError> {
        Ok(rules::latest_branches(
            self.tasks_of(job, Some(visit)).await?,
        ))
    }

    /// Returns the tasks leased to the worker, by id.
    pub(super) async fn leased(&self, worker: &WorkerId) -> Result<Vec<Task>, StoreError> {
        let answers = self.link.run_on_all(&LEASED, &arguments([worker])).await?;
        let mut tasks: Vec<Task> = answers
            .into_iter()
            .flat_map(|answer| self.readable_tasks(answer))
            .collect();
        tasks.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(tasks)
    }

    /// Returns queued tasks in id order after one; none when none is left that can be read.
    pub(super) async fn queued(
        &self,
        after: Option<&TaskId>,
        limit: u32,
    ) -> Result<Vec<Task>, StoreError> {
        let mut from = after.map_or_else(|| "-".to_owned(), |id| format!("({id}"));
        loop {
            let sources: Vec<(u8, String, String)> = (0..PARTITIONS)
                .map(|partition| (partition, "queued".to_owned(), from.clone()))
                .collect();
            let found = self.members("up", limit, &sources).await?;
            let mut ids: Vec<TaskId> = found
                .into_iter()
                .flat_map(|(_, members)| members)
                .map(TaskId::from)
                .collect();
            ids.sort_unstable();
            ids.truncate(limit as usize);
            let mut tasks = self.tasks(&ids).await?;
            tasks.retain(|task| task.status == TaskStatus::Queued);
            match ids.last() {
                // All that were there are damaged, or were taken meanwhile.
                Some(last) if tasks.is_empty() => from = format!("({last}"),
                _ => return Ok(tasks),
            }
        }
    }
}

/// Sorts ids by partition, with their places.
fn by_partition(ids: &[TaskId]) -> BTreeMap<u8, Vec<(usize, &TaskId)>> {
    let mut by_partition: BTreeMap<u8, Vec<(usize, &TaskId)>> = BTreeMap::new();
    for (index, id) in ids.iter().enumerate() {
        let ids = by_partition.entry(id.partition() % PARTITIONS).or_default();
        ids.push((index, id));
    }
    by_partition
}
