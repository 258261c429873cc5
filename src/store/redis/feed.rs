//! The feed in Redis: each partition has its own, in which a commit's script notes the row of history
//! that it has written. The rows stay where they are until the archive has them.
//!
//! One orchestrator at a time brings them over. It holds a lease for that, so that the others need not
//! do the same; two that believe they hold it do no harm, because the archive knows what it has.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use fred::types::Value;

use super::feed_batch::{Batch, Part, PartThrough, cut};
use super::feed_entry::Entry;
use super::kept::Kept;
use super::link::{Repeat, held};
use super::records::{bytes, items, text};
use super::{PARTITIONS, RedisStore, arguments, code};
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
/// Jobs that one call puts into the feed after it was switched on.
const FILL_BATCH: u32 = 50;
/// Entries of one partition that are looked at for a batch, so that most of what is looked at is brought
/// over.
const SHARE: u32 = 500;

/// The stream in which entries lie but for those from before the feed was on.
const USUAL: &str = "fe";

impl RedisStore {
    /// Switches the feed on or off, for all orchestrators on this server. What was told while it was
    /// off goes into it when it is switched on: an archive that knows it already leaves it as it is.
    /// What waits when it is switched off is not handed out any more: returns how many entries those are,
    /// and nothing when it was off before, or is switched on.
    pub async fn switch_feed(&self, on: bool) -> Result<Option<u64>, StoreError> {
        let runs = (0..PARTITIONS).map(|partition| async move {
            let sent = arguments([&u8::from(on)]);
            let run = self.link.run(&SWITCH, partition, sent, Repeat::Safe);
            let answer = text(run.await?);
            if !on {
                // One that was off says -1, which is no such number.
                let waited = answer.and_then(|waited| waited.parse::<u64>().ok());
                return Ok::<_, StoreError>(waited);
            }
            if answer.as_deref() == Some("1") {
                self.fill(partition).await?;
            }
            Ok(None)
        });
        let waited = futures::future::try_join_all(runs).await?;
        Ok(waited.into_iter().flatten().reduce(|sum, more| sum + more))
    }

    /// Puts into the feed of a partition what was told while it was off.
    async fn fill(&self, partition: u8) -> Result<(), StoreError> {
        let mut is_more = true;
        while is_more {
            let sent = arguments([&FILL_BATCH]);
            let run = self.link.run(&FILL, partition, sent, Repeat::Safe);
            is_more = text(run.await?).as_deref() == Some("1");
        }
        Ok(())
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

    /// Returns the oldest of what waits in a partition, and the stream that it lies in.
    async fn oldest(&self, partition: u8, limit: u32) -> Result<(String, Vec<Entry>), StoreError> {
        loop {
            // Which of the two it is that goes first is asked with the one that it nearly always is.
            let look = self.link.run(&LOOK, partition, Vec::new(), Repeat::Safe);
            let (stream, entries) =
                futures::try_join!(look, self.entries(partition, USUAL, limit))?;
            let stream = text(stream).unwrap_or_default();
            match stream.as_str() {
                // Whoever began to fill it may be gone.
                "ff" => self.fill(partition).await?,
                USUAL => return Ok((stream, entries)),
                other => {
                    let entries = self.entries(partition, other, limit).await?;
                    return Ok((stream, entries));
                }
            }
        }
    }

    /// Returns the oldest entries of a stream. No script reads them: their number makes it worth while.
    async fn entries(
        &self,
        partition: u8,
        stream: &str,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        let key = format!("{}{stream}", self.link.partition(partition));
        let sent = arguments([&key, &"-", &"+", &"COUNT", &limit]);
        let found = self.link.call("XRANGE", sent, Repeat::Safe).await?;
        Ok(items(found).into_iter().filter_map(Entry::read).collect())
    }

    /// Returns the oldest of what waits by partition, at most so much, and whether there may be more.
    async fn waiting(&self, limit: u32) -> Result<(Vec<Part>, bool), StoreError> {
        let share = limit.min(SHARE);
        let looks = (0..PARTITIONS).map(|partition| self.oldest(partition, share));
        let mut parts: Vec<Part> = futures::future::try_join_all(looks)
            .await?
            .into_iter()
            .zip(0..)
            .map(|((stream, entries), partition)| Part::new(partition, stream, entries))
            .filter(|part| !part.entries.is_empty())
            .collect();
        let is_more = parts.iter().any(|part| part.is_more(share as usize));
        let is_cut = cut(&mut parts, limit as usize);
        Ok((parts, is_more || is_cut))
    }

    /// Reads the rows of a partition that are not at hand, fewer when they are large.
    async fn read(&self, mut part: Part, bytes_max: usize) -> Result<Part, StoreError> {
        let mut sent = arguments([&bytes_max]);
        sent.extend(part.unread().cloned());
        if sent.len() == 1 {
            return Ok(part);
        }
        let run = self.link.run(&READ, part.partition, sent, Repeat::Safe);
        let mut answer = items(run.await?).into_iter();
        let count = answer.next().and_then(text);
        let count = count.and_then(|count| count.parse().ok()).unwrap_or(0);
        let rows = items(answer.next().unwrap_or(Value::Null)).into_iter();
        part.found(count, rows.map(|row| bytes(row).unwrap_or_default()));
        for job in items(answer.next().unwrap_or(Value::Null)) {
            let mut job = items(job).into_iter();
            let id = job.next().and_then(text).and_then(|id| id.parse().ok());
            if let (Some(id), Some(parts)) = (id, job.next()) {
                part.jobs.insert(id, parts);
            }
        }
        Ok(part)
    }
}

#[async_trait]
impl HistoryFeed for RedisStore {
    async fn read_feed(&self, limit: u32) -> Result<FeedBatch, StoreError> {
        let has_feed = self.has_feed(Duration::from_millis(LEASE_MS)).await?;
        self.brings.store(has_feed, Ordering::Release);
        // Whatever was told before the look is in it: what it does not show need not be kept.
        let mut kept = std::mem::take(&mut *held(&self.kept));
        if !has_feed {
            return Ok(FeedBatch::default());
        }
        let (mut parts, mut is_more) = self.waiting(limit).await?;
        let bytes_max = BATCH_BYTES / parts.len().max(1);
        for part in &mut parts {
            part.take(&mut kept, bytes_max);
        }
        let reads = parts.into_iter().map(|part| self.read(part, bytes_max));
        let parts = futures::future::try_join_all(reads).await?;
        is_more |= parts.iter().any(|part| part.is_cut);
        if is_more {
            // What is left is put together before, and what has been told meanwhile is little: no commit
            // waits long.
            let mut left = Kept::default();
            left.add_all(kept);
            let mut now = held(&self.kept);
            let later = std::mem::replace(&mut *now, left);
            now.add_all(later);
        }
        Ok(Batch::of(&self.seal, parts, is_more))
    }

    async fn acknowledge_feed(&self, through: &str) -> Result<(), StoreError> {
        let parts = PartThrough::read_all(through).ok_or_else(|| {
            StoreError::Corrupt(format!("`{through}` is no place in this store's feed"))
        })?;
        let runs = parts.into_iter().map(|part| {
            let sent = arguments([&part.stream, &part.first, &part.last, &part.count]);
            self.link.run(&DONE, part.partition, sent, Repeat::Safe)
        });
        futures::future::try_join_all(runs).await.map(drop)
    }

    async fn feed_length(&self) -> Result<u64, StoreError> {
        let counts = self.link.run_on_all(&LENGTH, &[]).await?;
        let counts = counts.into_iter().filter_map(text);
        Ok(counts.filter_map(|count| count.parse::<u64>().ok()).sum())
    }
}
