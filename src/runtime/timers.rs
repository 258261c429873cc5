//! What time brings: deadlines, wake-ups, lost leases, delayed tasks. Nothing that is due waits for another
//! of which nothing can be done, or not soon.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use tokio::sync::Notify;
use tracing::Instrument as _;

use super::backlog::{Key, Turn};
use super::{Inner, RuntimeError};
use crate::base::{JobId, Timestamp};
use crate::domain::Task;
use crate::engine::Input;
use crate::store::{Due, StoreError};

/// Due jobs and tasks that one look brings, besides those that are in the backlog.
const DUE_BATCH: u32 = 500;
/// Due jobs and tasks that are dealt with at once.
const DUE_CONCURRENCY: usize = 64;
/// How long one is waited for. Then it goes on by itself: what it waits for may be nobody else's.
const DUE_PATIENCE: Duration = Duration::from_millis(500);
/// Between tries while the store does not answer, and between looks at a backlog. It does not grow: what
/// waits for the timers goes on as soon as the store is back, and asking one that is away costs nothing.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// What time has brought.
enum Work {
    /// A job's `wake_at` has passed.
    Wake(JobId),
    /// A task's `due_at` has passed.
    Expire(Box<Task>),
}

impl Work {
    fn key(&self) -> Key {
        match self {
            Self::Wake(job) => Key::Job(*job),
            Self::Expire(task) => Key::Task(task.id.clone()),
        }
    }
}

/// When the timers have to look next.
#[derive(Default)]
pub(super) struct Schedule {
    next: Mutex<Option<Timestamp>>,
    earlier: Notify,
}

impl Schedule {
    /// Makes sure that the timers look no later than this.
    pub(super) fn wake_at(&self, at: Timestamp) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if next.is_none_or(|known| at < known) {
            *next = Some(at);
            self.earlier.notify_one();
        }
    }

    fn take(&self) -> Option<Timestamp> {
        self.next
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn peek(&self) -> Option<Timestamp> {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    pub(super) async fn run_timers(self: Arc<Self>) {
        let mut failed = false;
        while !self.stop.is_cancelled() {
            self.schedule.take();
            let now = self.ports.clock.now();
            self.release_delayed(now);
            // Those that are held back come first, and are not to keep the others from being seen.
            let known = u32::try_from(self.backlog.len()).unwrap_or(u32::MAX);
            let limit = DUE_BATCH.saturating_add(known);
            match self.ports.jobs.due(now, limit).await {
                Ok(due) => {
                    if std::mem::take(&mut failed) {
                        self.was_deaf();
                        self.backlog.release();
                    }
                    let is_more_due = due.next.is_some_and(|next| next <= now);
                    let full = is_more_due || due.jobs.len().max(due.tasks.len()) >= limit as usize;
                    if let Some(next) = due.next {
                        self.schedule.wake_at(next);
                    }
                    let is_idle = !self.deal_with(due).await;
                    if !full {
                        self.sleep_until_due().await;
                    } else if is_idle {
                        self.pause(STORE_PAUSE).await;
                    }
                }
                Err(error) => {
                    if !failed {
                        tracing::debug!(%error, "timers wait for the store");
                    }
                    failed = true;
                    self.pause(STORE_PAUSE).await;
                }
            }
        }
    }

    /// Deals with what is due and not in the backlog already; tells whether there was any.
    async fn deal_with(self: &Arc<Self>, due: Due) -> bool {
        let woken = due.jobs.into_iter().map(Work::Wake);
        let expired = due
            .tasks
            .into_iter()
            .map(|task| Work::Expire(Box::new(task)));
        let due: Vec<Work> = woken.chain(expired).collect();
        if self.backlog.len() > 0 {
            let keys: HashSet<Key> = due.iter().map(Work::key).collect();
            self.backlog.keep(&keys);
        }
        let begun: Vec<(Work, Turn)> = due
            .into_iter()
            .filter_map(|work| {
                let turn = self.backlog.begin(work.key())?;
                Some((work, turn))
            })
            .collect();
        let is_any = !begun.is_empty();
        futures::stream::iter(begun)
            .for_each_concurrent(DUE_CONCURRENCY, async |(work, turn)| {
                let inner = Arc::clone(self);
                let log = inner.ports.traces.log_span();
                let dealing = async move { inner.deal_with_one(work, turn).await };
                let dealt = self.tasks.spawn(dealing.instrument(log));
                // However it has ended, its turn knows, or will.
                drop(tokio::time::timeout(DUE_PATIENCE, dealt).await);
            })
            .await;
        is_any
    }

    async fn deal_with_one(self: Arc<Self>, work: Work, turn: Turn) {
        let (job, result) = match work {
            Work::Wake(job) => (job, self.apply(job, Input::Woken).await.map(|_| ())),
            Work::Expire(task) => (task.job_id, self.expire_unless_spared(&task).await),
        };
        match result {
            Ok(()) | Err(RuntimeError::JobNotFound) => turn.done(),
            // It is still due, and tried again.
            Err(error) => {
                if turn.is_first() {
                    warn_of!(error, job.id = %job, "a due job has to wait");
                } else {
                    tracing::debug!(%error, job.id = %job, "a due job still has to wait");
                }
                if matches!(error, RuntimeError::Store(StoreError::Corrupt(_))) {
                    turn.damaged();
                }
            }
        }
    }

    async fn sleep_until_due(&self) {
        let mut at_most = Duration::from_millis(self.settings.look_every_ms);
        if let Some(next) = self.backlog.next() {
            at_most = at_most.min(next.max(STORE_PAUSE));
        }
        loop {
            let now = self.ports.clock.now();
            let pause = match self.schedule.peek() {
                Some(next) if next <= now => return,
                Some(next) => next.since(now).min(at_most),
                None => at_most,
            };
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = self.schedule.earlier.notified() => {}
                () = tokio::time::sleep(pause) => return,
            }
        }
    }
}
