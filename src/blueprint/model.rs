//! A checked blueprint, as the engine runs it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::domain::Object;
use crate::domain::task::RetryPolicy;
use crate::domain::worker::Requirements;

/// Names one compiled template among its blueprint's expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TemplateId(pub u32);

/// Names one compiled `when` among its blueprint's expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConditionId(pub u32);

/// A JSON value in which strings may be templates.
#[derive(Debug, Clone, PartialEq)]
pub enum Template {
    /// Nothing to evaluate anywhere below.
    Constant(Value),
    /// A string with `{{ … }}`: typed when it is exactly one expression, else text.
    Expression(TemplateId),
    /// A list with templates in it.
    List(Vec<Template>),
    /// An object with templates among its values, in order.
    Object(Vec<(String, Template)>),
}

/// One state machine.
///
/// Invariants: `start` and every target exist in `states`; every template and condition is compiled
/// in `expressions`.
#[derive(Debug)]
pub struct Blueprint {
    /// Unique; an identifier.
    pub name: String,
    /// The API version that its endpoint is mounted under; none is unversioned.
    pub version: Option<String>,
    /// `/jobs/full_showcase`; none is runnable only as a child or by a schedule.
    pub endpoint: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// Hash of the canonical content: the first 16 hex digits of SHA-256.
    pub revision: String,
    /// JSON Schema of `initial_data`.
    pub input: Option<Value>,
    /// JSON Schema of the result.
    pub output: Option<Value>,
    /// JSON Schema of the payload by event type, of worker and blueprint events.
    pub events: BTreeMap<String, Value>,
    /// Initial content of its data stores, by store.
    pub data_stores: BTreeMap<String, Object>,
    /// The most state entries of a job; none takes the server's.
    pub max_transitions: Option<u32>,
    /// How long ended jobs are kept; none takes the server's.
    pub retention: Option<Duration>,
    /// The first state.
    pub start: String,
    /// All states, by name, in the file's order.
    pub states: Vec<(String, State)>,
    /// The children that it runs, in the file's order.
    pub children: Vec<ChildUse>,
    /// The name of the file that it was read from.
    pub file: String,
    /// The text it was made from, for `blueprints` of the API and for pinning.
    pub source: String,
    /// Its compiled expressions and schemas.
    pub compiled: super::expr::Compiled,
}

/// A `run` that names a child, with its place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildUse {
    /// The child's blueprint.
    pub blueprint: String,
    /// From 1.
    pub line: u32,
    /// From 1.
    pub column: u32,
    /// `states.enrich.run.blueprint`.
    pub place: String,
}

/// One state.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// For people.
    pub description: Option<String>,
    /// What it does.
    pub body: Body,
}

/// What a state, or a branch of a `choose`, does: its side lines, then exactly one action.
#[derive(Debug, Clone, PartialEq)]
pub struct Body {
    /// Merged into `state_history`, in order; later ones see earlier ones.
    pub set: Vec<(String, Template)>,
    /// Written to data stores.
    pub put: Vec<Put>,
    /// A line for the history.
    pub log: Option<Template>,
    /// Events for the history and the webhook.
    pub emit: Vec<Emit>,
    /// What happens next.
    pub action: Action,
}

/// A write to a data store: `put: { user_prefs: { "{{ key }}": "{{ value }}" } }`.
#[derive(Debug, Clone, PartialEq)]
pub struct Put {
    /// The store; declared in `data_stores`.
    pub store: String,
    /// The key, rendered as text.
    pub key: Template,
    /// The value.
    pub value: Template,
}

/// An event of the blueprint's own.
#[derive(Debug, Clone, PartialEq)]
pub struct Emit {
    /// Its type.
    pub event_type: String,
    /// Its payload.
    pub payload: Template,
}

/// The one thing that a state does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// On to another state, at once.
    GoTo(String),
    /// The first branch whose condition holds, else `otherwise`.
    Choose {
        /// In order.
        branches: Vec<Choice>,
        /// Taken when no condition holds; none and the job is quarantined then.
        otherwise: Option<Box<Body>>,
    },
    /// One task for one worker.
    Dispatch(Box<Dispatch>),
    /// Many tasks at once.
    Parallel(Box<Parallel>),
    /// A child job.
    Run(Box<Run>),
    /// A person's decision.
    Approve(Box<Approve>),
    /// Time, or an event.
    Wait(Box<Wait>),
    /// The end.
    End(End),
}

/// One branch of a `choose`.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Its condition.
    pub when: ConditionId,
    /// What it does.
    pub body: Body,
}

/// What a task is made of; the same for a single task and for a branch.
#[derive(Debug, Clone, PartialEq)]
pub struct Dispatch {
    /// The skill, rendered as text.
    pub skill: Template,
    /// The parameters; an object.
    pub params: Template,
    /// How the worker is chosen.
    pub strategy: Template,
    /// Larger goes first; renders to a number.
    pub priority: Template,
    /// Highest acceptable price per second; renders to a number or null.
    pub max_cost: Template,
    /// What the worker must have.
    pub requires: Requirements,
    /// Longest wait for a worker; none takes the job's.
    pub dispatch_timeout: Option<Duration>,
    /// Longest run; none takes the server's.
    pub execution_timeout: Option<Duration>,
    /// Longest time from dispatch to result; none takes the job's.
    pub result_timeout: Option<Duration>,
    /// How often it is tried; none takes the server's.
    pub retry: Option<RetryPolicy>,
    /// Deliveries that may be lost, on the way to a worker or with it; none takes the server's.
    pub max_deliveries: Option<u32>,
    /// Puts the data under this key of `state_history` instead of merging it.
    pub into: Option<String>,
    /// JSON Schema that the data of a success must match.
    pub output: Option<Value>,
    /// Next state by status. Empty for branches of a fan-out.
    pub on: BTreeMap<String, String>,
    /// Next state by the type of an event of the worker's. Empty for branches.
    pub on_event: BTreeMap<String, String>,
}

impl Dispatch {
    /// Returns the statuses in `on` that are not the standard ones.
    pub fn custom_statuses(&self) -> impl Iterator<Item = &str> {
        self.on
            .keys()
            .map(String::as_str)
            .filter(|status| !matches!(*status, "success" | "failure" | "cancelled"))
    }
}

/// Where a fan-out's branches come from.
#[expect(
    clippy::large_enum_variant,
    reason = "it only ever stands in a boxed `Parallel`"
)]
#[derive(Debug, Clone, PartialEq)]
pub enum ParallelTasks {
    /// Written out.
    Listed(Vec<Dispatch>),
    /// One for each item of a list.
    ForEach {
        /// Renders to a list.
        items: Template,
        /// The name under which the task's templates see the item.
        name: String,
        /// The task.
        task: Dispatch,
    },
}

/// When a fan-out is over.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Until {
    /// Every branch has ended, whatever its status, as the original does.
    #[default]
    Settled,
    /// Every branch has succeeded.
    All,
    /// One branch has succeeded.
    Any,
    /// So many branches have succeeded.
    AtLeast(u32),
    /// Every branch has ended and at most this share of all, in percent, has not succeeded. Unmet,
    /// and the branches under way are stopped, as soon as a larger share has not succeeded.
    Tolerate(f64),
}

/// A fan-out.
#[derive(Debug, Clone, PartialEq)]
pub struct Parallel {
    /// Its branches.
    pub tasks: ParallelTasks,
    /// Branches under way at once; none is all of them.
    pub limit: Option<u32>,
    /// When it is over.
    pub until: Until,
    /// The state that sees `aggregation_results`.
    pub into: String,
    /// Next state when `until` can no longer be met; none and the job fails.
    pub on_failure: Option<String>,
}

/// A child job.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The child's blueprint.
    pub blueprint: String,
    /// Its `initial_data`.
    pub input: Template,
    /// After this the child is cancelled and the outcome is `failure`.
    pub timeout: Option<Duration>,
    /// Next state by `success` and `failure`.
    pub on: BTreeMap<String, String>,
}

/// A question to a person.
#[derive(Debug, Clone, PartialEq)]
pub struct Approve {
    /// Where the request goes, in the operator's own words.
    pub integration: String,
    /// What is asked; renders to text.
    pub message: Template,
    /// After this `on.timeout` is followed.
    pub timeout: Option<Duration>,
    /// JSON Schema of the answer's `metadata`.
    pub form: Option<Value>,
    /// Next state by decision, and by `timeout`.
    pub on: BTreeMap<String, String>,
}

/// What a `wait` waits for.
#[derive(Debug, Clone, PartialEq)]
pub enum WaitFor {
    /// So long.
    Duration(Duration),
    /// Until a time that renders to RFC 3339 text or to ms since the epoch.
    Until(Template),
    /// Until the event comes (`event`) or the time is over (`timeout`).
    Event {
        /// Its name.
        name: String,
        /// None waits for ever.
        timeout: Option<Duration>,
    },
}

/// A wait.
#[derive(Debug, Clone, PartialEq)]
pub struct Wait {
    /// What for.
    pub wait_for: WaitFor,
    /// Next state: by `done` after a time, by `event` or `timeout` after an event. A `go_to` in the
    /// file is written here as `done` or `event`.
    pub on: BTreeMap<String, String>,
}

/// How a job ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Finished,
    /// Badly.
    Failed,
}

/// The end of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    /// Well or badly.
    pub outcome: Outcome,
    /// The result; none takes what the original would.
    pub result: Option<Template>,
    /// Why it failed; renders to text.
    pub error: Option<Template>,
}

impl Blueprint {
    /// Returns a state by its name.
    #[must_use]
    pub fn state(&self, name: &str) -> Option<&State> {
        self.states
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, state)| state)
    }

    /// Returns the body that a path of `choose` branches leads to; `u16::MAX` names `otherwise`.
    #[must_use]
    pub fn body(&self, state: &str, path: &[u16]) -> Option<&Body> {
        let mut body = &self.state(state)?.body;
        for index in path {
            let Action::Choose {
                branches,
                otherwise,
            } = &body.action
            else {
                return None;
            };
            body = match *index {
                u16::MAX => otherwise.as_deref()?,
                index => &branches.get(usize::from(index))?.body,
            };
        }
        Some(body)
    }
}
