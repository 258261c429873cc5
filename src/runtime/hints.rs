//! What other orchestrators on the same store do: their queued tasks find polls that are open here,
//! those who watch a job here are told, and so are workers whose sockets are here.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::{
    self,
    error::{RecvError, TryRecvError},
};
use tokio::time::{Instant, sleep_until};

use super::queue::Origin;
use super::registry::Known;
use super::{Inner, Notice, RuntimeError};
use crate::base::{TaskId, Timestamp, WorkerId};
use crate::domain::TaskStatus;
use crate::domain::worker::WorkerStatus;
use crate::store::{Hint, StoreError};

/// Hints that are taken together.
const HINTS_AT_ONCE: usize = 256;
/// How long a task that another orchestrator has queued is left unread while no worker waits here and no
/// task is offered to one: by then most are handed out where they are queued.
const UNREAD_FOR: Duration = Duration::from_millis(100);
/// Tasks that are left unread at most.
const UNREAD_MAX: usize = 4_096;

/// Tasks that others have queued while no worker waited here. None has been read from the store.
#[derive(Default)]
struct Unread {
    /// What has gone since is only found out at its turn.
    order: VecDeque<(Instant, TaskId)>,
    ids: HashSet<TaskId>,
}

impl Unread {
    fn add(&mut self, ids: Vec<TaskId>, now: Instant) {
        for id in ids {
            if self.ids.insert(id.clone()) {
                self.order.push_back((now, id));
            }
        }
    }

    /// Forgets one that is to be had no more.
    fn forget(&mut self, id: &TaskId) {
        self.ids.remove(id);
    }

    /// Returns when the next one is to be read, if any is left unread.
    fn due(&self) -> Option<Instant> {
        self.order.front().map(|(since, _)| *since + UNREAD_FOR)
    }

    /// Takes those that are to be read now, or all.
    fn take(&mut self, now: Instant, all: bool) -> Vec<TaskId> {
        let all = all || self.order.len() > UNREAD_MAX;
        let is_due = |since: Instant| all || since + UNREAD_FOR <= now;
        let count = self.order.partition_point(|(since, _)| is_due(*since));
        let taken = self.order.drain(..count).map(|(_, id)| id);
        taken.filter(|id| self.ids.remove(id)).collect()
    }
}

/// What is done about hints that were taken together.
#[derive(Debug, PartialEq)]
enum Step {
    /// These tasks are queued.
    Offer(Vec<TaskId>),
    /// This one is followed.
    Take(Hint),
}

/// Orders what is to be done about hints. Tasks that are queued and gone again are left out, the others
/// wait for each other, but not beyond what may speak of them.
fn steps(hints: Vec<Hint>) -> Vec<Step> {
    let mut gone: HashMap<TaskId, usize> = HashMap::new();
    for (index, hint) in hints.iter().enumerate() {
        if let Hint::Ended(id) | Hint::Leased(id) | Hint::Stop { task_id: id, .. } = hint {
            gone.insert(id.clone(), index);
        }
    }
    // One look at everything is enough for all that was missed.
    let last_missed = hints.iter().rposition(|hint| *hint == Hint::Missed);
    let (mut steps, mut queued) = (Vec::with_capacity(hints.len()), Vec::new());
    for (index, hint) in hints.into_iter().enumerate() {
        match hint {
            Hint::Queued(id) => {
                if gone.get(&id).is_none_or(|gone| *gone < index) {
                    queued.push(id);
                }
                continue;
            }
            // An offer is of a task that is known, and whoever looks at everything finds them all.
            Hint::Fleet(_) if !queued.is_empty() => {
                steps.push(Step::Offer(std::mem::take(&mut queued)));
            }
            Hint::Missed => {
                queued.clear();
                if last_missed != Some(index) {
                    continue;
                }
            }
            _ => {}
        }
        steps.push(Step::Take(hint));
    }
    if !queued.is_empty() {
        steps.push(Step::Offer(queued));
    }
    steps
}

impl Inner {
    /// Takes hints until the process ends: all that are there at once, so that one look at the store
    /// brings all the tasks that they tell of.
    pub(super) async fn run_hints(self: Arc<Self>, mut hints: broadcast::Receiver<Hint>) {
        let mut unread = Unread::default();
        loop {
            let mut taken = Vec::new();
            let (due, is_waiting) = (unread.due(), unread.due().is_some());
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                hint = hints.recv() => match hint {
                    Ok(hint) => taken.push(hint),
                    Err(RecvError::Lagged(_)) => taken.push(Hint::Missed),
                    Err(RecvError::Closed) => return,
                },
                () = self.matchmaker.poll_opened.notified(), if is_waiting => {}
                () = sleep_until(due.unwrap_or_else(Instant::now)), if is_waiting => {}
            }
            while !taken.is_empty() && taken.len() < HINTS_AT_ONCE {
                match hints.try_recv() {
                    Ok(hint) => taken.push(hint),
                    Err(TryRecvError::Lagged(_)) => taken.push(Hint::Missed),
                    // The next look tells.
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                }
            }
            self.take_hints(taken, &mut unread).await;
        }
    }

    async fn take_hints(self: &Arc<Self>, hints: Vec<Hint>, unread: &mut Unread) {
        let followed = |taken: Result<(), RuntimeError>| {
            if let Err(error) = taken {
                tracing::debug!(%error, "a hint was not followed: the next look finds it");
            }
        };
        for step in steps(hints) {
            let hint = match step {
                Step::Offer(ids) => {
                    unread.add(ids, Instant::now());
                    continue;
                }
                Step::Take(hint) => hint,
            };
            match &hint {
                Hint::Ended(id) | Hint::Leased(id) | Hint::Stop { task_id: id, .. } => {
                    unread.forget(id);
                }
                // An offer is of a task that is known.
                Hint::Fleet(news) if !news.offers.is_empty() => {
                    followed(self.read(unread, true).await);
                }
                Hint::Missed => *unread = Unread::default(),
                _ => {}
            }
            followed(self.take_hint(hint).await);
        }
        let is_asked = self.matchmaker.has_open_polls();
        followed(self.read(unread, is_asked).await);
    }

    async fn read(self: &Arc<Self>, unread: &mut Unread, all: bool) -> Result<(), RuntimeError> {
        let ids = unread.take(Instant::now(), all);
        for (index, part) in ids.chunks(HINTS_AT_ONCE).enumerate() {
            if let Err(error) = self.offer_of_others(part).await {
                unread.add(ids[index * HINTS_AT_ONCE..].to_vec(), Instant::now());
                return Err(error);
            }
        }
        Ok(())
    }

    /// Offers tasks that other orchestrators have queued, as far as they are still to be had.
    async fn offer_of_others(self: &Arc<Self>, ids: &[TaskId]) -> Result<(), RuntimeError> {
        for task in self.ports.jobs.load_tasks(ids).await? {
            if task.status == TaskStatus::Queued {
                self.offer(task, Origin::Elsewhere);
            }
        }
        Ok(())
    }

    async fn take_hint(self: &Arc<Self>, hint: Hint) -> Result<(), RuntimeError> {
        match hint {
            Hint::Changed(job) => {
                self.watchers.look_again(job);
                self.exporting.look();
            }
            // Comes as an offer.
            Hint::Queued(_) => {}
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
            Hint::Leased(id) => {
                let now = self.ports.clock.now();
                self.matchmaker.handed_out_elsewhere(&id, now);
            }
            Hint::Fleet(news) => self.take_news(&news).await?,
            Hint::Missed => {
                self.ask_fleet();
                self.watchers.all_look_again();
                // Not here: while a long queue is read more would be missed. First, since the store may be
                // away yet, which the refill waits out.
                self.refill.notify_one();
                self.meet_workers().await?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::FleetNews;

    #[test]
    fn tasks_are_left_unread_until_they_are_due_or_somebody_asks() {
        let mut unread = Unread::default();
        let start = Instant::now();
        let ids = |ids: &[&str]| ids.iter().map(|id| TaskId::from(*id)).collect::<Vec<_>>();
        let later = |ms| start + Duration::from_millis(ms);
        unread.add(ids(&["a", "b"]), start);
        unread.add(ids(&["b", "c"]), later(60));
        unread.forget(&"a".into());
        assert_eq!(unread.due(), Some(start + UNREAD_FOR));
        assert_eq!(unread.take(later(99), false), ids(&[]));
        assert_eq!(unread.take(later(100), false), ids(&["b"]));
        assert_eq!(unread.take(later(101), true), ids(&["c"]));
        assert_eq!(unread.due(), None);
        let many = (0..=UNREAD_MAX).map(|number| TaskId::from(number.to_string().as_str()));
        unread.add(many.collect(), start);
        assert_eq!(unread.take(start, false).len(), UNREAD_MAX + 1, "no room");
    }

    fn queued(id: &str) -> Hint {
        Hint::Queued(id.into())
    }

    fn leased(id: &str) -> Hint {
        Hint::Leased(id.into())
    }

    fn offer(ids: &[&str]) -> Step {
        Step::Offer(ids.iter().map(|id| (*id).into()).collect())
    }

    #[test]
    fn tasks_are_asked_for_together_unless_they_are_gone() {
        let hints = vec![
            queued("a"),
            queued("b"),
            leased("a"),
            queued("c"),
            leased("d"),
            queued("d"),
        ];
        let expected = [
            Step::Take(leased("a")),
            Step::Take(leased("d")),
            offer(&["b", "c", "d"]),
        ];
        assert_eq!(steps(hints), expected);
        assert_eq!(steps(vec![queued("a"), Hint::Ended("a".into())]).len(), 1);
        assert_eq!(steps(Vec::new()), []);
    }

    #[test]
    fn what_may_speak_of_a_task_comes_behind_it() {
        let news = || Hint::Fleet(Arc::new(FleetNews::default()));
        let hints = vec![news(), queued("a"), news(), queued("b")];
        let expected = [
            Step::Take(news()),
            offer(&["a"]),
            Step::Take(news()),
            offer(&["b"]),
        ];
        assert_eq!(steps(hints), expected);
        let hints = vec![
            queued("a"),
            Hint::Missed,
            queued("b"),
            Hint::Missed,
            queued("c"),
        ];
        assert_eq!(steps(hints), [Step::Take(Hint::Missed), offer(&["c"])]);
    }
}
