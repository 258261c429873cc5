//! A batch that the archive's server refuses for good. It must hold up nothing behind it: what is
//! refused is found by halving the batch, and kept without its content, which a line of the log and a
//! figure tell. Where even that is refused, it was not the content: the server takes nothing, and
//! everything waits until it does.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::base::JobId;
use crate::domain::Event;
use crate::observe::{Metrics, Withheld};
use crate::store::archive::withheld;
use crate::store::{Archive, EventText, FeedBatch, JobText, StoreError};

/// Appends as much of a refused batch as can be. An error is an outage: all of it may be tried again.
pub(super) async fn append_around(
    archive: &dyn Archive,
    metrics: &Metrics,
    batch: &FeedBatch,
) -> Result<(), StoreError> {
    // Two or more jobs each; what comes first is on top, so that the order stays.
    let mut rest =
        Vec::from(halves(batch).unwrap_or_else(|| [FeedBatch::default(), batch.clone()]));
    rest.reverse();
    while let Some(part) = rest.pop() {
        if part.events.is_empty() {
            continue;
        }
        let part = Arc::new(part);
        match archive.append(Arc::clone(&part)).await {
            Ok(()) => {}
            Err(StoreError::Refused(reason)) => {
                if let Some([first, second]) = halves(&part) {
                    rest.extend([second, first]);
                } else {
                    let job = OfOneJob::new(archive, metrics, &part);
                    job.append(reason).await?;
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Halves a batch by its jobs; nothing when it is of one only.
fn halves(batch: &FeedBatch) -> Option<[FeedBatch; 2]> {
    let mut seen = BTreeSet::new();
    let ids = batch.events.iter().map(|event| event.job_id);
    let ids: Vec<JobId> = ids.filter(|id| seen.insert(*id)).collect();
    if ids.len() < 2 {
        return None;
    }
    let first: BTreeSet<JobId> = ids[..ids.len() / 2].iter().copied().collect();
    let part = |is_first: bool| FeedBatch {
        events: batch
            .events
            .iter()
            .filter(|event| first.contains(&event.job_id) == is_first)
            .cloned()
            .collect(),
        jobs: batch
            .jobs
            .iter()
            .filter(|job| first.contains(&job.id) == is_first)
            .cloned()
            .collect(),
        ..FeedBatch::default()
    };
    Some([part(true), part(false)])
}

/// The events of one job, and its record.
struct OfOneJob<'a> {
    archive: &'a dyn Archive,
    metrics: &'a Metrics,
    events: &'a [EventText],
    /// As it is appended: whole until that is known to be refused.
    record: Option<Arc<JobText>>,
}

impl<'a> OfOneJob<'a> {
    fn new(archive: &'a dyn Archive, metrics: &'a Metrics, batch: &'a FeedBatch) -> Self {
        Self {
            archive,
            metrics,
            events: &batch.events,
            record: batch.jobs.first().cloned(),
        }
    }

    /// Appends each event, and with the first of them the record: then it is known which of both is
    /// refused.
    async fn append(mut self, refusal: String) -> Result<(), StoreError> {
        let mut is_record_known = false;
        let mut last_refusal = refusal;
        for event in self.events {
            let read = event.event()?;
            let bare = EventText::of(&withheld::event(&read));
            let mut tries = vec![(event, false)];
            if !is_record_known {
                tries.push((event, true));
            }
            tries.push((&bare, false));
            if !is_record_known {
                tries.push((&bare, true));
            }
            let mut is_kept = false;
            for (tried, without_record) in tries {
                match self.one(tried, without_record).await {
                    Ok(()) => {
                        is_kept = true;
                        is_record_known = true;
                        self.tell(
                            &read,
                            !std::ptr::eq(tried, event),
                            without_record,
                            &last_refusal,
                        );
                        break;
                    }
                    Err(StoreError::Refused(reason)) => last_refusal = reason,
                    Err(error) => return Err(error),
                }
            }
            if !is_kept {
                return Err(StoreError::Unavailable(format!(
                    "event {} of job {} is refused even without its content, so it is not the content: \
                     {last_refusal}",
                    read.event_id, event.job_id
                )));
            }
        }
        Ok(())
    }

    async fn one(&self, event: &EventText, without_record: bool) -> Result<(), StoreError> {
        let record = self.record.as_ref().map(|job| {
            if without_record {
                Arc::new(withheld::job(job))
            } else {
                Arc::clone(job)
            }
        });
        let batch = FeedBatch {
            events: vec![event.clone()],
            jobs: record.into_iter().collect(),
            ..FeedBatch::default()
        };
        self.archive.append(Arc::new(batch)).await
    }

    /// Tells what is kept without its content, and remembers it of the record.
    fn tell(&mut self, event: &Event, is_bare: bool, without_record: bool, reason: &str) {
        if is_bare {
            self.metrics.withheld(Withheld::Event);
            tracing::error!(
                job.id = %event.job_id, event.id = %event.event_id, reason,
                "the history's server refuses what an event says: it is kept there without"
            );
        }
        if without_record {
            self.record = self.record.as_deref().map(withheld::job).map(Arc::new);
            self.metrics.withheld(Withheld::Job);
            tracing::error!(
                job.id = %event.job_id, reason,
                "the history's server refuses what a job says: it is kept there without"
            );
        }
    }
}
