//! The types of tasks and fan-outs.
#![expect(dead_code, reason = "the members are read by the derive only")]

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::{Map, Value};

use super::file::{Amount, AnySchema, Duration, Line, Name, Template};
use crate::domain::task::Strategy;

/// What a task is made of.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Dispatch {
    /// The skill's name.
    skill: Line,
    /// Exact version of the skill.
    skill_version: Option<String>,
    /// Exact type of the skill.
    skill_type: Option<String>,
    /// The parameters.
    params: Option<Template>,
    /// How the worker is chosen.
    strategy: Option<StrategyLine>,
    /// Larger goes first.
    priority: Option<Amount>,
    /// Highest acceptable price per second.
    max_cost: Option<Amount>,
    /// What the worker must have.
    requires: Option<Requires>,
    /// How long it may take.
    timeouts: Option<Timeouts>,
    /// How often it is tried.
    retry: Option<Retry>,
    /// Deliveries that may be lost, on the way to a worker or with it.
    #[schemars(range(min = 1, max = 1000))]
    max_deliveries: Option<u32>,
    /// JSON Schema that the data of a success must match.
    output: Option<AnySchema>,
    /// Puts the data under this key of `state_history` instead of merging it.
    into: Option<Name>,
}

/// A task of a fan-out.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct BranchTask {
    /// The skill's name.
    skill: Line,
    /// Exact version of the skill.
    skill_version: Option<String>,
    /// Exact type of the skill.
    skill_type: Option<String>,
    /// The parameters.
    params: Option<Template>,
    /// How the worker is chosen.
    strategy: Option<StrategyLine>,
    /// Larger goes first.
    priority: Option<Amount>,
    /// Highest acceptable price per second.
    max_cost: Option<Amount>,
    /// What the worker must have.
    requires: Option<Requires>,
    /// How long it may take.
    timeouts: Option<Timeouts>,
    /// How often it is tried.
    retry: Option<Retry>,
    /// Deliveries that may be lost, on the way to a worker or with it.
    #[schemars(range(min = 1, max = 1000))]
    max_deliveries: Option<u32>,
    /// JSON Schema that the data of a success must match.
    output: Option<AnySchema>,
}

/// A strategy, or an expression that yields one.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum StrategyLine {
    Strategy(Strategy),
    Expression(#[schemars(regex(pattern = r"\{\{"))] String),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Requires {
    /// Devices and properties; numbers mean at least.
    resources: Option<Resources>,
    /// Models, data sets and other files.
    artifacts: Option<Vec<Artifact>>,
    /// Version by name; `any` fits any.
    software: Option<BTreeMap<String, String>>,
    /// Members or properties of the skill itself.
    skill: Option<Map<String, Value>>,
    /// Members of the worker's `capabilities.extra`.
    extra: Option<Map<String, Value>>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Resources {
    /// Each takes one device of the worker's.
    devices: Option<Vec<Device>>,
    /// `cpu_cores`, `ram_gb`, …
    properties: Option<Map<String, Value>>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Device {
    /// `gpu`, …
    #[schemars(rename = "type")]
    kind: String,
    /// Part of the model's name.
    model: Option<String>,
    /// Exactly this one.
    id: Option<String>,
    /// Numbers mean at least.
    properties: Option<Map<String, Value>>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Artifact {
    /// The name.
    name: String,
    /// Exact version.
    version: Option<String>,
    /// The kind.
    #[schemars(rename = "type")]
    kind: Option<String>,
    /// Numbers mean at least.
    properties: Option<Map<String, Value>>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Timeouts {
    /// Longest wait for a worker.
    dispatch: Option<Duration>,
    /// Longest run on a worker.
    execution: Option<Duration>,
    /// Longest time from dispatch to result.
    result: Option<Duration>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Retry {
    /// Attempts in all, the first included.
    #[schemars(range(min = 1, max = 1000))]
    max_attempts: Option<u32>,
    /// The delay between them.
    backoff: Option<Backoff>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Backoff {
    /// After the first failure.
    initial: Option<Duration>,
    /// Growth from one to the next.
    #[schemars(range(min = 1, max = 100))]
    factor: Option<f64>,
    /// The longest.
    max: Option<Duration>,
    /// Share by which it is spread.
    #[schemars(range(min = 0, max = 1))]
    jitter: Option<f64>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Parallel {
    /// The tasks, written out.
    tasks: Option<Vec<BranchTask>>,
    /// A list, or an expression that yields one: one task for each item.
    for_each: Option<Template>,
    /// The name under which the task sees the item; `item` without it.
    #[schemars(rename = "as", regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$"))]
    name: Option<String>,
    /// The task for each item.
    task: Option<BranchTask>,
    /// Tasks under way at once.
    #[schemars(range(min = 1, max = 1_000_000))]
    limit: Option<u32>,
    /// When the fan-out is over.
    until: Option<Until>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Until {
    Word(UntilWord),
    Map(UntilMap),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(super) enum UntilWord {
    /// Every branch has ended, whatever its status.
    Settled,
    /// Every branch has succeeded.
    All,
    /// One branch has succeeded.
    Any,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("minProperties" = 1, "maxProperties" = 1))]
pub(super) struct UntilMap {
    /// So many branches have succeeded.
    #[schemars(range(min = 1, max = 1_000_000))]
    at_least: Option<u32>,
    /// Every branch has ended and at most this share of all has not succeeded; unmet as soon as more
    /// than that have not.
    tolerate: Option<Share>,
}

/// `"5%"`, or a number of percent.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Share {
    Text(#[schemars(regex(pattern = r"^[0-9]+(\.[0-9]+)? *%$"))] String),
    Percent(#[schemars(range(min = 0, max = 100))] f64),
}
