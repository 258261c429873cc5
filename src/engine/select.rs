//! Which worker may take a task, and which of several should.
//! Source: engine-semantics §5.2 to §5.4; EQ9 and EQ10 are fixed.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::matching::{self, same};
use crate::domain::task::Strategy;
use crate::domain::worker::{SkillInfo, WorkerStatus};
use crate::domain::{Object, TaskSpec, Worker};

/// The first requirement that a worker does not meet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mismatch {
    /// Stable code: `no_such_skill`, `draining`, `offline`, `skill_version`, `skill_type`,
    /// `resources`, `artifacts`, `software`, `skill_properties`, `extra`, `params_schema`,
    /// `statuses`, `cost`, `reputation`; from `explain` also `not_seen`, `skill_not_available`,
    /// `not_idle`.
    pub code: String,
    /// What it is about: `resources.devices[0].properties.memory_gb`.
    pub requirement: String,
    /// What the task wants.
    pub wanted: Value,
    /// What the worker has.
    pub seen: Value,
}

impl Mismatch {
    /// Names a requirement and what was found in its place.
    pub(super) fn new(
        code: &str,
        requirement: impl Into<String>,
        wanted: Value,
        seen: Value,
    ) -> Box<Self> {
        let requirement = requirement.into();
        Box::new(Self {
            code: code.to_owned(),
            requirement,
            wanted,
            seen,
        })
    }
}

/// Checks a task's parameters against a skill's `input_schema`; the shell keeps compiled schemas.
pub type ParamsCheck<'a> = &'a dyn Fn(&SkillInfo, &Object) -> bool;

/// Tells whether a worker may take a task: skill, requirements, price, reputation. Does not look
/// at whether it is free, nor at which of its skills are hot.
pub fn qualify(
    spec: &TaskSpec,
    worker: &Worker,
    reputation_min: f64,
    params_ok: ParamsCheck<'_>,
) -> Result<(), Box<Mismatch>> {
    let stays = !matches!(
        worker.status,
        WorkerStatus::Draining | WorkerStatus::Offline
    );
    let Some(skill) = worker.skill(&spec.skill) else {
        let names: Vec<&str> = worker
            .skills
            .iter()
            .map(|skill| skill.name.as_str())
            .collect();
        return Err(Mismatch::new(
            "no_such_skill",
            "skill",
            json!(spec.skill),
            json!(names),
        ));
    };
    if !stays {
        let seen = worker.status.as_str();
        return Err(Mismatch::new(seen, "status", json!("idle"), json!(seen)));
    }
    skill_fits(spec, skill)?;
    matching::resources(&spec.requires, worker)?;
    matching::artifacts(&spec.requires, worker)?;
    matching::software(&spec.requires, worker)?;
    matching::extra(&spec.requires, worker)?;
    if !params_ok(skill, &spec.params) {
        let schema = json!(skill.input_schema);
        let keys: Vec<&String> = spec.params.keys().collect();
        return Err(Mismatch::new(
            "params_schema",
            "params",
            schema,
            json!(keys),
        ));
    }
    worth_it(spec, worker, reputation_min)
}

/// Checks what the task requires of the skill itself.
fn skill_fits(spec: &TaskSpec, skill: &SkillInfo) -> Result<(), Box<Mismatch>> {
    let requires = &spec.requires;
    if let Some(version) = &requires.skill_version
        && skill.version.as_ref() != Some(version)
    {
        let seen = json!(skill.version);
        return Err(Mismatch::new(
            "skill_version",
            "skill_version",
            json!(version),
            seen,
        ));
    }
    if let Some(kind) = &requires.skill_type
        && skill.kind.as_ref() != Some(kind)
    {
        return Err(Mismatch::new(
            "skill_type",
            "skill_type",
            json!(kind),
            json!(skill.kind),
        ));
    }
    if !requires.skill.is_empty() {
        let members = json!(skill);
        let property = |key: &str| skill.properties.as_ref().and_then(|all| all.get(key));
        for (key, wanted) in &requires.skill {
            let seen = members
                .get(key)
                .or_else(|| property(key))
                .unwrap_or(&Value::Null);
            if !same(wanted, seen) {
                let place = format!("skill.{key}");
                return Err(Mismatch::new(
                    "skill_properties",
                    place,
                    wanted.clone(),
                    seen.clone(),
                ));
            }
        }
    }
    if let Some(declared) = &skill.output_statuses
        && let Some(missing) = spec
            .custom_statuses
            .iter()
            .find(|status| !declared.contains(status))
    {
        return Err(Mismatch::new(
            "statuses",
            "on",
            json!(missing),
            json!(declared),
        ));
    }
    Ok(())
}

/// Checks price and reputation.
fn worth_it(spec: &TaskSpec, worker: &Worker, reputation_min: f64) -> Result<(), Box<Mismatch>> {
    let cost = worker.cost(&spec.skill);
    if let Some(max_cost) = spec.max_cost
        // A price that is no number is not within any limit.
        && cost.partial_cmp(&max_cost).is_none_or(Ordering::is_gt)
    {
        return Err(Mismatch::new(
            "cost",
            "max_cost",
            json!(max_cost),
            json!(cost),
        ));
    }
    if worker.reputation < reputation_min {
        let (wanted, seen) = (json!(reputation_min), json!(worker.reputation));
        return Err(Mismatch::new("reputation", "reputation", wanted, seen));
    }
    Ok(())
}

/// A worker that qualifies and has a poll open.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The worker.
    pub worker: &'a Worker,
    /// Tasks that it has under way.
    pub load: u32,
    /// It can be given the task by who ranks; another has to be left the task for the others.
    pub is_near: bool,
}

/// Chooses one of the candidates by the task's strategy; nothing only when there are none.
///
/// The candidates come in the order of their turn: the one that was asked longest ago comes first.
/// `round_robin` takes it, and with every other strategy those that are equally good are told apart
/// by whether they are near, by their load and then by their turn (fixes EQ10). `soft_limit` is
/// `overflow`'s.
#[must_use]
pub fn choose(spec: &TaskSpec, candidates: &[Candidate<'_>], soft_limit: u32) -> Option<usize> {
    let cost = |candidate: &Candidate<'_>| candidate.worker.cost(&spec.skill);
    let is_cold = |candidate: &Candidate<'_>| !candidate.worker.hot_skills.contains(&spec.skill);
    let better = |a: &Candidate<'_>, b: &Candidate<'_>| match spec.strategy {
        Strategy::Default => is_cold(a)
            .cmp(&is_cold(b))
            .then_with(|| cost(a).total_cmp(&cost(b)))
            .then_with(|| b.worker.reputation.total_cmp(&a.worker.reputation)),
        Strategy::RoundRobin => Ordering::Equal,
        Strategy::LeastConnections => a.load.cmp(&b.load),
        Strategy::Cheapest => cost(a).total_cmp(&cost(b)),
        Strategy::BestValue => value(a.worker, cost(a)).total_cmp(&value(b.worker, cost(b))),
        Strategy::Overflow => {
            let full = |candidate: &Candidate<'_>| candidate.load >= soft_limit;
            full(a).cmp(&full(b)).then_with(|| {
                if full(a) {
                    a.load.cmp(&b.load)
                } else {
                    cost(a).total_cmp(&cost(b))
                }
            })
        }
    };
    if spec.strategy == Strategy::RoundRobin {
        return (!candidates.is_empty()).then_some(0);
    }
    // min_by keeps the first of equals, which is the next in turn.
    (0..candidates.len()).min_by(|a, b| {
        let (a, b) = (&candidates[*a], &candidates[*b]);
        better(a, b)
            .then_with(|| b.is_near.cmp(&a.is_near))
            .then_with(|| a.load.cmp(&b.load))
    })
}

/// Returns the price for good work: a worker without any reputation is infinitely dear.
fn value(worker: &Worker, cost: f64) -> f64 {
    if worker.reputation > 0.0 {
        cost / worker.reputation
    } else {
        f64::INFINITY
    }
}
