//! The language's words: every key of every map, in the order in which messages name them.
//!
//! The decoder refuses what is not here; a test holds the published JSON Schema to the same lists.

/// A file.
pub(super) const FILE: &[&str] = &[
    "blueprint",
    "version",
    "endpoint",
    "description",
    "input",
    "output",
    "events",
    "data_stores",
    "limits",
    "start",
    "states",
];

/// `limits`.
pub(super) const LIMITS: &[&str] = &["max_transitions", "retention"];

/// What any body may have beside its action.
pub(super) const SIDE: &[&str] = &["description", "set", "put", "log", "emit"];

/// The actions, of which a body has exactly one; `go_to` may also stand beside `wait`.
pub(super) const ACTIONS: &[&str] = &[
    "go_to", "choose", "dispatch", "parallel", "run", "approve", "wait", "end",
];

/// What belongs to some action and stands beside it.
pub(super) const COMPANIONS: &[&str] = &["else", "on", "on_event", "into", "result", "error"];

/// Which companions an action may have.
pub(super) fn companions(action: &str) -> &'static [&'static str] {
    match action {
        "choose" => &["else"],
        "dispatch" => &["on", "on_event"],
        "parallel" => &["into", "on"],
        "run" | "approve" => &["on"],
        "wait" => &["go_to", "on"],
        "end" => &["result", "error"],
        _ => &[],
    }
}

/// One of `emit`.
pub(super) const EMIT: &[&str] = &["type", "payload"];

/// `dispatch`.
pub(super) const DISPATCH: &[&str] = &[
    "skill",
    "skill_version",
    "skill_type",
    "params",
    "strategy",
    "priority",
    "max_cost",
    "requires",
    "timeouts",
    "retry",
    "max_deliveries",
    "output",
    "into",
];

/// One task of `parallel`: as `dispatch`, but its result goes to `aggregation_results`.
pub(super) const BRANCH: &[&str] = &[
    "skill",
    "skill_version",
    "skill_type",
    "params",
    "strategy",
    "priority",
    "max_cost",
    "requires",
    "timeouts",
    "retry",
    "max_deliveries",
    "output",
];

/// `requires`.
pub(super) const REQUIRES: &[&str] = &["resources", "artifacts", "software", "skill", "extra"];

/// `requires.resources`.
pub(super) const RESOURCES: &[&str] = &["devices", "properties"];

/// One of `requires.resources.devices`.
pub(super) const DEVICE: &[&str] = &["type", "model", "id", "properties"];

/// One of `requires.artifacts`.
pub(super) const ARTIFACT: &[&str] = &["name", "version", "type", "properties"];

/// `timeouts`.
pub(super) const TIMEOUTS: &[&str] = &["dispatch", "execution", "result"];

/// `retry`.
pub(super) const RETRY: &[&str] = &["max_attempts", "backoff"];

/// `retry.backoff`.
pub(super) const BACKOFF: &[&str] = &["initial", "factor", "max", "jitter"];

/// `parallel`.
pub(super) const PARALLEL: &[&str] = &["tasks", "for_each", "as", "task", "limit", "until"];

/// The words that `until` may be, and the keys that it may have.
pub(super) const UNTIL: &[&str] = &["settled", "all", "any"];
/// `until` as a map.
pub(super) const UNTIL_MAP: &[&str] = &["at_least", "tolerate"];

/// `run`.
pub(super) const RUN: &[&str] = &["blueprint", "input", "timeout"];

/// `approve`.
pub(super) const APPROVE: &[&str] = &["integration", "message", "timeout", "form"];

/// `wait`.
pub(super) const WAIT: &[&str] = &["for", "until", "event", "timeout"];

/// `end`.
pub(super) const END: &[&str] = &["finished", "failed"];

/// `strategy`.
pub(super) const STRATEGIES: &[&str] = &[
    "default",
    "round_robin",
    "least_connections",
    "cheapest",
    "best_value",
    "overflow",
];
