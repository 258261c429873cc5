//! Which worker may take a task, and which of several should.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{Object, TaskSpec, Worker, worker::SkillInfo};

/// The first requirement that a worker does not meet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mismatch {
    /// Stable code: `no_such_skill`, `draining`, `skill_version`, `resources`, `artifacts`,
    /// `software`, `skill_properties`, `extra`, `params_schema`, `statuses`, `cost`, `reputation`,
    /// `skill_not_available`, `not_idle`, ….
    pub code: String,
    /// What it is about: `resources.devices[0].properties.memory_gb`.
    pub requirement: String,
    /// What the task wants.
    pub wanted: Value,
    /// What the worker has.
    pub seen: Value,
}

/// Checks a task's parameters against a skill's `input_schema`; the shell keeps compiled schemas.
pub type ParamsCheck<'a> = &'a dyn Fn(&SkillInfo, &Object) -> bool;

/// Tells whether a worker may take a task: skill, requirements, price, reputation. Does not look
/// at whether it is free.
pub fn qualify(
    _spec: &TaskSpec,
    _worker: &Worker,
    _reputation_min: f64,
    _params_ok: ParamsCheck<'_>,
) -> Result<(), Mismatch> {
    unimplemented!()
}

/// A worker that qualifies and has a poll open.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The worker.
    pub worker: &'a Worker,
    /// Tasks that it has under way.
    pub load: u32,
}

/// Chooses one of the candidates by the task's strategy; nothing only when there are none.
///
/// `turn` rotates `round_robin` and breaks ties; `soft_limit` is `overflow`'s.
#[must_use]
pub fn choose(
    _spec: &TaskSpec,
    _candidates: &[Candidate<'_>],
    _turn: u64,
    _soft_limit: u32,
) -> Option<usize> {
    unimplemented!()
}
