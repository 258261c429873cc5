//! The feed in memory: places of events under numbers that only rise.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;

use super::MemoryStore;
use crate::base::JobId;
use crate::store::{EventText, FeedBatch, HistoryFeed, JobText, StoreError};

/// What waits for an archive.
#[derive(Debug, Default)]
pub(super) struct Feed {
    last: u64,
    entries: BTreeMap<u64, (JobId, u64, u32)>,
}

impl Feed {
    pub(super) fn add(&mut self, place: (JobId, u64, u32)) {
        self.last += 1;
        self.entries.insert(self.last, place);
    }

    pub(super) fn has(&self, job: JobId) -> bool {
        self.entries.values().any(|(id, ..)| *id == job)
    }
}

#[async_trait]
impl HistoryFeed for MemoryStore {
    async fn read_feed(&self, limit: u32) -> Result<FeedBatch, StoreError> {
        let state = self.state()?;
        let mut batch = FeedBatch::default();
        let Some(feed) = &state.feed else {
            return Ok(batch);
        };
        let (mut commits, mut ids) = (BTreeSet::new(), BTreeSet::new());
        for (number, place) in &feed.entries {
            commits.insert((place.0, place.1));
            if commits.len() > limit as usize {
                batch.is_full = true;
                break;
            }
            batch.through = number.to_string();
            let event = state.history.get(place);
            batch.events.extend(event.map(EventText::of));
            if ids.insert(place.0) {
                let job = state.jobs.get(&place.0);
                batch.jobs.extend(job.map(|job| Arc::new(JobText::of(job))));
            }
        }
        Ok(batch)
    }

    async fn acknowledge_feed(&self, through: &str) -> Result<(), StoreError> {
        let through: u64 = through.parse().map_err(|_| {
            StoreError::Corrupt(format!("`{through}` is no place in this store's feed"))
        })?;
        if let Some(feed) = &mut self.state()?.feed {
            feed.entries.retain(|number, _| *number > through);
        }
        Ok(())
    }

    async fn feed_length(&self) -> Result<u64, StoreError> {
        let state = self.state()?;
        Ok(state
            .feed
            .as_ref()
            .map_or(0, |feed| feed.entries.len() as u64))
    }
}
