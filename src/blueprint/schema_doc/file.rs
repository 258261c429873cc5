//! The types of a file, its states and most of their actions.
#![expect(dead_code, reason = "the members are read by the derive only")]

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::{Map, Value};

use super::task::{Dispatch, Parallel};

/// A blueprint: one state machine.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, title = "Avtomatika blueprint")]
pub(super) struct File {
    /// Unique name; what jobs, schedules and parents call it by.
    blueprint: Name,
    /// With `endpoint`: `v1` gives `POST /api/v1/jobs/…`.
    version: Option<String>,
    /// Path under which clients start jobs. Without one it runs only as a child or by a schedule.
    #[schemars(regex(pattern = r"^(/[A-Za-z0-9._-]+)+$"))]
    endpoint: Option<String>,
    /// For people.
    description: Option<String>,
    /// JSON Schema of `initial_data`; a violation is refused at submit.
    input: Option<AnySchema>,
    /// JSON Schema of the result.
    output: Option<AnySchema>,
    /// JSON Schema of the payload by event type.
    events: Option<BTreeMap<String, AnySchema>>,
    /// Small key/value stores that all jobs of the blueprint share, with their first content.
    data_stores: Option<BTreeMap<String, Map<String, Value>>>,
    /// Bounds.
    limits: Option<Limits>,
    /// The first state.
    start: Name,
    /// The states, by name.
    #[schemars(extend("minProperties" = 1))]
    states: BTreeMap<String, State>,
}

/// Letters, digits, `_` and `-`.
#[derive(JsonSchema)]
pub(super) struct Name(#[schemars(regex(pattern = r"^[A-Za-z0-9_-]{1,128}$"))] String);

/// A JSON Schema. References lead only within it.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum AnySchema {
    Object(Map<String, Value>),
    Always(bool),
}

/// Any value; texts may hold expressions in `{{ }}`. A text that is exactly one keeps its type.
#[derive(JsonSchema)]
pub(super) struct Template(Value);

/// A text that may hold expressions in `{{ }}`.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Line {
    Text(String),
    Number(f64),
    Bool(bool),
}

/// An expression without braces.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Condition {
    Expression(#[schemars(length(max = 4096))] String),
    Always(bool),
}

/// `500ms`, `10s`, `5m`, `24h`, `30d`, or a number of seconds.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Duration {
    Text(#[schemars(regex(pattern = r"^[0-9]+(\.[0-9]+)? *(ms|s|m|h|d)?$"))] String),
    Seconds(#[schemars(range(min = 0))] f64),
}

/// A number, or an expression that yields one.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Amount {
    Number(f64),
    Expression(#[schemars(regex(pattern = r"\{\{"))] String),
    None(()),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Limits {
    /// The most state entries of a job.
    #[schemars(range(min = 1, max = 1_000_000))]
    max_transitions: Option<u32>,
    /// How long ended jobs are kept.
    retention: Option<Duration>,
}

/// What a state does: its side lines, then exactly one action.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct State {
    /// For people.
    description: Option<String>,
    /// Merged into `state_history` before the action, in order.
    set: Option<BTreeMap<String, Template>>,
    /// Written to data stores: store, key, value.
    put: Option<BTreeMap<String, BTreeMap<String, Template>>>,
    /// A line for the history.
    log: Option<Line>,
    /// Events for the history and the webhook.
    emit: Option<Vec<Emit>>,
    /// Action: on to another state. Also the way on after a `wait`.
    go_to: Option<Name>,
    /// Action: the first branch whose `when` holds.
    #[schemars(length(min = 1))]
    choose: Option<Vec<Branch>>,
    /// With `choose`: when no branch holds.
    #[schemars(rename = "else")]
    otherwise: Option<Box<State>>,
    /// Action: one task for one worker.
    dispatch: Option<Dispatch>,
    /// Action: many tasks at once.
    parallel: Option<Parallel>,
    /// Action: a child job.
    run: Option<Run>,
    /// Action: a person decides.
    approve: Option<Approve>,
    /// Action: time passes, or an event comes.
    wait: Option<Wait>,
    /// Action: the job ends.
    end: Option<End>,
    /// With `dispatch`, `parallel`, `run`, `approve` and `wait`: the next state by outcome.
    on: Option<BTreeMap<String, Name>>,
    /// With `dispatch`: the next state by the type of an event of the worker's.
    on_event: Option<BTreeMap<String, Name>>,
    /// With `parallel`: the state that sees `aggregation_results`.
    into: Option<Name>,
    /// With `end`: the job's result.
    result: Option<Template>,
    /// With `end: failed`: why.
    error: Option<Line>,
}

/// A branch of `choose`: a condition and a small state.
#[derive(JsonSchema)]
pub(super) struct Branch {
    /// The condition. A missing value is false-like.
    when: Condition,
    #[schemars(flatten)]
    body: State,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Emit {
    /// The event's type.
    #[schemars(rename = "type")]
    event_type: Name,
    /// Its payload.
    payload: Option<Template>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Run {
    /// The child's blueprint.
    blueprint: Name,
    /// Its `initial_data`.
    input: Option<Template>,
    /// After this the child is cancelled and the outcome is `failure`.
    timeout: Option<Duration>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Approve {
    /// Where the request goes; `webhook` without it.
    integration: Option<Name>,
    /// What the person is asked.
    message: Line,
    /// After this `on.timeout` is followed.
    timeout: Option<Duration>,
    /// JSON Schema of the answer's `metadata`.
    form: Option<AnySchema>,
}

/// Exactly one of `for`, `until` and `event`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Wait {
    /// So long.
    #[schemars(rename = "for")]
    duration: Option<Duration>,
    /// Until a time: RFC 3339 text, or ms since the Unix epoch.
    until: Option<Line>,
    /// Until this event comes.
    event: Option<Name>,
    /// With `event`: the longest wait.
    timeout: Option<Duration>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(super) enum End {
    /// Well.
    Finished,
    /// Badly.
    Failed,
}
