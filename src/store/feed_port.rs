//! The feed: what a store's jobs have gone through and the archive does not have yet.

use std::sync::Arc;

use async_trait::async_trait;

use super::{EventText, JobText, StoreError};

/// A part of the feed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FeedBatch {
    /// Events. Those of one job are in the order in which they were stored; a store with one writer
    /// has all of them in that order.
    pub events: Vec<EventText>,
    /// The jobs of the events as they are now, each once: at least as new as the events. One that
    /// cannot be read is missing.
    pub jobs: Vec<Arc<JobText>>,
    /// What [`HistoryFeed::acknowledge_feed`] is given; says nothing to anybody else. Empty when nothing
    /// waits, and only then.
    pub through: String,
    /// Whether it ends at a bound and not with the feed: more is to be had at once.
    pub is_full: bool,
}

impl FeedBatch {
    /// Tells whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.through.is_empty()
    }
}

/// The way of history from a job store into an archive. A store that keeps one writes each entry in
/// the transaction that writes the events themselves, so that none is ever missing, however long the
/// archive is away; and it does not purge a job of which entries wait.
#[async_trait]
pub trait HistoryFeed: Send + Sync + 'static {
    /// Returns what waits, oldest first: the events of at most `limit` commits, fewer when they are
    /// large. The same is returned again until it is acknowledged. A store with several
    /// orchestrators may return nothing while another of them is at it.
    async fn read_feed(&self, limit: u32) -> Result<FeedBatch, StoreError>;

    /// Forgets what a batch has brought; doing so twice is doing it once, and never touches what
    /// came after it.
    async fn acknowledge_feed(&self, through: &str) -> Result<(), StoreError>;

    /// Returns how many entries wait.
    async fn feed_length(&self) -> Result<u64, StoreError>;
}
