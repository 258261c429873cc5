//! What goes with its time while it is checked or written is no break.

use std::time::Duration;

use async_trait::async_trait;

use super::*;
use crate::base::{Secret, Timestamp};
use crate::domain::{Event, EventKind, Job, Object};
use crate::store::archive::{JobPage, JobSearch};
use crate::store::{EventText, FeedBatch, SqliteArchive};

/// 2026-11-23.
const NOW: Timestamp = Timestamp(1_795_422_000_000);
const DAY_MS: u64 = 86_400_000;

fn hasher() -> Hasher {
    Hasher::new(&Secret::new("salt"))
}

/// Lets go of what is older than a day whenever somebody has read which days there are.
struct Hasty {
    inner: Arc<dyn Archive>,
    now: Option<Timestamp>,
}

#[async_trait]
impl Archive for Hasty {
    async fn append(&self, batch: Arc<FeedBatch>) -> Result<(), StoreError> {
        self.inner.append(batch).await
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        self.inner.job(id).await
    }

    async fn kept_until(
        &self,
        jobs: &[JobId],
    ) -> Result<Vec<(JobId, Option<Timestamp>)>, StoreError> {
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
        let days = self.inner.days().await?;
        if let Some(now) = self.now {
            self.upkeep(now, Some(Duration::from_hours(24))).await?;
        }
        Ok(days)
    }

    async fn head(&self, job: JobId) -> Result<Option<Head>, StoreError> {
        self.inner.head(job).await
    }

    async fn kept_from(&self) -> Result<Option<Day>, StoreError> {
        self.inner.kept_from().await
    }

    async fn upkeep(&self, now: Timestamp, retention: Option<Duration>) -> Result<(), StoreError> {
        self.inner.upkeep(now, retention).await
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.inner.health().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// One event a day, for four days, each of a job of its own.
async fn four_days(folder: &tempfile::TempDir) -> Arc<dyn Archive> {
    let archive = SqliteArchive::open(&folder.path().join("history.db"), hasher());
    let archive: Arc<dyn Archive> = Arc::new(archive.expect("opens"));
    for n in 0..4_u8 {
        let at = NOW.after_ms(u64::from(n) * DAY_MS);
        let job = JobId::from_parts(at, [n; 10]);
        let event = Event {
            event_id: Event::derive_id(job, 1, 0),
            job_id: job,
            client: "acme".into(),
            revision: 1,
            index: 0,
            at,
            kind: EventKind::Log,
            state: "start".to_owned(),
            previous_state: None,
            next_state: None,
            worker_id: None,
            task_id: None,
            attempt: None,
            duration_ms: None,
            details: Object::new(),
        };
        let batch = FeedBatch {
            events: vec![EventText::of(&event)],
            jobs: Vec::new(),
            through: String::new(),
            is_full: false,
        };
        archive.append(Arc::new(batch)).await.expect("appends");
    }
    archive
}

fn all() -> Part {
    Part {
        job: None,
        from: None,
        to: None,
    }
}

#[tokio::test]
async fn what_goes_while_it_is_checked_is_no_break() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let inner = four_days(&folder).await;
    let now = Some(NOW.after_ms(3 * DAY_MS));
    let archive: Arc<dyn Archive> = Arc::new(Hasty { inner, now });
    let checked = verify_kept(&archive, &all(), &hasher()).await;
    let report = checked.expect("reads").expect("holds");
    assert_eq!(report["events"], 2, "of the days that are left");
    archive.close().await;
}

#[tokio::test]
async fn what_goes_while_it_is_written_is_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archive = four_days(&folder).await;
    let before = kept_from(&archive).await.expect("reads");
    assert!(still_has(&archive, &all(), before).await.is_ok());
    let now = NOW.after_ms(3 * DAY_MS);
    let upkeep = archive.upkeep(now, Some(Duration::from_hours(24))).await;
    upkeep.expect("lets go");
    let day = |n| Some(Day(Day::of(NOW).0 + n));
    let of_days = |from| Part { from, ..all() };
    let job = |n: u8| JobId::from_parts(NOW.after_ms(u64::from(n) * DAY_MS), [n; 10]);
    let of_job = |n| Part {
        job: Some(job(n)),
        ..all()
    };
    for (part, is_whole) in [
        (all(), false),
        (of_days(day(1)), false),
        (of_days(day(2)), true),
        (of_job(1), false),
        (of_job(2), true),
    ] {
        let told = still_has(&archive, &part, before).await;
        assert_eq!(told.is_ok(), is_whole, "{part:?}");
    }
    let after = kept_from(&archive).await.expect("reads");
    assert!(still_has(&archive, &all(), after).await.is_ok());
    archive.close().await;
}
