//! Whether what a worker sends keeps the promises of its own skill's schemas.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::ApiState;
use super::error::ApiError;
use crate::base::{TaskId, WorkerId};
use crate::blueprint::Schema;
use crate::domain::task::status;
use crate::domain::worker::SkillInfo;
use crate::domain::{Object, TaskReport, Worker};
use crate::protocol::to_wire_bytes;

/// Compiled schemas that are kept at once.
const SCHEMAS_MAX: usize = 1024;

/// The dialect whose schemas are checked.
const DIALECT: &str = "json-schema";

/// Compiled schemas by the hash of their text. One that cannot be compiled checks nothing: the
/// fault is the skill's declaration, not the result's.
#[derive(Default)]
pub struct Contracts {
    compiled: Mutex<HashMap<String, Option<Arc<Schema>>>>,
}

impl Contracts {
    fn compiled(&self, schema: &Value) -> Option<Arc<Schema>> {
        let hash = crate::base::crypto::sha256_hex(&to_wire_bytes(schema));
        {
            let known = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(schema) = known.get(&hash) {
                return schema.clone();
            }
        }
        let compiled = match Schema::compile(schema) {
            Ok(schema) => Some(Arc::new(schema)),
            Err(error) => {
                tracing::warn!(%error, "a skill's schema cannot be compiled and is not checked");
                None
            }
        };
        let mut known = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= SCHEMAS_MAX {
            known.clear();
        }
        known.insert(hash, compiled.clone());
        compiled
    }

    /// Checks a value against a schema.
    pub fn check(&self, schema: &Value, value: &Value) -> Result<(), String> {
        self.compiled(schema)
            .map_or(Ok(()), |schema| schema.check(value))
    }
}

fn is_checked(skill: &SkillInfo) -> bool {
    skill
        .schema_dialect
        .as_deref()
        .is_none_or(|dialect| dialect == DIALECT)
}

/// Returns the skill, as the worker declares it, that the task is done with; none when nothing
/// that the worker declares could be checked anyway.
async fn skill_of(
    state: &ApiState,
    worker: &WorkerId,
    task: &TaskId,
    declares: fn(&SkillInfo) -> bool,
) -> Result<Option<(Arc<Worker>, String)>, ApiError> {
    let Some(worker) = state.runtime.worker(worker) else {
        return Ok(None);
    };
    if !worker
        .skills
        .iter()
        .any(|skill| is_checked(skill) && declares(skill))
    {
        return Ok(None);
    }
    let task = state.runtime.task(task).await?;
    Ok(task.map(|task| (worker, task.spec.skill.clone())))
}

/// Returns the report, or the failure that a success which breaks the skill's `output_schema` is.
pub async fn checked(
    state: &ApiState,
    worker: &WorkerId,
    task: &TaskId,
    report: TaskReport,
) -> Result<TaskReport, ApiError> {
    if report.status != status::SUCCESS {
        return Ok(report);
    }
    let declares = |skill: &SkillInfo| skill.output_schema.is_some();
    let Some((known, skill)) = skill_of(state, worker, task, declares).await? else {
        return Ok(report);
    };
    let Some(schema) = known
        .skill(&skill)
        .filter(|skill| is_checked(skill))
        .and_then(|skill| skill.output_schema.clone())
    else {
        return Ok(report);
    };
    let data = Value::Object(report.data.clone().unwrap_or_default());
    match state.contracts.check(&Value::Object(schema), &data) {
        Ok(()) => Ok(report),
        Err(reason) => {
            let message = format!("the data of skill `{skill}` breaks its output_schema: {reason}");
            let mut failure = TaskReport::failure("CONTRACT_VIOLATION_ERROR", message);
            failure.worker_id = report.worker_id;
            failure.costs = report.costs;
            Ok(failure)
        }
    }
}

/// Checks an event's payload against the skill's `events_schema`; a type without one passes.
/// Returns the reason when it does not.
pub async fn check_event(
    state: &ApiState,
    worker: &WorkerId,
    task: Option<&TaskId>,
    event_type: &str,
    payload: &Object,
) -> Result<Result<(), String>, ApiError> {
    let Some(task) = task else { return Ok(Ok(())) };
    let declares = |skill: &SkillInfo| skill.events_schema.is_some();
    let Some((known, skill)) = skill_of(state, worker, task, declares).await? else {
        return Ok(Ok(()));
    };
    let schema = known
        .skill(&skill)
        .filter(|skill| is_checked(skill))
        .and_then(|skill| skill.events_schema.as_ref()?.get(event_type).cloned());
    let Some(schema) = schema else {
        return Ok(Ok(()));
    };
    let checked = state
        .contracts
        .check(&schema, &Value::Object(payload.clone()));
    Ok(checked.map_err(|reason| {
        format!("event `{event_type}` of skill `{skill}` breaks its events_schema: {reason}")
    }))
}
