//! The JSON Schema of the language, for editors: generated from the types below.
//!
//! The types are never filled: the decoder reads the tree itself, for the sake of its messages. A
//! test holds every list of members here to the decoder's own.
#![expect(dead_code, reason = "the members are read by the derive only")]

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::keys;
use crate::domain::task::Strategy;

/// A blueprint: one state machine.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, title = "Avtomatika blueprint")]
struct File {
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
struct Name(#[schemars(regex(pattern = r"^[A-Za-z0-9_-]{1,128}$"))] String);

/// A JSON Schema. References lead only within it.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum AnySchema {
    Object(Map<String, Value>),
    Always(bool),
}

/// Any value; texts may hold expressions in `{{ }}`. A text that is exactly one keeps its type.
#[derive(JsonSchema)]
struct Template(Value);

/// A text that may hold expressions in `{{ }}`.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Line {
    Text(String),
    Number(f64),
    Bool(bool),
}

/// An expression without braces.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Condition {
    Expression(#[schemars(length(max = 4096))] String),
    Always(bool),
}

/// `500ms`, `10s`, `5m`, `24h`, `30d`, or a number of seconds.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Duration {
    Text(#[schemars(regex(pattern = r"^[0-9]+(\.[0-9]+)? *(ms|s|m|h|d)?$"))] String),
    Seconds(#[schemars(range(min = 0))] f64),
}

/// A number, or an expression that yields one.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Amount {
    Number(f64),
    Expression(#[schemars(regex(pattern = r"\{\{"))] String),
    None(()),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Limits {
    /// The most state entries of a job.
    #[schemars(range(min = 1, max = 1_000_000))]
    max_transitions: Option<u32>,
    /// How long ended jobs are kept.
    retention: Option<Duration>,
}

/// What a state does: its side lines, then exactly one action.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct State {
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
struct Branch {
    /// The condition. A missing value is false-like.
    when: Condition,
    #[schemars(flatten)]
    body: State,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Emit {
    /// The event's type.
    #[schemars(rename = "type")]
    event_type: Name,
    /// Its payload.
    payload: Option<Template>,
}

/// What a task is made of.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Dispatch {
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
    /// Deliveries that may end with the worker's death.
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
struct BranchTask {
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
    /// Deliveries that may end with the worker's death.
    #[schemars(range(min = 1, max = 1000))]
    max_deliveries: Option<u32>,
    /// JSON Schema that the data of a success must match.
    output: Option<AnySchema>,
}

/// A strategy, or an expression that yields one.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum StrategyLine {
    Strategy(Strategy),
    Expression(#[schemars(regex(pattern = r"\{\{"))] String),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Requires {
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
struct Resources {
    /// Each takes one device of the worker's.
    devices: Option<Vec<Device>>,
    /// `cpu_cores`, `ram_gb`, …
    properties: Option<Map<String, Value>>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Device {
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
struct Artifact {
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
struct Timeouts {
    /// Longest wait for a worker.
    dispatch: Option<Duration>,
    /// Longest run on a worker.
    execution: Option<Duration>,
    /// Longest time from dispatch to result.
    result: Option<Duration>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Retry {
    /// Attempts in all, the first included.
    #[schemars(range(min = 1, max = 1000))]
    max_attempts: Option<u32>,
    /// The delay between them.
    backoff: Option<Backoff>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Backoff {
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
struct Parallel {
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
enum Until {
    Word(UntilWord),
    Map(UntilMap),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum UntilWord {
    /// Every branch has ended, whatever its status.
    Settled,
    /// Every branch has succeeded.
    All,
    /// One branch has succeeded.
    Any,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("minProperties" = 1, "maxProperties" = 1))]
struct UntilMap {
    /// So many branches have succeeded.
    #[schemars(range(min = 1, max = 1_000_000))]
    at_least: Option<u32>,
    /// At most this share has not succeeded.
    tolerate: Option<Share>,
}

/// `"5%"`, or a number of percent.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Share {
    Text(#[schemars(regex(pattern = r"^[0-9]+(\.[0-9]+)? *%$"))] String),
    Percent(#[schemars(range(min = 0, max = 100))] f64),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Run {
    /// The child's blueprint.
    blueprint: Name,
    /// Its `initial_data`.
    input: Option<Template>,
    /// After this the child is cancelled and the outcome is `failure`.
    timeout: Option<Duration>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Approve {
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
struct Wait {
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
enum End {
    /// Well.
    Finished,
    /// Badly.
    Failed,
}

/// Returns the JSON Schema of the language (draft 2020-12).
#[must_use]
pub fn language_schema() -> Value {
    let mut schema = schemars::schema_for!(File).to_value();
    let mut actions: Vec<Value> = keys::ACTIONS
        .iter()
        .filter(|action| **action != "go_to")
        .map(|action| json!({ "required": [action] }))
        .collect();
    // `go_to` is an action of its own, but also the way on after `wait`.
    actions.push(json!({ "required": ["go_to"], "not": { "required": ["wait"] } }));
    for name in ["State", "Branch"] {
        if let Some(body) = schema.pointer_mut(&format!("/$defs/{name}")) {
            body["oneOf"] = Value::Array(actions.clone());
        }
    }
    if let Some(branch) = schema.pointer_mut("/$defs/Branch") {
        branch["additionalProperties"] = Value::Bool(false);
        if let Some(members) = branch.as_object_mut() {
            members.remove("unevaluatedProperties");
        }
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blueprint::Schema;

    /// Returns the members of a definition, sorted.
    fn members(schema: &Value, name: &str) -> Vec<String> {
        let place = if name.is_empty() {
            String::new()
        } else {
            format!("/$defs/{name}")
        };
        let properties = schema.pointer(&format!("{place}/properties")).expect(name);
        let mut names: Vec<String> = properties
            .as_object()
            .expect(name)
            .keys()
            .cloned()
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_schema_has_the_decoders_words() {
        let schema = language_schema();
        let body = [keys::SIDE, keys::ACTIONS, keys::COMPANIONS].concat();
        let branch = [&["when"], body.as_slice()].concat();
        for (name, known) in [
            ("", keys::FILE),
            ("Limits", keys::LIMITS),
            ("State", &body),
            ("Branch", &branch),
            ("Emit", keys::EMIT),
            ("Dispatch", keys::DISPATCH),
            ("BranchTask", keys::BRANCH),
            ("Requires", keys::REQUIRES),
            ("Resources", keys::RESOURCES),
            ("Device", keys::DEVICE),
            ("Artifact", keys::ARTIFACT),
            ("Timeouts", keys::TIMEOUTS),
            ("Retry", keys::RETRY),
            ("Backoff", keys::BACKOFF),
            ("Parallel", keys::PARALLEL),
            ("UntilMap", keys::UNTIL_MAP),
            ("Run", keys::RUN),
            ("Approve", keys::APPROVE),
            ("Wait", keys::WAIT),
        ] {
            let mut known: Vec<&str> = known.to_vec();
            known.sort_unstable();
            assert_eq!(members(&schema, name), known, "{name}");
            let place = if name.is_empty() {
                String::new()
            } else {
                format!("/$defs/{name}")
            };
            let open = schema.pointer(&format!("{place}/additionalProperties"));
            assert_eq!(open, Some(&Value::Bool(false)), "{name}");
        }
        for (name, known) in [
            ("End", keys::END),
            ("UntilWord", keys::UNTIL),
            ("Strategy", keys::STRATEGIES),
        ] {
            let text = schema
                .pointer(&format!("/$defs/{name}"))
                .expect(name)
                .to_string();
            assert!(
                known
                    .iter()
                    .all(|word| text.contains(&format!("\"{word}\""))),
                "{text}"
            );
        }
    }

    #[test]
    fn the_schema_takes_good_files_and_refuses_bad_ones() {
        let schema = Schema::compile(&language_schema()).expect("a valid schema");
        let good = "blueprint: a\nstart: s\nstates:\n  s:\n    choose:\n      - { when: x, go_to: e }\n      - when: y\n        wait: { for: 5m }\n        go_to: e\n    else: { dispatch: { skill: a, strategy: cheapest, max_cost: 0.5 }, on: { success: e } }\n  e: { end: finished }\n";
        let read = |text: &str| serde_saphyr::from_str::<Value>(text).expect("it is YAML");
        assert_eq!(schema.check(&read(good)), Ok(()));
        for (from, to) in [
            ("start: s", ""),
            ("go_to: e }\n", "goto: e }\n"),
            ("when: x, ", ""),
            ("when: x, ", "when: x, zebra: 1, "),
            ("when: x, ", "when: x, end: failed, "),
            ("for: 5m", "for: soon"),
            ("cheapest", "cheepest"),
            ("end: finished", "end: done"),
            ("skill: a, ", ""),
        ] {
            let bad = good.replace(from, to);
            assert_ne!(bad, good);
            assert!(schema.check(&read(&bad)).is_err(), "{bad}");
        }
    }
}
