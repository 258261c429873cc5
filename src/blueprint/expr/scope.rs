//! What an expression sees, and the paths by which it reaches into it.
//!
//! A path is resolved on the job itself: only what an expression names is ever copied.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::base::{Timestamp, crypto};
use crate::domain::{Job, Object};

/// What an expression sees.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The job: `job_id`, `blueprint`, `current_state`, `initial_data`, `state_history`,
    /// `aggregation_results`, `client`, `metadata`, `policy`.
    pub job: &'a Job,
    /// The blueprint's data stores.
    pub data_stores: &'a BTreeMap<String, Object>,
    /// The event that brought the job here.
    pub event: Option<&'a Value>,
    /// Number of the evaluation's attempt, from 1.
    pub attempt: u32,
    /// The step's time; `now` is its RFC 3339 text.
    pub now: Timestamp,
    /// Names of the place's own: what `as` names.
    pub locals: &'a [(&'a str, &'a Value)],
}

impl Scope<'_> {
    /// Returns the share in `0.0..1.0` that this state visit drew; what `chance` compares with.
    pub(super) fn share(&self) -> f64 {
        crypto::share(&[
            b"chance",
            self.job.id.0.as_bytes(),
            &self.job.visit.to_be_bytes(),
        ])
    }
}

/// The names that every expression sees, in the language's own order.
pub const ROOTS: [&str; 13] = [
    "job_id",
    "blueprint",
    "current_state",
    "initial_data",
    "state_history",
    "aggregation_results",
    "data_stores",
    "client",
    "event",
    "metadata",
    "policy",
    "attempt",
    "now",
];

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// `.name` or `['name']`.
    Key(String),
    /// `[3]`, or `[-1]` from the end.
    Index(i64),
}

/// A name in scope and constant steps from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    /// One of [`ROOTS`], or a local name.
    pub root: String,
    /// What follows it.
    pub steps: Vec<Step>,
}

/// What a path leads to.
pub(super) enum Found<'a> {
    /// A value in the job or beside it.
    Value(&'a Value),
    /// An object that is not kept as a value.
    Object(&'a Object),
    /// All data stores.
    Stores(&'a BTreeMap<String, Object>),
    /// A value made for the purpose.
    Made(Value),
}

impl Found<'_> {
    /// Takes one step further; nothing when there is nothing.
    fn step(self, step: &Step) -> Option<Self> {
        match (self, step) {
            (Self::Value(Value::Object(map)) | Self::Object(map), Step::Key(key)) => {
                map.get(key).map(Self::Value)
            }
            (Self::Stores(stores), Step::Key(key)) => stores.get(key).map(Self::Object),
            (Self::Value(value), Step::Index(index)) => at_index(value, *index),
            (Self::Made(Value::Object(mut map)), Step::Key(key)) => {
                map.swap_remove(key).map(Self::Made)
            }
            (Self::Made(value), Step::Index(index)) => match at_index(&value, *index)? {
                Found::Value(inner) => Some(Self::Made(inner.clone())),
                Found::Made(inner) => Some(Self::Made(inner)),
                Found::Object(_) | Found::Stores(_) => None,
            },
            _ => None,
        }
    }

    /// Returns a copy as JSON.
    pub(super) fn into_json(self) -> Value {
        match self {
            Self::Value(value) => value.clone(),
            Self::Object(map) => Value::Object(map.clone()),
            Self::Stores(stores) => Value::Object(
                stores
                    .iter()
                    .map(|(name, map)| (name.clone(), Value::Object(map.clone())))
                    .collect(),
            ),
            Self::Made(value) => value,
        }
    }

    /// Returns a copy in the evaluator's own form.
    pub(super) fn to_engine(&self) -> minijinja::Value {
        use minijinja::value::Serde;
        match self {
            Self::Value(value) => minijinja::Value::from(Serde(value)),
            Self::Object(map) => minijinja::Value::from(Serde(map)),
            Self::Stores(stores) => minijinja::Value::from(Serde(stores)),
            Self::Made(value) => minijinja::Value::from(Serde(value)),
        }
    }

    /// Returns the text, where it is one.
    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Value(Value::String(text)) | Self::Made(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// Tells whether the value counts as true: not null, false, zero or empty.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Value(value) => is_true(value),
            Self::Made(value) => is_true(value),
            Self::Object(map) => !map.is_empty(),
            Self::Stores(stores) => !stores.is_empty(),
        }
    }
}

/// Tells whether a value counts as true.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// Returns the item of a list, or the character of a text; negative ones count from the end.
fn at_index(value: &Value, index: i64) -> Option<Found<'_>> {
    let position = |length: usize| {
        let from_end = usize::try_from(index.unsigned_abs()).ok()?;
        if index < 0 {
            length.checked_sub(from_end)
        } else {
            Some(from_end)
        }
    };
    match value {
        Value::Array(items) => items.get(position(items.len())?).map(Found::Value),
        Value::String(text) => {
            let character = text.chars().nth(position(text.chars().count())?)?;
            Some(Found::Made(Value::String(character.to_string())))
        }
        _ => None,
    }
}

impl Path {
    /// Finds what the path leads to; nothing when any part of it is missing.
    pub(super) fn resolve<'a>(&self, scope: &Scope<'a>) -> Option<Found<'a>> {
        let mut steps = self.steps.as_slice();
        let mut found = match self.local(scope) {
            Some(value) => Found::Value(value),
            None => self.root(scope, &mut steps)?,
        };
        for step in steps {
            found = found.step(step)?;
        }
        Some(found)
    }

    /// Finds the root among the place's own names, which hide the common ones.
    fn local<'a>(&self, scope: &Scope<'a>) -> Option<&'a Value> {
        scope
            .locals
            .iter()
            .find(|(name, _)| *name == self.root)
            .map(|(_, value)| *value)
    }

    /// Finds a common root. Takes the first step itself where that spares a copy.
    fn root<'a>(&self, scope: &Scope<'a>, steps: &mut &[Step]) -> Option<Found<'a>> {
        let job = scope.job;
        let text = |text: &str| Some(Found::Made(Value::String(text.to_owned())));
        match self.root.as_str() {
            "job_id" => Some(Found::Made(Value::String(job.id.to_string()))),
            "blueprint" => text(&job.blueprint),
            "current_state" => text(&job.state),
            "initial_data" => Some(Found::Value(&job.initial_data)),
            "state_history" => Some(Found::Object(&job.state_history)),
            "aggregation_results" => job.aggregation_results.as_ref().map(Found::Value),
            "data_stores" => Some(Found::Stores(scope.data_stores)),
            "client" => Some(client(job, steps)),
            "event" => scope.event.map(Found::Value),
            "metadata" => job.metadata.as_ref().map(Found::Object),
            "policy" => job.policy.as_ref().map(Found::Object),
            "attempt" => Some(Found::Made(scope.attempt.into())),
            "now" => Some(Found::Made(Value::String(scope.now.to_rfc3339()))),
            _ => None,
        }
    }

    /// Returns the path as it would be written.
    pub(super) fn text(&self) -> String {
        let mut text = self.root.clone();
        for step in &self.steps {
            // Writing to a string cannot fail.
            let _ = match step {
                Step::Key(key) if is_name(key) => write!(text, ".{key}"),
                Step::Key(key) => write!(text, "[{key:?}]"),
                Step::Index(index) => write!(text, "[{index}]"),
            };
        }
        text
    }
}

/// Tells whether the text can follow a dot.
pub(in crate::blueprint) fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The client, or at once its parameters when the path goes on to them.
fn client<'a>(job: &'a Job, steps: &mut &[Step]) -> Found<'a> {
    if let [Step::Key(key), rest @ ..] = *steps
        && key == "params"
    {
        *steps = rest;
        return Found::Object(&job.client.params);
    }
    let mut map = Object::new();
    map.insert("id".to_owned(), Value::String(job.client.id.to_string()));
    map.insert("plan".to_owned(), Value::String(job.client.plan.clone()));
    map.insert(
        "params".to_owned(),
        Value::Object(job.client.params.clone()),
    );
    Found::Made(Value::Object(map))
}
