//! What is looked for over all partitions: each is asked at once, and the answers are merged.

use std::collections::BTreeMap;

use fred::types::Value;

use super::link::Repeat;
use super::records::{bytes, items, read_time, text};
use super::{PARTITIONS, RedisStore, arguments, code};
use crate::base::{ClientId, JobId, TaskId, Timestamp};
use crate::domain::{Job, JobStatus, Task};
use crate::store::{Due, JobQuery, StoreError, rules};

code!(DUE, "due");
code!(IDS, "ids");
code!(JOBS, "jobs");
code!(HASHES, "hashes");

/// Jobs that one look for a listing brings, but for the first, which brings what would do if all fit.
const PAGE: u32 = 200;

/// What is next of each partition's sorted sets: members with times, and the time after those.
pub(super) struct Timed {
    /// In order of time, then member.
    pub(super) due: Vec<(Timestamp, String)>,
    /// The first that is left.
    pub(super) next: Option<Timestamp>,
}

impl Timed {
    /// Leaves all but the first.
    fn cut_to(&mut self, limit: u32) {
        let left = self.due.get(limit as usize).map(|(at, _)| *at);
        self.due.truncate(limit as usize);
        self.next = left.into_iter().chain(self.next).min();
    }
}

impl RedisStore {
    /// Returns what has come due in sorted sets, merged over the partitions, for each set.
    pub(super) async fn timed<const N: usize>(
        &self,
        now: Timestamp,
        limit: u32,
        sets: [&str; N],
    ) -> Result<[Timed; N], StoreError> {
        let mut sent = arguments([&now.0, &limit]);
        sent.extend(sets.map(Value::from));
        let answers = self.link.run_on_all(&DUE, &sent).await?;
        let mut answers: Vec<_> = answers
            .into_iter()
            .map(|answer| items(answer).into_iter())
            .collect();
        Ok(sets.map(|_| {
            let (mut due, mut next) = (Vec::new(), None);
            for answer in &mut answers {
                due.extend(with_times(answer.next()));
                let after = with_times(answer.next()).first().map(|(at, _)| *at);
                next = next.into_iter().chain(after).min();
            }
            due.sort_unstable();
            let mut timed = Timed { due, next };
            timed.cut_to(limit);
            timed
        }))
    }

    /// Returns what is due.
    pub(super) async fn look(&self, now: Timestamp, limit: u32) -> Result<Due, StoreError> {
        if self.link.is_cluster()
            && let Err(error) = self.finish_commits().await
        {
            tracing::debug!(%error, "what goes with a commit is done by the next look");
        }
        loop {
            let passed = u32::try_from(self.damage.due_count()).unwrap_or(u32::MAX);
            let all = limit.saturating_add(passed);
            let [mut jobs, mut tasks] = self.timed(now, all, ["wake", "due"]).await?;
            jobs.cut_to(limit);
            self.damage.pass_over(&mut tasks.due);
            tasks.cut_to(limit);
            let (found, is_more_passed) = self.due_tasks(tasks.due, now).await?;
            // So many were passed over that none is left: those behind them have their turn all the same.
            let is_more_due = tasks.next.is_some_and(|next| next <= now);
            if found.is_empty() && is_more_passed && is_more_due {
                continue;
            }
            let ids = jobs.due.iter();
            return Ok(Due {
                jobs: ids.filter_map(|(_, id)| id.parse().ok()).collect(),
                tasks: found,
                next: jobs.next.into_iter().chain(tasks.next).min(),
            });
        }
    }

    /// Reads tasks that are due; tells besides whether some could not be read that are passed over from
    /// now on.
    async fn due_tasks(
        &self,
        due: Vec<(Timestamp, String)>,
        now: Timestamp,
    ) -> Result<(Vec<Task>, bool), StoreError> {
        if due.is_empty() {
            return Ok((Vec::new(), false));
        }
        let ids: Vec<TaskId> = due.into_iter().map(|(_, id)| id.into()).collect();
        let mut unreadable = Vec::new();
        let read = self.stored_tasks(&ids).await?.into_iter();
        let read = read.map(|(id, task)| {
            let task = self.seal.decode_task(task);
            task.inspect_err(|_| unreadable.push(id.clone()))
        });
        let mut found = self.damage.readable(read);
        // One may have changed between the two looks.
        found.retain(|task| task.due_at().is_some_and(|at| at <= now));
        Ok((found, self.damage.cannot_read(unreadable)))
    }

    /// Returns members of sorted sets: partition, set and where to begin for each; by source.
    pub(super) async fn members(
        &self,
        order: &str,
        limit: u32,
        sources: &[(u8, String, String)],
    ) -> Result<Vec<(usize, Vec<String>)>, StoreError> {
        let mut by_partition: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
        for (index, (partition, ..)) in sources.iter().enumerate() {
            by_partition.entry(*partition).or_default().push(index);
        }
        let runs = by_partition
            .into_iter()
            .map(|(partition, indexes)| async move {
                let mut sent = arguments([&order, &limit]);
                for index in &indexes {
                    let (_, name, from) = &sources[*index];
                    sent.extend([name.as_str().into(), from.as_str().into()]);
                }
                let answer = self.link.run(&IDS, partition, sent, Repeat::Safe).await?;
                let members = items(answer).into_iter();
                let members =
                    members.map(|found| items(found).into_iter().filter_map(text).collect());
                Ok::<Vec<(usize, Vec<String>)>, StoreError>(
                    indexes.into_iter().zip(members).collect(),
                )
            });
        let found = futures::future::try_join_all(runs).await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Reads jobs by their ids, in that order; those that are not there are left out, damaged ones
    /// with a word on the log.
    async fn jobs_by_id(&self, ids: &[JobId]) -> Result<Vec<Job>, StoreError> {
        let mut by_partition: BTreeMap<u8, Vec<(usize, JobId)>> = BTreeMap::new();
        for (index, id) in ids.iter().enumerate() {
            let same = by_partition.entry(id.partition() % PARTITIONS).or_default();
            same.push((index, *id));
        }
        let runs = by_partition.into_iter().map(|(partition, ids)| async move {
            let sent = ids.iter().map(|(_, id)| id.to_string().into()).collect();
            let answer = self.link.run(&JOBS, partition, sent, Repeat::Safe).await?;
            Ok::<Vec<_>, StoreError>(ids.into_iter().zip(items(answer)).collect())
        });
        let found = futures::future::try_join_all(runs).await?;
        let mut found: Vec<((usize, JobId), Value)> = found.into_iter().flatten().collect();
        found.sort_by_key(|((index, _), _)| *index);
        let read = found.into_iter();
        let read = read.map(|((_, id), parts)| self.seal.decode_job(id, parts));
        Ok(self.damage.readable(read))
    }

    /// Lists jobs, newest first.
    pub(super) async fn listed(&self, query: &JobQuery) -> Result<Vec<Job>, StoreError> {
        let from = query
            .after
            .map_or_else(|| "+".to_owned(), |id| format!("({id}"));
        let sets = sets_of(query);
        let mut sources: Vec<(u8, String, String)> = (0..PARTITIONS)
            .flat_map(|partition| sets.iter().map(move |set| (partition, set.clone())))
            .map(|(partition, set)| (partition, set, from.clone()))
            .collect();
        let (mut listed, mut left_out) = (Vec::new(), 0_u32);
        let wanted = query.limit as usize;
        let mut page = query.limit.saturating_add(query.skip).min(PAGE);
        while listed.len() < wanted && !sources.is_empty() {
            let (ids, bound) = self.newest(&sources, page).await?;
            for job in self.jobs_by_id(&ids).await? {
                if !rules::matches(query, &job) {
                    continue;
                }
                if left_out < query.skip {
                    left_out += 1;
                } else if listed.len() < wanted {
                    listed.push(job);
                }
            }
            let Some(bound) = bound else { break };
            page = PAGE;
            for (_, _, from) in &mut sources {
                *from = format!("({bound}");
            }
        }
        Ok(listed)
    }

    /// Returns the newest jobs of all sources, and the last of them when there are more.
    async fn newest(
        &self,
        sources: &[(u8, String, String)],
        page: u32,
    ) -> Result<(Vec<JobId>, Option<JobId>), StoreError> {
        let found = self.members("down", page, sources).await?;
        let is_more = found
            .iter()
            .any(|(_, members)| members.len() >= page as usize);
        let mut ids: Vec<JobId> = found
            .iter()
            .flat_map(|(_, members)| members)
            .filter_map(|id| id.parse().ok())
            .collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        // A job whose status changed between two sets was found in both.
        ids.dedup();
        let is_cut = ids.len() > page as usize;
        ids.truncate(page as usize);
        let bound = if is_more || is_cut {
            ids.last().copied()
        } else {
            None
        };
        Ok((ids, bound))
    }

    /// Counts jobs by status.
    pub(super) async fn counted(
        &self,
        client: Option<&ClientId>,
    ) -> Result<BTreeMap<JobStatus, u64>, StoreError> {
        let name = client.map_or_else(|| "n".to_owned(), |client| format!("nc:{client}"));
        let answers = self.link.run_on_all(&HASHES, &arguments([&name])).await?;
        let mut counts = BTreeMap::new();
        for hash in answers.into_iter().flat_map(items) {
            for pair in items(hash).chunks_exact(2) {
                let status = text(pair[0].clone()).and_then(|status| JobStatus::parse(&status));
                let count = text(pair[1].clone()).and_then(|count| count.parse::<u64>().ok());
                if let (Some(status), Some(count @ 1..)) = (status, count) {
                    *counts.entry(status).or_default() += count;
                }
            }
        }
        Ok(counts)
    }
}

/// Returns the narrowest sorted sets that have all jobs of a query.
fn sets_of(query: &JobQuery) -> Vec<String> {
    if let Some(client) = &query.client {
        return vec![format!("c:{client}")];
    }
    if query.statuses.is_empty() {
        return vec!["all".to_owned()];
    }
    let statuses = query.statuses.iter().copied();
    let statuses: std::collections::BTreeSet<JobStatus> = statuses.collect();
    statuses
        .iter()
        .map(|status| format!("s:{}", status.as_str()))
        .collect()
}

/// Reads members and times, which alternate.
pub(super) fn with_times(value: Option<Value>) -> Vec<(Timestamp, String)> {
    let values = items(value.unwrap_or(Value::Null));
    let pairs = values.chunks_exact(2).filter_map(|pair| {
        let at = bytes(pair[1].clone()).and_then(|at| read_time(&at))?;
        Some((at, text(pair[0].clone())?))
    });
    pairs.collect()
}
