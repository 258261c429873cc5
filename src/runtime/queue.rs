//! The queue's index in memory: which task a worker should have next.
//!
//! Order: larger priority first; then clients in turn, each client's tasks by age. A client that
//! queues a hundred thousand tasks does not keep another's ten waiting: a task's turn is one after
//! the later of its client's last turn and the turn that was served last (start-time fair queuing).
//! Only a hint: the store's queue is the truth, and the whole of this can be built anew from it.
//!
//! Several orchestrators have the same queue. While another one hands out tasks of a skill, those that
//! were queued elsewhere come a little later here: where each took the first of all, every task would be
//! tried by all of them, and what one has taken the others hear of only after they have tried the next.

use std::cmp::Reverse;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash as _, Hasher as _};

use crate::base::{ClientId, JobId, TaskId, Timestamp};
use crate::domain::{Task, TaskSpec};

/// Tasks at the head of a group that are tried on a worker whose skill checks parameters.
const SCAN_MAX: usize = 50;

/// Turns by which tasks that were queued elsewhere come later at most: more than go out while the news of
/// one is under way.
const ELSEWHERE_TURNS: u64 = 128;
/// How much older than the first of one's own such a task gets at most, in ms.
const ELSEWHERE_OLDER_MS: u64 = 1_000;
/// How long another orchestrator that has handed out a task is believed to hand out more, in ms.
const ELSEWHERE_BUSY_MS: u64 = 50;
/// Skills of which it is known.
const ELSEWHERE_SKILLS_MAX: usize = 1_000;

/// Where a task was queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// By this orchestrator.
    Here,
    /// By another one on the same store, which has it in its index as well.
    Elsewhere,
}

/// A task's place: what comes first is served first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// Larger priority first; a double's bits in an order that compares like the double.
    priority: Reverse<i64>,
    turn: u64,
    arrival: u64,
}

impl Place {
    /// Returns the place so many turns later.
    const fn later_by(self, turns: u64) -> Self {
        let turn = self.turn.saturating_add(turns);
        Self { turn, ..self }
    }
}

/// Where a task stands in the index.
enum Position {
    /// In a group.
    Ready {
        skill: String,
        group: GroupKey,
        place: Place,
    },
    /// Not before a time.
    Delayed(Timestamp),
}

/// What a group's tasks have in common: their requirements' digest, and where they were queued.
type GroupKey = (u64, Origin);

/// Tasks of one skill with the same requirements: a worker qualifies for all of them or for none,
/// but for their parameters.
type Group = BTreeMap<Place, Task>;

/// The tasks of one skill.
#[derive(Default)]
struct Skill {
    groups: BTreeMap<GroupKey, Group>,
    /// Since when each could be had, and its arrival, so that the oldest is found at once.
    ages: BTreeSet<(Timestamp, u64)>,
}

/// The index.
#[derive(Default)]
pub(super) struct Queue {
    by_skill: BTreeMap<String, Skill>,
    delayed: BTreeMap<(Timestamp, TaskId), Task>,
    positions: HashMap<TaskId, Position>,
    by_visit: BTreeSet<(JobId, u64, TaskId)>,
    turns: HashMap<ClientId, u64>,
    served: u64,
    arrivals: u64,
    /// Until when other orchestrators are believed to hand out tasks, by skill.
    elsewhere_until: HashMap<String, Timestamp>,
}

impl Queue {
    /// Returns how many tasks wait, delayed ones included.
    pub(super) fn len(&self) -> usize {
        self.positions.len()
    }

    /// Returns how many tasks wait that are not to be had yet.
    pub(super) fn delayed_count(&self) -> usize {
        self.delayed.len()
    }

    /// Returns each skill with how many tasks wait and since when the oldest of them does. Costs the
    /// same however many wait.
    pub(super) fn depths(&self) -> impl Iterator<Item = (&str, usize, Timestamp)> {
        self.by_skill.iter().filter_map(|(name, skill)| {
            let (oldest, _) = skill.ages.first()?;
            Some((name.as_str(), skill.ages.len(), *oldest))
        })
    }

    /// Another orchestrator has just handed out a task: forgets it, and notes that.
    pub(super) fn handed_out_elsewhere(&mut self, id: &TaskId, now: Timestamp) {
        let Some(task) = self.remove(id) else { return };
        if self.elsewhere_until.len() >= ELSEWHERE_SKILLS_MAX {
            self.elsewhere_until.retain(|_, until| *until > now);
        }
        let until = now.after_ms(ELSEWHERE_BUSY_MS);
        self.elsewhere_until.insert(task.spec.skill.clone(), until);
    }

    /// Puts a task in, unless it is there.
    pub(super) fn push(&mut self, task: Task, origin: Origin, now: Timestamp) {
        if self.positions.contains_key(&task.id) {
            return;
        }
        self.by_visit
            .insert((task.job_id, task.visit, task.id.clone()));
        if task.available_at > now {
            self.positions
                .insert(task.id.clone(), Position::Delayed(task.available_at));
            self.delayed
                .insert((task.available_at, task.id.clone()), task);
            return;
        }
        let place = self.place(&task);
        let (skill, group) = (task.spec.skill.clone(), (group_of(&task.spec), origin));
        let position = Position::Ready {
            skill: skill.clone(),
            group,
            place,
        };
        self.positions.insert(task.id.clone(), position);
        let skill = self.by_skill.entry(skill).or_default();
        skill.ages.insert((task.available_at, place.arrival));
        skill.groups.entry(group).or_default().insert(place, task);
    }

    fn place(&mut self, task: &Task) -> Place {
        if self.turns.len() > 10_000 {
            let served = self.served;
            self.turns.retain(|_, turn| *turn > served);
        }
        let turn = self.turns.entry(task.client.clone()).or_insert(0);
        *turn = self.served.max(*turn) + 1;
        self.arrivals += 1;
        Place {
            priority: Reverse(sortable(task.spec.priority)),
            turn: *turn,
            arrival: self.arrivals,
        }
    }

    /// Returns a task that can be had; nothing when it is not there.
    pub(super) fn get(&self, id: &TaskId) -> Option<&Task> {
        match self.positions.get(id)? {
            Position::Delayed(_) => None,
            Position::Ready {
                skill,
                group,
                place,
            } => self.by_skill.get(skill)?.groups.get(group)?.get(place),
        }
    }

    /// Takes a task out; nothing when it is not there.
    pub(super) fn remove(&mut self, id: &TaskId) -> Option<Task> {
        let task = match self.positions.remove(id)? {
            Position::Delayed(at) => self.delayed.remove(&(at, id.clone())),
            Position::Ready {
                skill,
                group,
                place,
            } => {
                let of_skill = self.by_skill.get_mut(&skill)?;
                let tasks = of_skill.groups.get_mut(&group)?;
                let task = tasks.remove(&place)?;
                of_skill.ages.remove(&(task.available_at, place.arrival));
                if tasks.is_empty() {
                    of_skill.groups.remove(&group);
                }
                if of_skill.groups.is_empty() {
                    self.by_skill.remove(&skill);
                }
                Some(task)
            }
        }?;
        self.by_visit
            .remove(&(task.job_id, task.visit, task.id.clone()));
        Some(task)
    }

    /// Takes out all tasks of one stay of a job in one state.
    pub(super) fn remove_visit(&mut self, job: JobId, visit: u64) {
        let ids: Vec<TaskId> = self
            .by_visit
            .range((job, visit, TaskId::new(""))..)
            .take_while(|(known, at, _)| *known == job && *at == visit)
            .map(|(_, _, id)| id.clone())
            .collect();
        for id in ids {
            self.remove(&id);
        }
    }

    /// Takes out the tasks whose delay is over.
    pub(super) fn take_available(&mut self, now: Timestamp) -> Vec<Task> {
        let mut available = Vec::new();
        while let Some(((at, id), _)) = self.delayed.first_key_value() {
            if *at > now {
                break;
            }
            let id = id.clone();
            available.extend(self.remove(&id));
        }
        available
    }

    /// Returns when the next delay is over.
    pub(super) fn next_available(&self) -> Option<Timestamp> {
        self.delayed.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes out the first task, among those of the skills, that the worker qualifies for.
    ///
    /// `qualifies` is asked once for a group's head; only when it says that the parameters alone
    /// stand in the way are the next ones tried.
    pub(super) fn take_for<'a>(
        &mut self,
        skills: impl Iterator<Item = &'a str>,
        now: Timestamp,
        qualifies: impl Fn(&TaskSpec) -> Fit,
    ) -> Option<Task> {
        let (mut here, mut elsewhere): (Option<Candidate>, Option<Candidate>) = (None, None);
        for name in skills {
            let Some(skill) = self.by_skill.get(name) else {
                continue;
            };
            for ((_, origin), group) in &skill.groups {
                let best = match origin {
                    Origin::Here => &mut here,
                    Origin::Elsewhere => &mut elsewhere,
                };
                let is_first = |place: Place| best.as_ref().is_none_or(|best| place < best.place);
                let head = group.first_key_value().map(|(place, _)| *place);
                if !head.is_some_and(is_first) {
                    continue;
                }
                if let Some((place, task)) = first_fit(group, &qualifies)
                    && is_first(place)
                {
                    let until = self.elsewhere_until.get(name);
                    *best = Some(Candidate {
                        place,
                        id: task.id.clone(),
                        since: task.available_at,
                        is_contested: until.is_some_and(|until| now < *until),
                    });
                }
            }
        }
        let first = match (here, elsewhere) {
            (Some(here), Some(elsewhere)) if elsewhere.goes_before(&here) => elsewhere,
            (Some(here), _) => here,
            (None, elsewhere) => elsewhere?,
        };
        self.served = self.served.max(first.place.turn);
        self.remove(&first.id)
    }
}

/// A task that a worker may have.
struct Candidate {
    place: Place,
    id: TaskId,
    /// Since when it can be had.
    since: Timestamp,
    /// Whether others hand out tasks of its skill just now.
    is_contested: bool,
}

impl Candidate {
    /// Tells whether one that was queued elsewhere comes before one's own.
    fn goes_before(&self, own: &Self) -> bool {
        let is_old = self.since.after_ms(ELSEWHERE_OLDER_MS) <= own.since;
        let turns = if self.is_contested && !is_old {
            ELSEWHERE_TURNS
        } else {
            0
        };
        self.place.later_by(turns) < own.place
    }
}

/// How a worker suits a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// It may have it.
    Yes,
    /// It may have others of the group.
    NotTheseParameters,
    /// It may have none of the group.
    No,
}

fn first_fit<'a>(
    group: &'a Group,
    qualifies: &impl Fn(&TaskSpec) -> Fit,
) -> Option<(Place, &'a Task)> {
    for (place, task) in group.iter().take(SCAN_MAX) {
        match qualifies(&task.spec) {
            Fit::Yes => return Some((*place, task)),
            Fit::NotTheseParameters => {}
            Fit::No => return None,
        }
    }
    None
}

/// Maps a double to an integer of the same order; not-a-number counts as zero.
fn sortable(value: f64) -> i64 {
    let value = if value.is_nan() { 0.0 } else { value };
    let bits = value.to_bits().cast_signed();
    if bits < 0 { i64::MIN - bits } else { bits }
}

/// Returns the digest of everything that decides who qualifies, but for the parameters.
fn group_of(spec: &TaskSpec) -> u64 {
    let plain = spec.requires == crate::domain::worker::Requirements::default();
    if plain && spec.max_cost.is_none() && spec.custom_statuses.is_empty() {
        return 0;
    }
    let mut hasher = DefaultHasher::new();
    let requires = serde_json::to_string(&spec.requires).expect("requirements are plain JSON");
    requires.hash(&mut hasher);
    spec.max_cost.map(f64::to_bits).hash(&mut hasher);
    spec.custom_statuses.hash(&mut hasher);
    hasher.finish().max(1)
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
