//! The blueprints that most tests of the shell run.

/// Several blueprints, separated by lines of dashes.
pub const BLUEPRINTS: &str = r#"
blueprint: one
start: work
states:
  work:
    dispatch: { skill: work, params: { x: "{{ initial_data.x | default(0) }}" } }
    on: { success: finished }
  finished: { end: finished }
---
blueprint: valued
start: work
states:
  work:
    dispatch: { skill: work, params: {}, strategy: best_value }
    on: { success: finished }
  finished: { end: finished }
---
blueprint: spread
start: work
states:
  work:
    dispatch: { skill: work, params: {}, strategy: least_connections }
    on: { success: finished }
  finished: { end: finished }
---
blueprint: chain
start: first
states:
  first:
    dispatch: { skill: work, params: {} }
    on: { success: second }
  second:
    dispatch: { skill: second, params: {} }
    on: { success: finished }
  finished: { end: finished }
---
blueprint: sleeper
start: nap
states:
  nap:
    wait: { for: 10s }
    go_to: finished
  finished: { end: finished }
---
blueprint: asked
start: first
states:
  first:
    approve: { integration: desk, message: one, timeout: 1h }
    on: { "yes": second, timeout: finished }
  second:
    approve: { integration: desk, message: two, timeout: 1h }
    on: { "yes": finished, timeout: finished }
  finished: { end: finished }
---
blueprint: nested
start: child
states:
  child:
    run: { blueprint: one, input: { x: "{{ initial_data.x | default(0) }}" } }
    on: { success: finished, failure: failed }
  finished: { end: finished }
  failed: { end: failed }
"#;
