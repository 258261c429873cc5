//! Workers that wait for a task, with this orchestrator or with another on the same store, and which
//! of them should have one.
//!
//! Each orchestrator ranks the whole fleet for every task that it hears of. The one that holds the
//! poll of the worker that comes out best takes the task; the others leave it alone for a moment.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use tokio::sync::oneshot;
use uuid::Uuid;

use super::Settings;
use super::handout::Offer;
use super::holders::Holders;
use super::queue::Fit;
use super::registry::Known;
use crate::base::{Timestamp, WorkerId};
use crate::domain::TaskSpec;
use crate::domain::task::Strategy;
use crate::engine::select::{self, Candidate};

/// Workers that are ranked for one task; beyond it the turn moves on, so that all get theirs.
const CANDIDATES_MAX: usize = 64;

/// The workers that are known, by id.
pub(super) type Workers = BTreeMap<WorkerId, Arc<Known>>;

/// An open poll.
pub(super) struct Poll {
    number: u64,
    /// The id that its caller wants the lease to have.
    pub(super) lease: Option<Uuid>,
    answer: oneshot::Sender<Offer>,
}

impl Poll {
    /// Answers the poll. What a poll that is gone was given is dropped, which puts it back.
    pub(super) fn answer(self, offer: Offer) {
        drop(self.answer.send(offer));
    }
}

/// Who should have a task.
pub(super) enum Choice {
    /// This worker, whose poll is here.
    Here(WorkerId, Poll),
    /// This worker, which waits with another orchestrator.
    Elsewhere(WorkerId),
    /// No worker that qualifies waits.
    Nobody,
}

/// Whom a ranking looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Among {
    /// Everybody who waits.
    All,
    /// Those whose polls are here.
    Here,
}

/// What a ranking looks at.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) workers: &'a Workers,
    pub(super) holders: &'a Holders,
    pub(super) settings: &'a Settings,
    pub(super) among: Among,
}

/// What another orchestrator has said of the workers that wait with it.
struct Peer {
    heard: Timestamp,
    waiting: BTreeMap<WorkerId, u32>,
}

/// The polls.
#[derive(Default)]
pub(super) struct Polls {
    here: BTreeMap<WorkerId, VecDeque<Poll>>,
    peers: BTreeMap<Uuid, Peer>,
    /// Workers that wait here or elsewhere, by the skills that they had when they began to.
    by_skill: HashMap<String, BTreeSet<WorkerId>>,
    /// Who was asked last, by skill: the next ranking begins behind it. `round_robin` has turns of
    /// its own, which other strategies' choices do not disturb.
    asked_last: HashMap<(String, bool), WorkerId>,
    opened: u64,
}

impl Polls {
    /// Opens a poll; returns its number and where its answer will come.
    pub(super) fn open(
        &mut self,
        worker: &WorkerId,
        lease: Option<Uuid>,
    ) -> (u64, oneshot::Receiver<Offer>) {
        let (answer, receiver) = oneshot::channel();
        self.opened += 1;
        let poll = Poll {
            number: self.opened,
            lease,
            answer,
        };
        let polls = self.here.entry(worker.clone()).or_default();
        polls.push_back(poll);
        (self.opened, receiver)
    }

    /// Closes a poll, if it is still open.
    pub(super) fn close(&mut self, worker: &WorkerId, number: u64) {
        let Some(polls) = self.here.get_mut(worker) else {
            return;
        };
        polls.retain(|poll| poll.number != number);
        if polls.is_empty() {
            self.here.remove(worker);
            self.forget_skills(worker);
        }
    }

    /// Takes the worker's longest open poll.
    pub(super) fn take(&mut self, worker: &WorkerId) -> Option<Poll> {
        let poll = self.here.get_mut(worker)?.pop_front()?;
        self.close(worker, poll.number);
        Some(poll)
    }

    /// Puts a poll back that was taken and got nothing, as the next of its worker's. False when its
    /// caller has gone.
    pub(super) fn put_back(&mut self, worker: &WorkerId, poll: Poll) -> bool {
        if poll.answer.is_closed() {
            return false;
        }
        let polls = self.here.entry(worker.clone()).or_default();
        polls.push_front(poll);
        true
    }

    /// Ranks the worker for these skills from now on, if it waits at all.
    pub(super) fn index<'a>(&mut self, worker: &WorkerId, skills: impl Iterator<Item = &'a str>) {
        if !self.waits(worker) {
            return;
        }
        for skill in skills {
            let of_skill = self.by_skill.entry(skill.to_owned()).or_default();
            of_skill.insert(worker.clone());
        }
    }

    fn waits(&self, worker: &WorkerId) -> bool {
        self.is_here(worker) || self.load_elsewhere(worker).is_some()
    }

    fn forget_skills(&mut self, worker: &WorkerId) {
        if !self.waits(worker) {
            self.by_skill.retain(|_, workers| {
                workers.remove(worker);
                !workers.is_empty()
            });
        }
    }

    /// Tells whether the worker waits here.
    pub(super) fn is_here(&self, worker: &WorkerId) -> bool {
        self.here.contains_key(worker)
    }

    /// Tells whether any worker waits here.
    pub(super) fn any_here(&self) -> bool {
        !self.here.is_empty()
    }

    /// Returns the workers that wait here.
    pub(super) fn workers_here(&self) -> impl Iterator<Item = &WorkerId> {
        self.here.keys()
    }

    /// Returns how many polls are open here.
    pub(super) fn count(&self) -> usize {
        self.here.values().map(VecDeque::len).sum()
    }

    /// Returns how many workers wait elsewhere.
    pub(super) fn count_elsewhere(&self) -> usize {
        self.peers.values().map(|peer| peer.waiting.len()).sum()
    }

    /// Returns how many tasks the worker has, as an orchestrator with which it waits has said.
    fn load_elsewhere(&self, worker: &WorkerId) -> Option<u32> {
        let mut peers = self.peers.values();
        peers.find_map(|peer| peer.waiting.get(worker).copied())
    }

    /// Picks the worker that should have the task. A poll that is here is taken with it.
    pub(super) fn choose(&mut self, spec: &TaskSpec, view: View<'_>) -> Choice {
        let turns = (spec.skill.clone(), spec.strategy == Strategy::RoundRobin);
        let Some(worker) = self.best(spec, view, &turns) else {
            return Choice::Nobody;
        };
        if !self.is_here(&worker) {
            return Choice::Elsewhere(worker);
        }
        self.asked_last.insert(turns, worker.clone());
        match self.take(&worker) {
            Some(poll) => Choice::Here(worker, poll),
            None => Choice::Nobody,
        }
    }

    fn best(&self, spec: &TaskSpec, view: View<'_>, turns: &(String, bool)) -> Option<WorkerId> {
        let waiting = self.by_skill.get(&spec.skill)?;
        let behind = match self.asked_last.get(turns) {
            Some(last) => Bound::Excluded(last),
            None => Bound::Unbounded,
        };
        let rest = waiting.range::<WorkerId, _>((behind, Bound::Unbounded));
        let candidates: Vec<Candidate<'_>> = rest
            .chain(waiting.iter())
            .take(waiting.len())
            .filter(|id| view.among == Among::All || self.is_here(id))
            .filter_map(|id| view.workers.get(id))
            .filter(|known| known.fit(spec, view.settings.reputation_min) == Fit::Yes)
            .take(CANDIDATES_MAX)
            .filter_map(|known| self.candidate(known, view.holders))
            .collect();
        let chosen = select::choose(spec, &candidates, view.settings.soft_limit)?;
        Some(candidates[chosen].worker.id.clone())
    }

    fn candidate<'a>(&self, known: &'a Known, holders: &Holders) -> Option<Candidate<'a>> {
        let worker = &known.worker;
        let (load, is_near) = if self.is_here(&worker.id) {
            (load(known, holders), true)
        } else {
            (self.load_elsewhere(&worker.id)?, false)
        };
        Some(Candidate {
            worker,
            load,
            is_near,
        })
    }

    /// The task is left to the orchestrator with which the worker waits: until that says anew that
    /// it does, it does not.
    pub(super) fn left_to(&mut self, worker: &WorkerId, spec: &TaskSpec) {
        for peer in self.peers.values_mut() {
            peer.waiting.remove(worker);
        }
        self.forget_skills(worker);
        self.asked(&spec.skill, worker, spec.strategy);
    }

    /// Notes whose turn it was.
    pub(super) fn asked(&mut self, skill: &str, worker: &WorkerId, strategy: Strategy) {
        let turns = (skill.to_owned(), strategy == Strategy::RoundRobin);
        self.asked_last.insert(turns, worker.clone());
    }

    /// An orchestrator is there; true when it was not known to be.
    pub(super) fn heard(&mut self, peer: Uuid, now: Timestamp) -> bool {
        let is_new = !self.peers.contains_key(&peer);
        let peer = self.peers.entry(peer).or_insert_with(|| Peer {
            heard: now,
            waiting: BTreeMap::new(),
        });
        peer.heard = now;
        is_new
    }

    /// A worker waits with that orchestrator, and has so many tasks. To be ranked it is indexed.
    pub(super) fn waits_with(&mut self, peer: Uuid, worker: WorkerId, load: u32) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.waiting.insert(worker, load);
        }
    }

    /// A worker does not wait with that orchestrator any more.
    pub(super) fn gone_from(&mut self, peer: Uuid, worker: &WorkerId) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.waiting.remove(worker);
            self.forget_skills(worker);
        }
    }

    /// Nobody waits with that orchestrator.
    pub(super) fn all_gone_from(&mut self, peer: Uuid) {
        let peer = self.peers.get_mut(&peer);
        let waited = peer.map(|peer| std::mem::take(&mut peer.waiting));
        for worker in waited.unwrap_or_default().keys() {
            self.forget_skills(worker);
        }
    }

    /// Forgets orchestrators that were not heard of since; returns whether any other is left.
    pub(super) fn forget_peers(&mut self, silent_since: Timestamp) -> bool {
        let silent: Vec<Uuid> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.heard < silent_since)
            .map(|(id, _)| *id)
            .collect();
        for id in silent {
            self.forget_peer(id);
        }
        !self.peers.is_empty()
    }

    /// That orchestrator is no more.
    pub(super) fn forget_peer(&mut self, peer: Uuid) {
        self.all_gone_from(peer);
        self.peers.remove(&peer);
    }
}

/// Returns how many tasks a worker has that waits here: as counted, or as it says.
pub(super) fn load(known: &Known, holders: &Holders) -> u32 {
    let counted = holders.count(&known.worker.id);
    let told = u32::try_from(known.worker.current_tasks.len()).unwrap_or(u32::MAX);
    counted.max(told)
}
