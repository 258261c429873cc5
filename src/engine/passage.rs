//! A job on its way from one wait to the next: the job as it becomes, and what it wants done.
//!
//! Every step makes one passage, every file of this floor adds to it, and [`Passage::done`] turns
//! it into the step's fruit.

use std::sync::Arc;

use serde_json::Value;

use super::size::{NESTING_MAX, json_bytes, nests_deeper, shortened};
use super::{Advance, Answer, DataStores, Effect, Guard, World, codes};
use crate::base::WorkerId;
use crate::blueprint::{EvalError, Scope};
use crate::domain::job::Waiting;
use crate::domain::{Event, EventKind, Job, JobStatus, Object};

/// Where a job goes now.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// Into that state, at once.
    State(String),
    /// Nowhere: it waits, or it has ended.
    Rest,
}

/// Why a state cannot be run: the job is quarantined with this, unless another try may help.
#[derive(Debug)]
pub(super) struct Trouble {
    /// One of [`codes`].
    pub code: &'static str,
    /// For people, with the place.
    pub message: String,
}

impl Trouble {
    /// Names a value that its place cannot use.
    pub fn unusable(place: &str, wanted: &str, seen: &Value) -> Self {
        let seen = seen.to_string();
        let message = format!("{place}: expected {wanted}, got {}", shortened(&seen, 80));
        Self {
            code: codes::EVALUATION_FAILED,
            message,
        }
    }

    /// Refuses a value that could be stored but not read again.
    pub fn unless_readable(value: &Value, what: impl FnOnce() -> String) -> Result<(), Self> {
        if !nests_deeper(value, NESTING_MAX) {
            return Ok(());
        }
        let message = format!("{} nested more than {NESTING_MAX} levels deep", what());
        Err(Self {
            code: codes::PAYLOAD_TOO_LARGE,
            message,
        })
    }
}

impl From<EvalError> for Trouble {
    fn from(error: EvalError) -> Self {
        Self {
            code: codes::EVALUATION_FAILED,
            message: error.to_string(),
        }
    }
}

/// What an expression sees besides the job.
#[derive(Clone, Copy, Default)]
pub(super) struct View<'a> {
    /// What brought the job here.
    pub event: Option<&'a Value>,
    /// Number of the evaluation's attempt, from 1.
    pub attempt: u32,
    /// What `as` names.
    pub locals: &'a [(&'a str, &'a Value)],
}

/// A change that is taken back when the state that made it cannot be run to its end.
enum Undo {
    History(String, Option<Value>),
    Data(String, String, Option<Value>),
}

/// One step under way.
pub(super) struct Passage<'w> {
    /// What is known.
    pub world: World<'w>,
    /// The job as it becomes.
    pub job: Job,
    /// What it wants, in order.
    pub effects: Vec<Effect>,
    /// What must still be true.
    pub guards: Vec<Guard>,
    /// For the worker.
    pub answer: Answer,
    /// For the worker's reputation.
    pub reputation: Option<(WorkerId, f64)>,
    /// The step ends a fan-out and has not been given its branches: nothing of it counts.
    pub lacks_branches: bool,
    /// The state that was left last in this step.
    pub previous: Option<String>,
    event_count: u32,
    history_bytes: Option<usize>,
    data: Option<DataStores>,
    undo: Vec<Undo>,
    aggregated_visit: Option<u64>,
}

/// A point to which a passage can be taken back.
pub(super) struct Mark {
    effects: usize,
    events: u32,
}

impl<'w> Passage<'w> {
    /// Sets out with a job as it was stored; raises its revision (I1).
    pub fn new(world: &World<'w>, mut job: Job) -> Self {
        job.revision += 1;
        job.updated_at = world.now;
        let aggregated_visit = job.aggregation_results.is_some().then_some(job.visit);
        Self {
            world: *world,
            job,
            effects: Vec::new(),
            guards: Vec::new(),
            answer: Answer::None,
            reputation: None,
            lacks_branches: false,
            previous: None,
            event_count: 0,
            history_bytes: None,
            data: None,
            undo: Vec::new(),
            aggregated_visit,
        }
    }

    /// Writes a line of history; the caller fills in what is special about it.
    pub fn record(&mut self, kind: EventKind) -> &mut Event {
        let index = self.event_count;
        self.event_count += 1;
        let event = Event {
            event_id: Event::derive_id(self.job.id, self.job.revision, index),
            job_id: self.job.id,
            client: self.job.client.id.clone(),
            revision: self.job.revision,
            index,
            at: self.world.now,
            kind,
            state: self.job.state.clone(),
            previous_state: None,
            next_state: None,
            worker_id: None,
            task_id: None,
            attempt: None,
            duration_ms: None,
            details: Object::new(),
        };
        self.effects.push(Effect::Record(Arc::new(event)));
        match self.effects.last_mut() {
            Some(Effect::Record(event)) => Arc::make_mut(event),
            _ => unreachable!("the record was pushed just now"),
        }
    }

    /// Returns what an expression sees.
    pub fn scope<'s>(&'s self, view: View<'s>) -> Scope<'s> {
        Scope {
            job: &self.job,
            data_stores: self.data.as_ref().unwrap_or(self.world.data),
            event: view.event,
            attempt: view.attempt.max(1),
            now: self.world.now,
            locals: view.locals,
        }
    }

    /// Remembers this point.
    pub fn mark(&mut self) -> Mark {
        self.undo.clear();
        Mark {
            effects: self.effects.len(),
            events: self.event_count,
        }
    }

    /// Takes everything back that was done since the last [`Passage::mark`].
    pub fn roll_back(&mut self, mark: &Mark) {
        self.effects.truncate(mark.effects);
        self.event_count = mark.events;
        self.history_bytes = None;
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::History(key, old) => restore(&mut self.job.state_history, key, old),
                Undo::Data(store, key, old) => {
                    if let Some(content) = self.data.as_mut().and_then(|data| data.get_mut(&store))
                    {
                        restore(content, key, old);
                    }
                }
            }
        }
    }

    /// Adds to `state_history`, within the limit of its size.
    pub fn add_history(&mut self, key: &str, value: Value) -> Result<(), Trouble> {
        Trouble::unless_readable(&value, || format!("`{key}` in state_history would be"))?;
        let limit = self.world.limits.payload_bytes_max;
        let history = &mut self.job.state_history;
        let before = self.history_bytes.unwrap_or_else(|| json_bytes(history));
        let replaced = history.get(key).map_or(0, |old| entry_bytes(key, old));
        let after = (before - replaced.min(before)).saturating_add(entry_bytes(key, &value));
        if after > limit {
            let message =
                format!("state_history would be {after} bytes with `{key}`, the limit is {limit}");
            return Err(Trouble {
                code: codes::PAYLOAD_TOO_LARGE,
                message,
            });
        }
        self.history_bytes = Some(after);
        let old = history.insert(key.to_owned(), value);
        self.undo.push(Undo::History(key.to_owned(), old));
        Ok(())
    }

    /// Adds every member to `state_history`.
    pub fn merge_history(&mut self, members: Object) -> Result<(), Trouble> {
        for (key, value) in members {
            self.add_history(&key, value)?;
        }
        Ok(())
    }

    /// Writes to a data store; later expressions of this step see it.
    pub fn put_data(&mut self, store: &str, key: String, value: Value) -> Result<(), Trouble> {
        Trouble::unless_readable(&value, || format!("`{key}` in store `{store}` would be"))?;
        let data = self.data.get_or_insert_with(|| self.world.data.clone());
        let old = data
            .entry(store.to_owned())
            .or_default()
            .insert(key.clone(), value.clone());
        self.undo
            .push(Undo::Data(store.to_owned(), key.clone(), old));
        self.effects.push(Effect::PutData {
            store: store.to_owned(),
            key,
            value,
        });
        Ok(())
    }

    /// Keeps a fan-out's results for the state that is entered next.
    pub fn set_aggregation(&mut self, results: Object) {
        self.job.aggregation_results = Some(Value::Object(results));
        self.aggregated_visit = Some(self.job.visit + 1);
    }

    /// Says that the results belong to the present visit: a retry has entered their state again.
    pub fn keep_aggregation(&mut self) {
        if self.job.aggregation_results.is_some() {
            self.aggregated_visit = Some(self.job.visit + 1);
        }
    }

    /// Comes to rest until something happens.
    pub fn rest(&mut self, waiting: Waiting) -> Next {
        self.job.status = status_of(&waiting);
        self.job.waiting = Some(waiting);
        self.job.progress = None;
        self.job.progress_message = None;
        Next::Rest
    }

    /// Leaves a wait that has been answered. Whatever still runs for it is the caller's to end.
    pub fn settle(&mut self) {
        self.job.status = JobStatus::Running;
        self.job.waiting = None;
        self.job.wake_at = None;
        self.job.progress = None;
        self.job.progress_message = None;
        self.job.lost_workers.clear();
    }

    /// Returns the step's fruit.
    pub fn done(mut self) -> Advance {
        self.drop_aggregation();
        let limit = self.world.limits.event_details_bytes_max;
        for effect in &mut self.effects {
            if let Effect::Record(event) = effect {
                bound_details(&mut Arc::make_mut(event).details, limit);
            }
        }
        Advance {
            job: self.job,
            effects: self.effects,
            guards: self.guards,
            answer: self.answer,
            reputation: self.reputation,
        }
    }

    /// Forgets a fan-out's results, so that later commits do not carry them, unless the job rests
    /// in the very state that they are for, or has failed and may be set going again from there.
    fn drop_aggregation(&mut self) {
        let failed = matches!(self.job.status, JobStatus::Failed | JobStatus::Quarantined);
        if !failed && self.aggregated_visit != Some(self.job.visit) {
            self.job.aggregation_results = None;
        }
        if matches!(self.job.status, JobStatus::Finished | JobStatus::Cancelled) {
            self.job.aggregation_results = None;
        }
    }
}

/// Returns the status of a job that waits for this.
pub(super) const fn status_of(waiting: &Waiting) -> JobStatus {
    match waiting {
        Waiting::Task { .. } => JobStatus::WaitingForWorker,
        Waiting::Branches(_) => JobStatus::WaitingForParallelTasks,
        Waiting::Child { .. } => JobStatus::WaitingForSubJob,
        Waiting::Human { .. } => JobStatus::WaitingForHuman,
        Waiting::Timer => JobStatus::WaitingForTimer,
        Waiting::Event { .. } => JobStatus::WaitingForEvent,
        Waiting::Retry { .. } => JobStatus::AwaitingRetry,
    }
}

fn restore(object: &mut Object, key: String, old: Option<Value>) {
    match old {
        Some(old) => object.insert(key, old),
        None => object.shift_remove(&key),
    };
}

/// Returns the size of one member as JSON, in bytes: quotes, colon and comma included.
fn entry_bytes(key: &str, value: &Value) -> usize {
    json_bytes(key)
        .saturating_add(json_bytes(value))
        .saturating_add(2)
}

/// Keeps an event's details within their limit: long texts are cut, and when that is not enough
/// nothing but a note of it stays.
fn bound_details(details: &mut Object, bytes_max: usize) {
    if details.is_empty() || json_bytes(details) <= bytes_max {
        return;
    }
    for value in details.values_mut() {
        if let Value::String(text) = value
            && text.len() > bytes_max / 4
        {
            *text = format!("{}…", shortened(text, bytes_max / 4));
        }
    }
    if json_bytes(details) > bytes_max {
        details.clear();
        details.insert("truncated".to_owned(), Value::Bool(true));
    }
}
