//! Several orchestrators as one fleet: each tells the others which workers wait with it, so that all
//! rank the same workers.
//!
//! Nothing of it is the truth. Whoever believes old news leaves a task to an orchestrator that does
//! not take it, for a moment; then it looks for a worker of its own. An orchestrator that is alone
//! says no more than that it is there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::matchmaker::State;
use super::polls::{self, Workers};
use super::registry::Known;
use super::{Inner, Runtime, RuntimeError};
use crate::base::{TaskId, Timestamp, WorkerId};
use crate::domain::task::Strategy;
use crate::domain::worker::WorkerStatus;
use crate::store::{FleetNews, StoreError};

/// How often an orchestrator says that it is there.
const SIGN_OF_LIFE_EVERY: Duration = Duration::from_secs(1);
/// After so long without a sign of life an orchestrator is not believed to be there.
const SILENT_MS: u64 = 3_500;
/// News of so long goes out together: a worker that ends a short task and asks for the next has not
/// ceased to wait.
const GATHERED_FOR: Duration = Duration::from_millis(2);
/// Under load, from one message to the next, unless a task is offered: most of who comes and goes
/// meanwhile is then where it was.
const TOLD_EVERY: Duration = Duration::from_millis(20);

/// What is to be told, and tasks that are left to others.
#[derive(Default)]
pub(super) struct News {
    /// There may be others on the same store.
    is_shared: bool,
    /// There is somebody to be told.
    has_peers: bool,
    next: FleetNews,
    /// Workers that have begun or ceased to wait.
    polls: BTreeSet<WorkerId>,
    changed: BTreeSet<WorkerId>,
    rated: BTreeMap<WorkerId, f64>,
    turns: BTreeMap<String, WorkerId>,
    left: VecDeque<(Timestamp, TaskId)>,
    /// There is something to tell.
    wake: Arc<Notify>,
    /// A task is offered.
    hurry: Arc<Notify>,
}

impl News {
    /// The worker has begun to wait here, or ceased to.
    pub(super) fn poll_changed(&mut self, worker: &WorkerId) {
        if self.has_peers {
            self.polls.insert(worker.clone());
            self.wake.notify_one();
        }
    }

    /// A task of the skill went to the worker in turn.
    pub(super) fn had_its_turn(&mut self, skill: &str, worker: &WorkerId) {
        if self.has_peers {
            self.turns.insert(skill.to_owned(), worker.clone());
            self.wake.notify_one();
        }
    }

    /// The worker's record in the store is another.
    pub(super) fn worker_changed(&mut self, worker: &WorkerId) {
        if self.has_peers {
            self.changed.insert(worker.clone());
            self.wake.notify_one();
        }
    }

    /// The worker's reputation is another.
    pub(super) fn rated(&mut self, worker: &WorkerId, reputation: f64) {
        if self.has_peers {
            self.rated.insert(worker.clone(), reputation);
            self.wake.notify_one();
        }
    }

    /// The task is left, until then, to a worker that waits with another orchestrator. That may have come
    /// to another choice, of what it knows, so it is told.
    pub(super) fn leave(&mut self, task: TaskId, worker: WorkerId, until: Timestamp) {
        self.next.offers.push((task.clone(), worker));
        self.left.push_back((until, task));
        self.wake.notify_one();
        self.hurry.notify_one();
    }

    /// What was to be told has to be told again, some time.
    fn not_told(&mut self, news: FleetNews) {
        self.next.whole = true;
        self.next.asks |= news.asks;
        self.changed.extend(news.changed);
        for (worker, reputation) in news.rated {
            self.rated.entry(worker).or_insert(reputation);
        }
    }

    /// Everybody is to be told everything.
    fn tell_all(&mut self, asks: bool) {
        self.next.whole = true;
        self.next.asks |= asks;
        self.wake.notify_one();
    }
}

impl State {
    /// Takes what there is to tell.
    fn take_news(&mut self, from: Uuid, workers: &Workers) -> FleetNews {
        let mut news = std::mem::take(&mut self.news.next);
        news.from = from;
        let touched = std::mem::take(&mut self.news.polls);
        let is_here = |worker: &WorkerId| self.polls.is_here(worker);
        if news.whole {
            news.waiting.extend(
                self.polls
                    .workers_here()
                    .map(|worker| (worker.clone(), self.load_of(worker, workers))),
            );
        } else {
            let (here, gone): (Vec<_>, Vec<_>) = touched.into_iter().partition(is_here);
            let with_load = here.into_iter().map(|worker| {
                let load = self.load_of(&worker, workers);
                (worker, load)
            });
            news.waiting.extend(with_load);
            news.gone = gone;
        }
        news.changed.extend(std::mem::take(&mut self.news.changed));
        news.rated.extend(std::mem::take(&mut self.news.rated));
        news.turns.extend(std::mem::take(&mut self.news.turns));
        news
    }

    fn load_of(&self, worker: &WorkerId, workers: &Workers) -> u32 {
        let known = workers.get(worker);
        known.map_or(0, |known| polls::load(known, &self.holders))
    }

    /// Takes tasks that others have had time to take, and did not.
    fn take_left(&mut self, now: Timestamp) -> Vec<TaskId> {
        let over = self.news.left.partition_point(|(until, _)| *until <= now);
        self.news.left.drain(..over).map(|(_, task)| task).collect()
    }

    /// Notes who waits with another orchestrator, of those whom this one knows.
    fn note(&mut self, news: &FleetNews, workers: &Workers) {
        if news.whole {
            self.polls.all_gone_from(news.from);
        }
        for (worker, load) in &news.waiting {
            if let Some(known) = workers.get(worker) {
                self.polls.waits_with(news.from, worker.clone(), *load);
                self.polls.index(worker, known.open_skills());
            }
        }
        for worker in &news.gone {
            self.polls.gone_from(news.from, worker);
        }
        for (skill, worker) in &news.turns {
            self.polls.asked(skill, worker, Strategy::RoundRobin);
        }
    }
}

impl Runtime {
    /// Returns how many workers wait for a task with another orchestrator on the same store, as far
    /// as those have told.
    #[must_use]
    pub fn waiting_elsewhere(&self) -> usize {
        self.inner.matchmaker.state().polls.count_elsewhere()
    }
}

impl Inner {
    /// Tells the others what there is to tell, and takes back what was left to them in vain.
    pub(super) async fn run_fleet(self: Arc<Self>) {
        let from = self.ports.entropy.uuid();
        let (wake, hurry) = {
            let mut state = self.matchmaker.state();
            state.news.is_shared = true;
            state.news.tell_all(true);
            let News { wake, hurry, .. } = &state.news;
            (Arc::clone(wake), Arc::clone(hurry))
        };
        let mut alive_at = self.ports.clock.now();
        while !self.stop.is_cancelled() {
            let now = self.ports.clock.now();
            self.take_back(now);
            let news = self.news(from, now);
            let told_at = Instant::now();
            let says_nothing = news
                == FleetNews {
                    from,
                    ..FleetNews::default()
                };
            if !says_nothing || alive_at <= now {
                alive_at = now.after(SIGN_OF_LIFE_EVERY);
                if let Err(error) = self.ports.jobs.tell(&news).await {
                    tracing::debug!(%error, "the other orchestrators were not told the news");
                    self.matchmaker.state().news.not_told(news);
                }
            }
            let next = self.matchmaker.state().news.left.front().map(|(at, _)| *at);
            let pause = next.unwrap_or(alive_at).min(alive_at);
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {}
                () = wake.notified() => self.gather(&hurry, told_at).await,
                () = tokio::time::sleep(pause.since(self.ports.clock.now())) => {}
            }
        }
        let bye = FleetNews {
            from,
            leaves: true,
            ..FleetNews::default()
        };
        // They find out without it.
        drop(self.ports.jobs.tell(&bye).await);
    }

    /// Waits for more to tell: a moment, or until the last message is some time ago. A task that is
    /// offered to another orchestrator does not wait that long, and nothing else wakes this one up.
    async fn gather(&self, hurry: &Notify, told_at: Instant) {
        self.pause(GATHERED_FOR).await;
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            () = hurry.notified() => {}
            () = sleep_until(told_at + TOLD_EVERY) => {}
        }
    }

    fn news(&self, from: Uuid, now: Timestamp) -> FleetNews {
        let workers = self.registry.read();
        let mut state = self.matchmaker.state();
        let silent_since = Timestamp(now.0 - SILENT_MS.cast_signed());
        state.news.has_peers = state.polls.forget_peers(silent_since);
        state.take_news(from, &workers)
    }

    /// Finds workers of its own for the tasks that others have not taken.
    fn take_back(self: &Arc<Self>, now: Timestamp) {
        let left = self.matchmaker.state().take_left(now);
        for id in left {
            self.match_left(&id);
        }
    }

    /// The worker's record in the store is another: the others have to read it anew.
    pub(super) fn worker_changed(&self, worker: &WorkerId) {
        self.matchmaker.state().news.worker_changed(worker);
    }

    /// Hints were missed: the others are asked to say everything again.
    pub(super) fn ask_fleet(&self) {
        self.matchmaker.state().news.tell_all(true);
    }

    /// Takes what another orchestrator tells.
    pub(super) async fn take_news(self: &Arc<Self>, news: &FleetNews) -> Result<(), RuntimeError> {
        let now = self.ports.clock.now();
        {
            let mut state = self.matchmaker.state();
            if news.leaves {
                state.polls.forget_peer(news.from);
                return Ok(());
            }
            let is_new = state.polls.heard(news.from, now);
            state.news.has_peers = true;
            if is_new || news.asks {
                state.news.tell_all(is_new && !news.whole);
            }
        }
        self.meet_of(news).await?;
        for (worker, reputation) in &news.rated {
            self.registry
                .change(worker, |known| known.with_reputation(*reputation));
        }
        {
            let workers = self.registry.read();
            self.matchmaker.state().note(news, &workers);
        }
        for (task, worker) in &news.offers {
            self.take_offer(task, worker);
        }
        Ok(())
    }

    /// Learns from the store of workers that are new here, or another than they were.
    async fn meet_of(self: &Arc<Self>, news: &FleetNews) -> Result<(), StoreError> {
        let mut ids = news.changed.clone();
        {
            let workers = self.registry.read();
            let waiting = news.waiting.iter().map(|(worker, _)| worker);
            ids.extend(waiting.filter(|id| !workers.contains_key(*id)).cloned());
        }
        if ids.is_empty() {
            return Ok(());
        }
        self.meet(&ids, false).await
    }

    /// Learns of a worker that asks here for work and is not known: the orchestrator with which it has
    /// registered may have died before it told.
    pub(super) async fn meet_if_new(self: &Arc<Self>, worker: &WorkerId) {
        let is_shared = self.matchmaker.state().news.is_shared;
        if is_shared && let Err(error) = self.meet(std::slice::from_ref(worker), true).await {
            // Its next heartbeat has it register anew.
            tracing::debug!(worker.id = %worker, %error, "a worker could not be looked up");
        }
    }

    async fn meet(self: &Arc<Self>, ids: &[WorkerId], only_new: bool) -> Result<(), StoreError> {
        for mut worker in self.ports.workers.load_workers(ids).await? {
            let id = worker.id.clone();
            if worker.status == WorkerStatus::Offline {
                self.registry.remove(&[id]);
                continue;
            }
            let known = self.registry.known(&id);
            if only_new && known.is_some() {
                // It has registered here meanwhile.
                continue;
            }
            let until = known.map_or(worker.expires_at, |known| known.worker.expires_at);
            // It may have been heard here since.
            worker.expires_at = worker.expires_at.max(until);
            self.registry.insert(Known::new(worker));
            let workers = self.registry.read();
            if let Some(known) = workers.get(&id) {
                let mut state = self.matchmaker.state();
                state.polls.index(&id, known.open_skills());
            }
            drop(workers);
            self.rematch(&id);
        }
        Ok(())
    }
}
