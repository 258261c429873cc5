//! Expressions: compiled once per revision, evaluated with fuel, never able to reach outside.

use serde_json::Value;

use super::{ConditionId, Template};
use crate::base::Timestamp;
use crate::domain::{Job, Object};

/// All compiled templates and conditions of a blueprint.
#[derive(Debug, Default)]
pub struct Compiled {}

/// What an expression sees.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The job: `job_id`, `blueprint`, `current_state`, `initial_data`, `state_history`,
    /// `aggregation_results`, `client`, `metadata`, `policy`.
    pub job: &'a Job,
    /// The blueprint's data stores.
    pub data_stores: &'a std::collections::BTreeMap<String, Object>,
    /// The event that brought the job here.
    pub event: Option<&'a Value>,
    /// Number of the evaluation's attempt, from 1.
    pub attempt: u32,
    /// The step's time.
    pub now: Timestamp,
    /// Names of the place's own: what `as` names.
    pub locals: &'a [(&'a str, &'a Value)],
}

/// An expression failed: where and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {cause}")]
pub struct EvalError {
    /// Blueprint, state and field, `full_showcase: states.start.set.video_id`.
    pub place: String,
    /// What was wrong, with the missing path where that is it.
    pub cause: String,
}

impl Compiled {
    /// Evaluates a template to a value.
    pub fn render(&self, _template: &Template, _scope: &Scope<'_>) -> Result<Value, EvalError> {
        unimplemented!()
    }

    /// Evaluates a template to text.
    pub fn text(&self, _template: &Template, _scope: &Scope<'_>) -> Result<String, EvalError> {
        unimplemented!()
    }

    /// Evaluates a condition; a missing value is false.
    pub fn test(&self, _condition: ConditionId, _scope: &Scope<'_>) -> Result<bool, EvalError> {
        unimplemented!()
    }
}
