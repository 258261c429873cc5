//! Matching: a queued task is bound to a worker only by a lease, and only when that worker has a
//! poll open. So no task is ever parked behind a dead or busy worker.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::handout::{Handout, Offer, Ticket};
use super::holders::Holders;
use super::queue::{Fit, Queue};
use super::registry::Known;
use super::{Inner, Runtime, RuntimeError};
use crate::base::{JobId, TaskId, Timestamp, WorkerId};
use crate::domain::task::Strategy;
use crate::domain::{Lease, Task, TaskSpec};
use crate::engine::select::{self, Candidate};

/// Workers that are ranked for one task; beyond it the turn moves on, so that all get theirs.
const CANDIDATES_MAX: usize = 64;
/// Tasks that one look at the store's queue brings.
const REFILL_BATCH: u32 = 1_000;

/// An open poll.
pub(super) struct Poll {
    number: u64,
    answer: oneshot::Sender<Offer>,
}

impl Poll {
    /// Answers the poll. What a poll that is gone was given is dropped, which puts it back.
    pub(super) fn answer(self, offer: Offer) {
        drop(self.answer.send(offer));
    }
}

/// All of it, behind one short lock that is never held across an await.
#[derive(Default)]
struct State {
    queue: Queue,
    polls: BTreeMap<WorkerId, VecDeque<Poll>>,
    /// Workers with a poll open, by the skills that they had when they opened it.
    pollers: HashMap<String, BTreeSet<WorkerId>>,
    /// Who was asked last, by skill: the next ranking begins behind it. `round_robin` has turns of
    /// its own, which other strategies' choices do not disturb.
    asked_last: HashMap<(String, bool), WorkerId>,
    holders: Holders,
    polls_opened: u64,
}

/// The matchmaker.
#[derive(Default)]
pub(super) struct Matchmaker {
    state: Mutex<State>,
}

/// Closes a poll when its caller goes away.
struct OpenPoll {
    inner: Arc<Inner>,
    worker: WorkerId,
    number: u64,
}

impl Drop for OpenPoll {
    fn drop(&mut self) {
        self.inner
            .matchmaker
            .state()
            .close_poll(&self.worker, self.number);
    }
}

impl State {
    fn close_poll(&mut self, worker: &WorkerId, number: u64) {
        let Some(polls) = self.polls.get_mut(worker) else {
            return;
        };
        polls.retain(|poll| poll.number != number);
        if polls.is_empty() {
            self.polls.remove(worker);
            self.pollers.retain(|_, workers| {
                workers.remove(worker);
                !workers.is_empty()
            });
        }
    }

    fn load(&self, known: &Known) -> u32 {
        let counted = self.holders.count(&known.worker.id);
        let told = u32::try_from(known.worker.current_tasks.len()).unwrap_or(u32::MAX);
        counted.max(told)
    }

    /// Picks the open poll that should have the task.
    fn pick(
        &mut self,
        spec: &TaskSpec,
        workers: &BTreeMap<WorkerId, Arc<Known>>,
        settings: &super::Settings,
    ) -> Option<(WorkerId, Poll)> {
        let pollers = self.pollers.get(&spec.skill)?;
        let turns = (spec.skill.clone(), spec.strategy == Strategy::RoundRobin);
        let behind = match self.asked_last.get(&turns) {
            Some(last) => Bound::Excluded(last),
            None => Bound::Unbounded,
        };
        let rest = pollers.range::<WorkerId, _>((behind, Bound::Unbounded));
        let candidates: Vec<Candidate<'_>> = rest
            .chain(pollers.iter())
            .take(pollers.len())
            .filter_map(|id| workers.get(id))
            .filter(|known| known.fit(spec, settings.reputation_min) == Fit::Yes)
            .take(CANDIDATES_MAX)
            .map(|known| Candidate {
                worker: &known.worker,
                load: self.load(known),
            })
            .collect();
        let chosen = select::choose(spec, &candidates, settings.soft_limit)?;
        let worker = candidates[chosen].worker.id.clone();
        self.asked_last.insert(turns, worker.clone());
        let poll = self.polls.get_mut(&worker)?.pop_front()?;
        self.close_poll(&worker, poll.number);
        Some((worker, poll))
    }
}

impl Matchmaker {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets a task: it has ended, or is about to be queued anew. Returns who had it.
    pub(super) fn remove(&self, id: &TaskId) -> Option<WorkerId> {
        let mut state = self.state();
        state.queue.remove(id);
        state.holders.remove(id)
    }

    /// Forgets the queued tasks of one stay of a job in one state.
    pub(super) fn remove_visit(&self, job: JobId, visit: u64) {
        self.state().queue.remove_visit(job, visit);
    }

    /// Tells whether any worker waits for a task.
    pub(super) fn has_open_polls(&self) -> bool {
        !self.state().polls.is_empty()
    }

    /// Takes the open poll that should have the task out of the others.
    pub(super) fn take_poll(
        &self,
        spec: &TaskSpec,
        workers: &BTreeMap<WorkerId, Arc<Known>>,
        settings: &super::Settings,
    ) -> Option<(WorkerId, Poll)> {
        self.state().pick(spec, workers, settings)
    }

    /// Puts a poll back that was taken and got nothing, as the next of its worker's.
    pub(super) fn put_back(&self, worker: &WorkerId, poll: Poll) {
        let mut state = self.state();
        // Its caller closes it under this lock, or has gone before.
        if poll.answer.is_closed() {
            return;
        }
        let polls = state.polls.entry(worker.clone()).or_default();
        polls.push_front(poll);
    }

    /// Looks at the queue, and tells how many polls are open.
    pub(super) fn queue<T>(&self, look: impl FnOnce(&Queue, usize) -> T) -> T {
        let state = self.state();
        look(&state.queue, state.polls.values().map(VecDeque::len).sum())
    }

    /// Looks at, or changes, who has which task.
    pub(super) fn holders<T>(&self, look: impl FnOnce(&mut Holders) -> T) -> T {
        look(&mut self.state().holders)
    }
}

impl Inner {
    /// Gives a queued task to the best open poll, or keeps it for the next.
    pub(super) fn match_task(self: &Arc<Self>, task: Task, now: Timestamp) {
        let workers = self.registry.read();
        let mut state = self.matchmaker.state();
        if task.available_at > now {
            state.queue.push(task, now);
            return;
        }
        match state.pick(&task.spec, &workers, &self.settings) {
            None => state.queue.push(task, now),
            Some((_, poll)) => {
                drop(state);
                drop(workers);
                poll.answer(Offer::Queued(self.ticket(task)));
            }
        }
    }

    /// Makes the tasks whose delay is over known.
    pub(super) fn release_delayed(self: &Arc<Self>, now: Timestamp) {
        let available = self.matchmaker.state().queue.take_available(now);
        for task in available {
            self.match_task(task, now);
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
            let mut state = self.matchmaker.state();
            if !state.polls.contains_key(worker) {
                return;
            }
            for skill in known.open_skills() {
                let pollers = state.pollers.entry(skill.to_owned()).or_default();
                pollers.insert(worker.clone());
            }
            let min = self.settings.reputation_min;
            let Some(task) = state
                .queue
                .take_for(known.open_skills(), |spec| known.fit(spec, min))
            else {
                return;
            };
            let poll = state.polls.get_mut(worker).and_then(VecDeque::pop_front);
            if let Some(poll) = &poll {
                let number = poll.number;
                state.close_poll(worker, number);
            }
            drop(state);
            let ticket = self.ticket(task);
            if let Some(poll) = poll {
                poll.answer(Offer::Queued(ticket));
            }
        }
    }

    /// Takes a task for the worker, or opens a poll for one.
    fn take_or_open(
        self: &Arc<Self>,
        worker: &WorkerId,
    ) -> Result<Ticket, (OpenPoll, oneshot::Receiver<Offer>)> {
        let known = self.registry.known(worker);
        let mut state = self.matchmaker.state();
        let min = self.settings.reputation_min;
        if let Some(known) = &known
            && let Some(task) = state
                .queue
                .take_for(known.open_skills(), |spec| known.fit(spec, min))
        {
            return Ok(self.ticket(task));
        }
        for skill in known.iter().flat_map(|known| known.open_skills()) {
            state
                .pollers
                .entry(skill.to_owned())
                .or_default()
                .insert(worker.clone());
        }
        let (answer, receiver) = oneshot::channel();
        state.polls_opened += 1;
        let number = state.polls_opened;
        state
            .polls
            .entry(worker.clone())
            .or_default()
            .push_back(Poll { number, answer });
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

    /// Returns the lease by which the worker would have the task from now on.
    pub(super) fn new_lease(&self, task: &Task, worker: &WorkerId, now: Timestamp) -> Lease {
        let deadline = now.after_ms(task.spec.execution_timeout_ms);
        Lease {
            id: self.ports.entropy.uuid(),
            worker: worker.clone(),
            since: now,
            until: now.after_ms(self.settings.lease_ms),
            deadline: task
                .result_deadline
                .map_or(deadline, |result| deadline.min(result)),
        }
    }

    /// Binds the task to the worker; nothing when it is no longer to be had.
    async fn lease(
        self: &Arc<Self>,
        ticket: Ticket,
        worker: &WorkerId,
    ) -> Result<Option<Handout>, RuntimeError> {
        let now = self.ports.clock.now();
        let task = &ticket.task.as_ref().expect("not taken yet");
        let lease = self.new_lease(task, worker, now);
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
                self.offer(task);
            }
        }
    }
}

impl Runtime {
    /// Waits for a task for the worker, at most so long. Dropping the future closes the poll;
    /// dropping the handout undelivered gives its lease back.
    pub async fn poll(
        &self,
        worker: &WorkerId,
        wait: Duration,
    ) -> Result<Option<Handout>, RuntimeError> {
        let deadline = tokio::time::Instant::now() + wait;
        while !self.inner.stop.is_cancelled() {
            let offer = match self.inner.take_or_open(worker) {
                Ok(ticket) => Offer::Queued(ticket),
                Err((_open, receiver)) => tokio::select! {
                    biased;
                    offer = receiver => match offer {
                        Ok(offer) => offer,
                        Err(_closed) => return Ok(None),
                    },
                    () = self.inner.stop.cancelled() => return Ok(None),
                    () = tokio::time::sleep_until(deadline) => return Ok(None),
                },
            };
            let handout = match offer {
                Offer::Leased(handout) => Some(handout),
                // On the heap: it is short, and every poll that waits would carry its size.
                Offer::Queued(ticket) => Box::pin(self.inner.lease(ticket, worker)).await?,
            };
            if handout.is_some() {
                return Ok(handout);
            }
        }
        Ok(None)
    }
}
