//! An archive whose trouble is made by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use avtomatika::base::{JobId, Timestamp};
use avtomatika::domain::{Event, Job};
use avtomatika::store::archive::chain::{Day, Head, Record};
use avtomatika::store::archive::{JobPage, JobSearch, Links};
use avtomatika::store::{Archive, FeedBatch, StoreError};

/// An archive that can be away, and whose answers can be lost.
pub struct Unsteady {
    inner: Arc<dyn Archive>,
    is_away: AtomicBool,
    /// It answers, and takes nothing.
    pub is_full: AtomicBool,
    /// Appends whose answer is lost.
    pub answers_lost: AtomicU32,
    /// Whether it does not tell until when jobs are kept.
    pub does_not_tell: AtomicBool,
    /// How often it was asked that.
    pub asked: AtomicU32,
    /// Upkeeps that have ended.
    pub upkeeps: AtomicU32,
}

impl Unsteady {
    pub fn over(inner: Arc<dyn Archive>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            is_away: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
            answers_lost: AtomicU32::new(0),
            does_not_tell: AtomicBool::new(false),
            asked: AtomicU32::new(0),
            upkeeps: AtomicU32::new(0),
        })
    }

    /// Goes away, or comes back.
    pub fn goes(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    fn look(&self) -> Result<(), StoreError> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("away".to_owned()));
        }
        Ok(())
    }
}

#[async_trait]
impl Archive for Unsteady {
    async fn append(&self, batch: Arc<FeedBatch>) -> Result<(), StoreError> {
        self.look()?;
        if self.is_full.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("no room".to_owned()));
        }
        self.inner.append(batch).await?;
        let lost = self
            .answers_lost
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        match lost {
            Ok(_) => Err(StoreError::Unavailable("the answer is lost".to_owned())),
            Err(_) => Ok(()),
        }
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        self.inner.job(id).await
    }

    async fn kept_until(
        &self,
        jobs: &[JobId],
    ) -> Result<Vec<(JobId, Option<Timestamp>)>, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.does_not_tell.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("away".to_owned()));
        }
        self.inner.kept_until(jobs).await
    }

    async fn by_job(
        &self,
        job: JobId,
        after: Option<(u64, u32)>,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        self.inner.by_job(job, after, limit).await
    }

    async fn search(&self, search: JobSearch) -> Result<JobPage, StoreError> {
        self.inner.search(search).await
    }

    async fn links(&self, of: Links, after: u64, limit: u32) -> Result<Vec<Record>, StoreError> {
        self.inner.links(of, after, limit).await
    }

    async fn days(&self) -> Result<Vec<(Day, Head)>, StoreError> {
        self.inner.days().await
    }

    async fn head(&self, job: JobId) -> Result<Option<Head>, StoreError> {
        self.inner.head(job).await
    }

    async fn kept_from(&self) -> Result<Option<Day>, StoreError> {
        self.inner.kept_from().await
    }

    async fn upkeep(&self, now: Timestamp, retention: Option<Duration>) -> Result<(), StoreError> {
        self.look()?;
        let kept_up = self.inner.upkeep(now, retention).await;
        self.upkeeps.fetch_add(1, Ordering::SeqCst);
        kept_up
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.look()?;
        self.inner.health().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
