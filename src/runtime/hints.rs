//! What other orchestrators on the same store do: their queued tasks find polls that are open here,
//! those who watch a job here are told, and so are workers whose sockets are here.

use std::sync::Arc;

use tokio::sync::broadcast::{self, error::RecvError};

use super::registry::Known;
use super::{Inner, Notice, RuntimeError};
use crate::base::{Timestamp, WorkerId};
use crate::domain::TaskStatus;
use crate::domain::worker::WorkerStatus;
use crate::store::{Hint, StoreError};

impl Inner {
    /// Takes hints until the process ends.
    pub(super) async fn run_hints(self: Arc<Self>, mut hints: broadcast::Receiver<Hint>) {
        loop {
            let hint = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                hint = hints.recv() => match hint {
                    Ok(hint) => hint,
                    Err(RecvError::Lagged(_)) => Hint::Missed,
                    Err(RecvError::Closed) => return,
                },
            };
            if let Err(error) = self.take_hint(hint).await {
                tracing::debug!(%error, "a hint was not followed: the next look finds it");
            }
        }
    }

    async fn take_hint(self: &Arc<Self>, hint: Hint) -> Result<(), RuntimeError> {
        match hint {
            Hint::Changed(job) => {
                self.watchers.look_again(job);
                self.exporting.look();
            }
            Hint::Queued(id) => {
                let task = self.ports.jobs.load_task(&id).await?;
                if let Some(task) = task.filter(|task| task.status == TaskStatus::Queued) {
                    self.offer(task);
                }
            }
            Hint::Ended(id) => drop(self.matchmaker.remove(&id)),
            Hint::Stop {
                worker,
                task_id,
                job_id,
            } => {
                self.matchmaker.remove(&task_id);
                let notice = Notice::CancelTask { task_id, job_id };
                self.registry.notify(&worker, notice);
            }
            Hint::Leased(id) => self.matchmaker.remove_queued(&id),
            Hint::Fleet(news) => self.take_news(&news).await?,
            Hint::Missed => {
                self.ask_fleet();
                self.watchers.all_look_again();
                self.load_workers().await?;
                self.refill_queue().await?;
            }
        }
        Ok(())
    }

    /// Leaves out of the workers that were not heard of here those that were heard of elsewhere.
    pub(super) async fn silent_everywhere(
        &self,
        mut silent: Vec<WorkerId>,
        now: Timestamp,
    ) -> Result<Vec<WorkerId>, StoreError> {
        if silent.is_empty() {
            return Ok(silent);
        }
        for worker in self.ports.workers.list_workers().await? {
            let is_heard = worker.expires_at > now && worker.status != WorkerStatus::Offline;
            if let Some(index) = silent.iter().position(|id| *id == worker.id && is_heard) {
                silent.swap_remove(index);
                self.registry.insert(Known::new(worker));
            }
        }
        Ok(silent)
    }
}
