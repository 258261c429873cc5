//! What the jobs of the simulation do, and what the auditor has to know of it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::rng::Rng;

/// Skills that the workers have.
pub const SKILLS: [&str; 2] = ["alpha", "beta"];
/// A status of alpha's own.
pub const CUSTOM_STATUS: &str = "needs_review";
/// An event of alpha's that has a way out.
pub const ESCALATION: &str = "escalate";
/// The event that jobs wait for.
pub const EVENT: &str = "go";

/// When a fan-out is over, in the auditor's own words.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// All branches have ended.
    Settled,
    /// So many have succeeded; none is all of them.
    Successes(Option<u32>),
    /// All have ended, and at most so many percent have failed.
    FailuresPercent(u32),
}

/// A fan-out as its blueprint has it.
#[derive(Debug, Clone, Copy)]
pub struct FanOut {
    /// When it is over.
    pub rule: Rule,
    /// Branches at once.
    pub limit: Option<u32>,
}

const SINGLE: &str = "
blueprint: single
start: work
states:
  work:
    dispatch:
      skill: alpha
      params: { n: '{{ initial_data.n }}' }
      timeouts: { execution: 20s }
      retry: { max_attempts: 3, backoff: { initial: 1s, factor: 2, max: 5s, jitter: 0.2 } }
    on: { success: done, failure: bad, needs_review: review }
    on_event: { escalate: second }
  second:
    dispatch: { skill: beta, params: {}, max_deliveries: 2 }
    on: { success: done }
  done: { end: finished, result: '{{ state_history }}' }
  bad: { end: failed, error: it did not work }
  review: { end: failed, error: a person should look }
";

const CHAIN: &str = "
blueprint: chain
data_stores: { counts: { jobs: 0 } }
start: first
states:
  first:
    set: { n: '{{ initial_data.n }}' }
    put: { counts: { last: '{{ initial_data.n }}' } }
    log: 'job {{ initial_data.n }} sets out'
    emit: [{ type: began, payload: { n: '{{ initial_data.n }}' } }]
    go_to: decide
  decide:
    choose:
      - when: initial_data.n % 2 == 0
        go_to: alpha
      - when: initial_data.n % 3 == 0
        wait: { for: 3s }
        go_to: alpha
    else: { go_to: beta }
  alpha:
    dispatch: { skill: alpha, params: {}, timeouts: { dispatch: 40s } }
    on: { success: beta, needs_review: beta }
  beta:
    dispatch: { skill: beta, params: {}, timeouts: { result: 90s } }
    on: { success: done }
  done: { end: finished }
";

const APPROVAL: &str = "
blueprint: approval
start: ask
states:
  ask:
    approve: { integration: webhook, message: 'job {{ initial_data.n }}?', timeout: 50s }
    on: { approved: work, again: ask, rejected: no, timeout: no }
  work:
    dispatch: { skill: alpha, params: {} }
    on: { success: done, failure: ask, needs_review: ask }
  done: { end: finished }
  no: { end: failed, error: rejected }
";

const WAITER: &str = "
blueprint: waiter
start: pause
states:
  pause: { wait: { for: 4s }, go_to: listen }
  listen:
    wait: { event: go, timeout: 30s }
    on: { event: work, timeout: last }
  work:
    dispatch: { skill: beta, params: {} }
    on: { success: last, failure: last }
  last: { wait: { for: 2s }, go_to: done }
  done: { end: finished }
";

const FAMILY: &str = "
blueprint: family
start: first
states:
  first:
    run: { blueprint: middle, input: { n: '{{ initial_data.n }}' }, timeout: 4m }
    on: { success: second, failure: second }
  second:
    run: { blueprint: leaf, input: { n: '{{ initial_data.n }}' }, timeout: 25s }
    on: { success: done, failure: bad }
  done: { end: finished }
  bad: { end: failed, error: a child failed }
";

const MIDDLE: &str = "
blueprint: middle
start: first
states:
  first:
    run: { blueprint: leaf, input: { n: '{{ initial_data.n }}' } }
    on: { success: work, failure: bad }
  work:
    dispatch: { skill: beta, params: {} }
    on: { success: done, failure: bad }
  done: { end: finished }
  bad: { end: failed, error: no luck }
";

const LEAF: &str = "
blueprint: leaf
start: work
states:
  work:
    dispatch: { skill: alpha, params: {} }
    on: { success: done, failure: bad, needs_review: bad }
  done: { end: finished, result: '{{ initial_data.n }}' }
  bad: { end: failed, error: leaf failed }
";

const BROKEN: &str = "
blueprint: broken
limits: { max_transitions: 12 }
start: look
states:
  look:
    choose:
      - when: initial_data.n % 2 == 0
        go_to: round
      - when: initial_data.n % 3 == 0
        wait: { until: '{{ initial_data.never_given }}' }
        go_to: done
    else: { go_to: unmade }
  unmade:
    dispatch:
      skill: beta
      params: { text: '{{ initial_data.never_given }}' }
      retry: { max_attempts: 3, backoff: { initial: 1s, factor: 2, max: 5s, jitter: 0.2 } }
    on: { success: done }
  round:
    dispatch: { skill: beta, params: {} }
    on: { success: round, failure: round, cancelled: done }
  done: { end: finished }
";

/// The fan-outs: name, `until` and its `on`, limit.
const FANS: [(&str, &str, FanOut); 5] = [
    ("fan_settled", "settled", fan(Rule::Settled, Some(2))),
    ("fan_all", "all", fan(Rule::Successes(None), None)),
    ("fan_any", "any", fan(Rule::Successes(Some(1)), Some(3))),
    (
        "fan_two",
        "{ at_least: 2 }",
        fan(Rule::Successes(Some(2)), Some(1)),
    ),
    (
        "fan_most",
        "{ tolerate: '40%' }",
        fan(Rule::FailuresPercent(40), None),
    ),
];

const fn fan(rule: Rule, limit: Option<u32>) -> FanOut {
    FanOut { rule, limit }
}

fn fan_source(name: &str, until: &str, limit: Option<u32>) -> String {
    let limit = limit.map_or(String::new(), |limit| format!("\n      limit: {limit}"));
    let (failure, few) = match until {
        "settled" => ("", ""),
        _ => (
            "\n    on: { failure: few }",
            "\n  few: { end: failed, error: too few }",
        ),
    };
    format!(
        "
blueprint: {name}
start: fan
states:
  fan:
    parallel:
      for_each: '{{{{ initial_data.items }}}}'
      as: item
      task: {{ skill: alpha, params: {{ item: '{{{{ item }}}}' }}, retry: {{ max_attempts: 2 }} }}
      until: {until}{limit}
    into: collect{failure}
  collect:
    set: {{ seen: '{{{{ aggregation_results | length }}}}' }}
    go_to: done
  done: {{ end: finished, result: '{{{{ state_history.seen }}}}' }}{few}
"
    )
}

/// What a scheduler starts, in every world.
pub const SCHEDULED: &str = "chain";

/// Groups of blueprints that need each other; what clients ask for comes first.
const GROUPS: [(&str, &[&str]); 5] = [
    ("single", &[SINGLE]),
    ("approval", &[APPROVAL]),
    ("waiter", &[WAITER]),
    ("broken", &[BROKEN]),
    ("family", &[FAMILY, MIDDLE, LEAF]),
];

/// The blueprints of one world: a few of them, because every start of every orchestrator reads
/// them all, and that is most of what a world costs.
#[derive(Clone)]
pub struct Library {
    /// What clients ask for.
    names: Vec<&'static str>,
    files: Vec<(String, String)>,
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.names.fmt(f)
    }
}

impl Library {
    /// Draws a world's blueprints.
    pub fn draw(rng: &mut Rng) -> Self {
        let mut texts = vec![CHAIN.to_owned()];
        let mut names = vec![SCHEDULED];
        let first = rng.index(GROUPS.len());
        for step in 0..2 {
            let (name, group) = GROUPS[(first + step) % GROUPS.len()];
            names.push(name);
            texts.extend(group.iter().map(|text| (*text).to_owned()));
        }
        let (name, until, fan) = rng.pick(&FANS);
        names.push(name);
        texts.push(fan_source(name, until, fan.limit));
        let numbered = texts.into_iter().enumerate();
        Self {
            names,
            files: numbered
                .map(|(number, text)| (format!("{number}.yaml"), text))
                .collect(),
        }
    }

    /// Returns every file, by name and text.
    pub fn files(&self) -> Vec<(String, String)> {
        self.files.clone()
    }

    /// Draws what a client asks for: blueprint and input.
    pub fn request(&self, rng: &mut Rng) -> (&'static str, Value) {
        let name = *rng.pick(&self.names);
        if name.starts_with("fan_") {
            let items: Vec<u64> = (0..rng.within(0..=6)).collect();
            return (name, json!({ "items": items }));
        }
        (name, json!({ "n": rng.within(0..=9) }))
    }
}

/// Returns the fan-outs by their blueprint's name. Their state is `fan`, the one after it
/// `collect`, and the way out for too few is `few`.
pub fn fan_outs() -> BTreeMap<String, FanOut> {
    FANS.iter()
        .map(|(name, _, fan)| ((*name).to_owned(), *fan))
        .collect()
}
