//! Signing a task for its worker, and checking such a signature on the worker's side.
//!
//! The original's worker checks the signature over the members that it knows, so exactly those
//! are signed; anything else goes in after the signature. Source: wire-protocol §6.2.

use std::collections::BTreeMap;

use serde_json::Value;

use super::errors::WireError;
use super::members::Members;
use super::sign::{TASK_IGNORED, sign, verify};
use super::wire::{Sparse, files};
use crate::base::{Secret, Timestamp};
use crate::domain::{Object, Task};

/// Members that a task's signature may cover.
const KNOWN: [&str; 15] = [
    "job_id",
    "task_id",
    "type",
    "params",
    "tracing_context",
    "params_metadata",
    "priority",
    "deadline",
    "metadata",
    "timestamp",
    "policy",
    "sig",
    "step",
    "depth",
    "parent_hash",
];

/// Returns the task as its worker gets it, signed with the orchestrator's secret. The context is that
/// of the task's own span, or what the client sent.
///
/// Errors when the parameters hold what has no canonical form (nesting beyond the limit, numbers
/// beyond 64 bits): such a task cannot be sent to anyone, so fail it as `INVALID_INPUT_ERROR`.
pub fn task_message(
    task: &Task,
    tracing_context: &BTreeMap<String, String>,
    secret: &Secret,
    now: Timestamp,
) -> Result<Value, WireError> {
    let spec = &task.spec;
    let some_object =
        |object: &Option<Object>| object.clone().filter(|members| !members.is_empty());
    let params_metadata = match &spec.params_metadata {
        Some(map) => {
            let holder = Value::Object(
                Sparse::default()
                    .with("params_metadata", map.clone())
                    .done(),
            );
            files(&Members::root(&holder)?, "params_metadata")?
        }
        None => None,
    };
    let signed = Sparse::default()
        .with("job_id", task.job_id.to_string())
        .with("task_id", task.id.as_str())
        .with("type", spec.skill.as_str())
        .with("params", spec.params.clone())
        .with_serde("tracing_context", Some(tracing_context))
        .with_some("params_metadata", params_metadata)
        .with("priority", spec.priority)
        .with_some(
            "deadline",
            task.lease.as_ref().map(|lease| lease.deadline.as_secs()),
        )
        .with_some("metadata", some_object(&spec.metadata))
        .with("timestamp", now.as_secs())
        .with_some("policy", some_object(&spec.policy))
        .with_some("step", Some(spec.step).filter(|step| *step != 0))
        .with_some("depth", Some(spec.depth).filter(|depth| *depth != 0))
        .done();
    let signed = Value::Object(signed);
    let sig = sign(&signed, secret.expose(), &TASK_IGNORED)?;
    let Value::Object(mut message) = signed else {
        unreachable!("it was built as an object just above")
    };
    message.insert("sig".to_owned(), Value::String(sig));
    let unsigned = [
        ("security", spec.security.clone()),
        (
            "skill_version",
            spec.requires.skill_version.clone().map(Value::String),
        ),
        (
            "skill_type",
            spec.requires.skill_type.clone().map(Value::String),
        ),
    ];
    for (name, value) in unsigned {
        if let Some(value) = value {
            message.insert(name.to_owned(), value);
        }
    }
    Ok(Value::Object(message))
}

/// Tells whether the task's `sig` is that of its known members, as they are on the wire.
///
/// Members that an orchestrator adds after signing do not matter.
#[must_use]
pub fn verify_task(message: &Value, secret: &Secret) -> bool {
    let Some(members) = message.as_object() else {
        return false;
    };
    let Some(sig) = members.get("sig").and_then(Value::as_str) else {
        return false;
    };
    let known: Object = members
        .iter()
        .filter(|(name, _)| KNOWN.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    verify(&Value::Object(known), secret.expose(), &TASK_IGNORED, sig)
}
