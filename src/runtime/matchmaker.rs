//! Matching: a queued task is bound to a worker only by a lease, and only when that worker has a
//! poll open. So no task is ever parked behind a dead or busy worker.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use super::fleet::News;
use super::handout::{Handout, Offer, Ticket};
use super::holders::Holders;
use super::polls::{Among, Choice, Poll, Polls, View, Workers};
use super::queue::{Fit, Origin, Queue};
use super::{Inner, RuntimeError, Settings};
use crate::base::{JobId, TaskId, Timestamp, WorkerId};
use crate::domain::task::Strategy;
use crate::domain::{Lease, Task, TaskSpec};

/// Tasks that one look at the store's queue brings.
const REFILL_BATCH: u32 = 1_000;

/// All of it, behind one short lock that is never held across an await.
#[derive(Default)]
pub(super) struct State {
    pub(super) queue: Queue,
    pub(super) polls: Polls,
    pub(super) holders: Holders,
    /// What the other orchestrators are to be told.
    pub(super) news: News,
}

/// The matchmaker.
#[derive(Default)]
pub(super) struct Matchmaker {
    state: Mutex<State>,
    /// A worker has begun to wait here.
    pub(super) poll_opened: Notify,
}

/// Closes a poll when its caller goes away.
pub(super) struct OpenPoll {
    inner: Arc<Inner>,
    worker: WorkerId,
    number: u64,
}

impl Drop for OpenPoll {
    fn drop(&mut self) {
        let mut state = self.inner.matchmaker.state();
        state.polls.close(&self.worker, self.number);
        state.news.poll_changed(&self.worker);
    }
}

impl State {
    /// Picks the worker that should have the task.
    fn choose(
        &mut self,
        spec: &TaskSpec,
        workers: &Workers,
        settings: &Settings,
        among: Among,
    ) -> Choice {
        let view = View {
            workers,
            holders: &self.holders,
            settings,
            among,
        };
        let choice = self.polls.choose(spec, view);
        if let Choice::Here(worker, _) = &choice {
            self.news.poll_changed(worker);
            if spec.strategy == Strategy::RoundRobin {
                self.news.had_its_turn(&spec.skill, worker);
            }
        }
        choice
    }
}

impl Matchmaker {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets a task: it has ended, or is about to be queued anew. Returns who had it.
    pub(super) fn remove(&self, id: &TaskId) -> Option<WorkerId> {
        let mut state = self.state();
        state.queue.remove(id);
        state.holders.remove(id)
    }

    /// Forgets a queued task: another orchestrator has handed it out.
    pub(super) fn handed_out_elsewhere(&self, id: &TaskId, now: Timestamp) {
        self.state().queue.handed_out_elsewhere(id, now);
    }

    /// Forgets the queued tasks of one stay of a job in one state.
    pub(super) fn remove_visit(&self, job: JobId, visit: u64) {
        self.state().queue.remove_visit(job, visit);
    }

    /// Tells whether any worker waits for a task.
    pub(super) fn has_open_polls(&self) -> bool {
        self.state().polls.any_here()
    }

    /// Takes the open poll that should have the task out of the others; nothing when a worker should
    /// have it that does not wait here.
    pub(super) fn take_poll(
        &self,
        spec: &TaskSpec,
        workers: &Workers,
        settings: &Settings,
    ) -> Option<(WorkerId, Poll)> {
        match self.state().choose(spec, workers, settings, Among::All) {
            Choice::Here(worker, poll) => Some((worker, poll)),
            Choice::Elsewhere(_) | Choice::Nobody => None,
        }
    }

    /// Puts a poll back that was taken and got nothing, as the next of its worker's.
    pub(super) fn put_back(&self, worker: &WorkerId, poll: Poll) {
        // Its caller closes it under this lock, or has gone before.
        let mut state = self.state();
        if state.polls.put_back(worker, poll) {
            state.news.poll_changed(worker);
            drop(state);
            self.poll_opened.notify_one();
        }
    }

    /// Looks at the queue, and tells how many polls are open.
    pub(super) fn queue<T>(&self, look: impl FnOnce(&Queue, usize) -> T) -> T {
        let state = self.state();
        look(&state.queue, state.polls.count())
    }

    /// Looks at, or changes, who has which task.
    pub(super) fn holders<T>(&self, look: impl FnOnce(&mut Holders) -> T) -> T {
        look(&mut self.state().holders)
    }
}

impl Inner {
    /// Gives a queued task to the best open poll, or keeps it for the next.
    /// When another orchestrator has the best one, it has a moment to take the task.
    pub(super) fn match_task(self: &Arc<Self>, task: Task, origin: Origin, now: Timestamp) {
        let workers = self.registry.read();
        let mut state = self.matchmaker.state();
        if task.available_at > now {
            state.queue.push(task, origin, now);
            return;
        }
        match state.choose(&task.spec, &workers, &self.settings, Among::All) {
            Choice::Nobody => state.queue.push(task, origin, now),
            Choice::Elsewhere(worker) => {
                state.polls.left_to(&worker, &task.spec);
                let until = now.after_ms(self.settings.left_for_ms);
                state.news.leave(task.id.clone(), worker, until);
                state.queue.push(task, origin, now);
            }
            Choice::Here(_, poll) => {
                drop(state);
                drop(workers);
                poll.answer(Offer::Queued(self.ticket(task)));
            }
        }
    }

    /// Finds a worker here for a task that another orchestrator was to take, and has not taken.
    pub(super) fn match_left(self: &Arc<Self>, id: &TaskId) {
        let workers = self.registry.read();
        let mut state = self.matchmaker.state();
        let Some(spec) = state.queue.get(id).map(|task| task.spec.clone()) else {
            return;
        };
        let choice = state.choose(&spec, &workers, &self.settings, Among::Here);
        if let Choice::Here(_, poll) = choice
            && let Some(task) = state.queue.remove(id)
        {
            drop(state);
            drop(workers);
            poll.answer(Offer::Queued(self.ticket(task)));
        }
    }

    /// Gives a queued task to a worker that waits here, because another orchestrator leaves it.
    pub(super) fn take_offer(self: &Arc<Self>, task: &TaskId, worker: &WorkerId) {
        let Some(known) = self.registry.known(worker) else {
            return;
        };
        let mut state = self.matchmaker.state();
        let min = self.settings.reputation_min;
        let fits = |task: &Task| known.fit(&task.spec, min) == Fit::Yes;
        if !state.queue.get(task).is_some_and(fits) {
            return;
        }
        if let Some(poll) = state.polls.take(worker)
            && let Some(task) = state.queue.remove(task)
        {
            state
                .polls
                .asked(&task.spec.skill, worker, task.spec.strategy);
            state.news.poll_changed(worker);
            drop(state);
            poll.answer(Offer::Queued(self.ticket(task)));
        }
    }

    /// Makes the tasks whose delay is over known.
    pub(super) fn release_delayed(self: &Arc<Self>, now: Timestamp) {
        let available = self.matchmaker.state().queue.take_available(now);
        for task in available {
            self.match_task(task, Origin::Here, now);
        }
        if let Some(next) = self.matchmaker.state().queue.next_available() {
            self.schedule.wake_at(next);
        }
    }

    /// Looks again for a worker that has changed while its polls were open.
    pub(super) fn rematch(self: &Arc<Self>, worker: &WorkerId) {
        loop {
            let Some(known) = self.registry.known(worker) else {
                return;
            };
            let now = self.ports.clock.now();
            let mut state = self.matchmaker.state();
            if !state.polls.is_here(worker) {
                return;
            }
            state.polls.index(worker, known.open_skills());
            let min = self.settings.reputation_min;
            let Some(task) = state
                .queue
                .take_for(known.open_skills(), now, |spec| known.fit(spec, min))
            else {
                return;
            };
            let poll = state.polls.take(worker);
            state.news.poll_changed(worker);
            drop(state);
            let ticket = self.ticket(task);
            if let Some(poll) = poll {
                poll.answer(Offer::Queued(ticket));
            }
        }
    }

    /// Takes a task for the worker, or opens a poll for one.
    pub(super) fn take_or_open(
        self: &Arc<Self>,
        worker: &WorkerId,
        lease: Option<Uuid>,
    ) -> Result<Ticket, (OpenPoll, oneshot::Receiver<Offer>)> {
        let known = self.registry.known(worker);
        let now = self.ports.clock.now();
        let mut state = self.matchmaker.state();
        let min = self.settings.reputation_min;
        if let Some(known) = &known
            && let Some(task) = state
                .queue
                .take_for(known.open_skills(), now, |spec| known.fit(spec, min))
        {
            return Ok(self.ticket(task));
        }
        let (number, receiver) = state.polls.open(worker, lease);
        if let Some(known) = &known {
            state.polls.index(worker, known.open_skills());
        }
        state.news.poll_changed(worker);
        drop(state);
        self.matchmaker.poll_opened.notify_one();
        Err((
            OpenPoll {
                inner: Arc::clone(self),
                worker: worker.clone(),
                number,
            },
            receiver,
        ))
    }

    fn ticket(self: &Arc<Self>, task: Task) -> Ticket {
        Ticket {
            inner: Arc::clone(self),
            task: Some(task),
        }
    }

    /// Returns the lease by which the worker would have the task from now on, with this id if any.
    pub(super) fn new_lease(
        &self,
        id: Option<Uuid>,
        task: &Task,
        worker: &WorkerId,
        now: Timestamp,
    ) -> Lease {
        let deadline = now.after_ms(task.spec.execution_timeout_ms);
        Lease {
            id: id.unwrap_or_else(|| self.ports.entropy.uuid()),
            worker: worker.clone(),
            since: now,
            until: now.after_ms(self.settings.lease_ms),
            deadline: task
                .result_deadline
                .map_or(deadline, |result| deadline.min(result)),
        }
    }

    /// Binds the task to the worker; nothing when it is no longer to be had.
    pub(super) async fn lease(
        self: &Arc<Self>,
        ticket: Ticket,
        worker: &WorkerId,
        lease: Option<Uuid>,
    ) -> Result<Option<Handout>, RuntimeError> {
        let now = self.ports.clock.now();
        let task = &ticket.task.as_ref().expect("not taken yet");
        let lease = self.new_lease(lease, task, worker, now);
        let id = task.id.clone();
        // From here on a caller that goes away gives the lease back instead of the ticket.
        let mut handout = Handout {
            task: ticket.task.as_ref().expect("not taken yet").clone(),
            lease: lease.id,
            inner: Some(Arc::clone(self)),
        };
        let leased = self.ports.jobs.lease_task(&id, lease).await;
        match leased {
            Ok(Some(task)) => {
                drop(ticket.take());
                self.matchmaker
                    .holders(|holders| holders.add(&id, worker, handout.lease));
                if let Some(due) = task.due_at() {
                    self.schedule.wake_at(due);
                }
                self.ports.traces.leased(&task);
                handout.task = task;
                Ok(Some(handout))
            }
            Ok(None) => {
                drop(ticket.take());
                handout.inner = None;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Reads the store's queue into the index.
    pub(super) async fn refill_queue(self: &Arc<Self>) -> Result<(), RuntimeError> {
        let mut after: Option<TaskId> = None;
        loop {
            let tasks = self
                .ports
                .jobs
                .queued_tasks(after.as_ref(), REFILL_BATCH)
                .await?;
            let Some(last) = tasks.last() else {
                return Ok(());
            };
            after = Some(last.id.clone());
            for task in tasks {
                self.offer(task, Origin::Here);
            }
        }
    }
}
