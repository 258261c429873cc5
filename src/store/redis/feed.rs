//! The feed in Redis: each partition has its own, in which a commit's script notes the row of history
//! that it has written. The rows stay where they are until the archive has them.
//!
//! One orchestrator at a time brings them over. It holds a lease for that, so that the others need not
//! do the same; two that believe they hold it do no harm, because the archive knows what it has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use fred::types::Value;

use super::link::Repeat;
use super::records::{bytes, items, text};
use super::{PARTITIONS, RedisStore, arguments, code};
use crate::base::JobId;
use crate::store::{FeedBatch, HistoryFeed, StoreError};

code!(LOOK, "feed_look");
code!(READ, "feed_read");
code!(DONE, "feed_done");
code!(SWITCH, "feed_switch");
code!(FILL, "feed_fill");
code!(LENGTH, "feed_length");
code!(LEASE, "lease_feed");

/// Text at which a batch ends, in bytes, shared by the partitions that have something.
const BATCH_BYTES: usize = 8 << 20;
/// How long one that has looked is the one who brings over. Longer than its pauses, and short: it is
/// how long a crash delays the history.
const LEASE_MS: u64 = 5_000;
/// Longest wait for giving it back.
const LEAVE: Duration = Duration::from_millis(500);
/// Entries that one call forgets.
const DONE_BATCH: u32 = 1_000;
/// Jobs that one call puts into the feed after it was switched on.
const FILL_BATCH: u32 = 50;

/// An entry: its number, which rises with the time, its partition and what it names.
type Entry = (u64, u8, String);

impl RedisStore {
    /// Switches the feed on or off, for all orchestrators on this server. What was told while it was
    /// off goes into it when it is switched on: an archive that knows it already leaves it as it is.
    /// What waits when it is switched off is not handed out any more.
    pub async fn switch_feed(&self, on: bool) -> Result<(), StoreError> {
        let runs = (0..PARTITIONS).map(|partition| async move {
            let sent = arguments([&u8::from(on)]);
            let run = self.link.run(&SWITCH, partition, sent, Repeat::Safe);
            let mut is_more = text(run.await?).as_deref() == Some("1");
            while is_more {
                let sent = arguments([&FILL_BATCH]);
                let run = self.link.run(&FILL, partition, sent, Repeat::Safe);
                is_more = text(run.await?).as_deref() == Some("1");
            }
            Ok::<_, StoreError>(())
        });
        futures::future::try_join_all(runs).await.map(drop)
    }

    /// Takes the feed for a while; tells false when another orchestrator has it.
    async fn has_feed(&self, lease: Duration) -> Result<bool, StoreError> {
        let sent = arguments([&self.hints.teller().origin(), &lease.as_millis()]);
        let run = self
            .link
            .run_on(&LEASE, self.link.global(), sent, Repeat::Safe);
        Ok(text(run.await?).as_deref() == Some("1"))
    }

    /// Gives the feed back, so that another orchestrator need not wait for the lease's end.
    pub(super) async fn leave_feed(&self) {
        if !self.brings.swap(false, Ordering::AcqRel) {
            return;
        }
        let left = tokio::time::timeout(LEAVE, self.has_feed(Duration::ZERO)).await;
        if !matches!(left, Ok(Ok(_))) {
            tracing::debug!("the feed is not given back: its lease ends by itself");
        }
    }

    /// Returns the oldest of what waits, and whether there may be more.
    async fn waiting(&self, limit: u32) -> Result<(Vec<Entry>, bool), StoreError> {
        let answers = self.link.run_on_all(&LOOK, &arguments([&limit])).await?;
        let mut found: Vec<Entry> = Vec::new();
        for (partition, answer) in (0..PARTITIONS).zip(answers) {
            found.extend(items(answer).chunks_exact(2).filter_map(|pair| {
                let number = text(pair[1].clone())?.parse::<f64>().ok()?;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "microseconds since 1970, far below 2^53"
                )]
                Some((number as u64, partition, text(pair[0].clone())?))
            }));
        }
        found.sort_unstable();
        let is_more = found.len() >= limit as usize;
        found.truncate(limit as usize);
        Ok((found, is_more))
    }

    /// Reads entries of one partition, fewer when they are large.
    async fn read(
        &self,
        partition: u8,
        entries: Vec<(u64, String)>,
        bytes_max: usize,
    ) -> Result<Part, StoreError> {
        let mut sent = arguments([&bytes_max]);
        sent.extend(entries.iter().map(|(_, member)| member.as_str().into()));
        let run = self.link.run(&READ, partition, sent, Repeat::Safe);
        let mut answer = items(run.await?).into_iter();
        let count = answer.next().and_then(text);
        let count = count.and_then(|count| count.parse().ok()).unwrap_or(0);
        let rows = items(answer.next().unwrap_or(Value::Null)).into_iter();
        let mut part = Part {
            partition,
            is_cut: count < entries.len(),
            rows: Vec::with_capacity(count),
            jobs: BTreeMap::new(),
        };
        for ((number, member), row) in entries.into_iter().take(count).zip(rows) {
            let id = member.split(' ').next().and_then(|id| id.parse().ok());
            part.rows.push((number, id, bytes(row).unwrap_or_default()));
        }
        for job in items(answer.next().unwrap_or(Value::Null)) {
            let mut job = items(job).into_iter();
            let id = job.next().and_then(text).and_then(|id| id.parse().ok());
            if let (Some(id), Some(parts)) = (id, job.next()) {
                part.jobs.insert(id, parts);
            }
        }
        Ok(part)
    }

    /// Puts together what the partitions have. What is damaged holds up nobody else's.
    fn batch(&self, parts: Vec<Part>, is_more: bool) -> FeedBatch {
        let mut batch = FeedBatch {
            is_full: is_more || parts.iter().any(|part| part.is_cut),
            through: through(&parts),
            ..FeedBatch::default()
        };
        let (mut rows, mut jobs) = (Vec::new(), BTreeMap::new());
        for part in parts {
            rows.extend(part.rows);
            jobs.extend(part.jobs);
        }
        rows.sort_unstable();
        for (_, id, row) in rows {
            let Some(id) = id.filter(|_| !row.is_empty()) else {
                continue;
            };
            match self.row(&row) {
                Ok(events) => batch.events.extend(events),
                Err(error) => {
                    tracing::error!(job.id = %id, %error, "history that cannot be read is not exported");
                    continue;
                }
            }
            let Some(parts) = jobs.remove(&id) else {
                continue;
            };
            match self.seal.decode_job(id, parts) {
                Ok(job) => batch.jobs.extend(job.map(Arc::new)),
                Err(error) => {
                    tracing::error!(job.id = %id, %error, "a damaged job is exported without its record");
                }
            }
        }
        batch
    }
}

/// What was read of a partition.
struct Part {
    partition: u8,
    /// Whether there was no room for all of it.
    is_cut: bool,
    rows: Vec<(u64, Option<JobId>, Vec<u8>)>,
    jobs: BTreeMap<JobId, Value>,
}

/// Writes up to which number each partition was read.
fn through(parts: &[Part]) -> String {
    let lasts = parts.iter().filter_map(|part| {
        let (number, ..) = part.rows.last()?;
        Some(format!("{}:{number}", part.partition))
    });
    lasts.collect::<Vec<_>>().join(",")
}

/// Reads it again.
fn read_through(text: &str) -> Option<Vec<(u8, u64)>> {
    let lasts = text.split(',').filter(|last| !last.is_empty()).map(|last| {
        let (partition, number) = last.split_once(':')?;
        Some((partition.parse().ok()?, number.parse().ok()?))
    });
    lasts.collect()
}

#[async_trait]
impl HistoryFeed for RedisStore {
    async fn read_feed(&self, limit: u32) -> Result<FeedBatch, StoreError> {
        if !self.has_feed(Duration::from_millis(LEASE_MS)).await? {
            return Ok(FeedBatch::default());
        }
        self.brings.store(true, Ordering::Release);
        let (waiting, is_more) = self.waiting(limit).await?;
        let mut by_partition: BTreeMap<u8, Vec<(u64, String)>> = BTreeMap::new();
        for (number, partition, member) in waiting {
            let entries = by_partition.entry(partition).or_default();
            entries.push((number, member));
        }
        let bytes_max = BATCH_BYTES / by_partition.len().max(1);
        let reads = by_partition
            .into_iter()
            .map(|(partition, entries)| self.read(partition, entries, bytes_max));
        let parts = futures::future::try_join_all(reads).await?;
        Ok(self.batch(parts, is_more))
    }

    async fn acknowledge_feed(&self, through: &str) -> Result<(), StoreError> {
        let lasts = read_through(through).ok_or_else(|| {
            StoreError::Corrupt(format!("`{through}` is no place in this store's feed"))
        })?;
        let runs = lasts.into_iter().map(|(partition, number)| async move {
            loop {
                let sent = arguments([&number, &DONE_BATCH]);
                let run = self.link.run(&DONE, partition, sent, Repeat::Safe);
                let count = text(run.await?).and_then(|count| count.parse().ok());
                if count.unwrap_or(0) < DONE_BATCH {
                    return Ok::<_, StoreError>(());
                }
            }
        });
        futures::future::try_join_all(runs).await.map(drop)
    }

    async fn feed_length(&self) -> Result<u64, StoreError> {
        let counts = self.link.run_on_all(&LENGTH, &[]).await?;
        let counts = counts.into_iter().filter_map(text);
        Ok(counts.filter_map(|count| count.parse::<u64>().ok()).sum())
    }
}
