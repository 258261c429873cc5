//! Blueprints that nobody has written, with inputs in any order and some that cannot be: `step` never
//! panics, and what it wants keeps the invariants.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use super::harness::Bench;
use super::totality::LINES;
use crate::base::TaskId;
use crate::domain::{Task, TaskReport, TaskStatus};
use crate::engine::{ChildEnd, Input, Outcome, WorkerEvent, invariants, step};

/// One state's text: `N` is the next state, `A` and `B` are any.
const STATES: [&str; 16] = [
    "{ go_to: N }",
    "{ set: { v: \"{{ initial_data.x | default(attempt) }}\" }, go_to: N }",
    "{ set: { v: \"{{ initial_data.not.there }}\" }, go_to: N }",
    "{ choose: [ { when: chance(0.5), go_to: A }, { when: attempt > 1, go_to: B } ], else: { go_to: N } }",
    "{ dispatch: { skill: render }, on: { success: N, failure: A } }",
    "{ dispatch: { skill: render, timeouts: { dispatch: 5s, execution: 2s, result: 9s }, \
       retry: { max_attempts: 2, backoff: { initial: 1s, factor: 2, max: 5s } }, max_deliveries: 2 }, \
       on: { success: N, odd: A } }",
    "{ dispatch: { skill: render }, on: { success: N }, on_event: { leap: A } }",
    "{ parallel: { for_each: \"{{ [1, 2, 3] }}\", as: item, task: { skill: analyze, params: { i: \"{{ item }}\" } }, limit: 2 }, into: N }",
    "{ parallel: { for_each: \"{{ [1, 2, 3, 4] }}\", as: item, task: { skill: analyze }, until: { at_least: 2 } }, into: N, on: { failure: A } }",
    "{ parallel: { for_each: \"{{ [] }}\", as: item, task: { skill: analyze } }, into: N }",
    "{ parallel: { for_each: \"{{ initial_data.x }}\", as: item, task: { skill: analyze } }, into: N }",
    "{ run: { blueprint: kid, input: {}, timeout: 9s }, on: { success: N, failure: A } }",
    "{ approve: { integration: chat, message: m, timeout: 9s }, on: { yes: N, no: A, timeout: B } }",
    "{ approve: { integration: chat, message: \"{{ event.price }}\" }, on: { yes: N } }",
    "{ wait: { for: 5s }, go_to: N }",
    "{ wait: { event: bell, timeout: 9s }, on: { event: N, timeout: A } }",
];

/// Writes a blueprint of these states, each of which leads to the next one and maybe elsewhere.
fn text_of(states: &[(usize, Index, Index)]) -> String {
    let mut text = String::from(
        "blueprint: any\nstart: fork\nstates:\n  fork: { choose: [ { when: chance(0.1), go_to: bad } ], else: { go_to: s0 } }\n",
    );
    let name = |index: usize| match index.checked_sub(states.len()) {
        None => format!("s{index}"),
        Some(0) => "done".to_owned(),
        Some(_) => "bad".to_owned(),
    };
    for (number, (kind, a, b)) in states.iter().enumerate() {
        let ends = states.len() + 2;
        let state = STATES[*kind]
            .replace(": N", &format!(": {}", name(number + 1)))
            .replace(": A", &format!(": {}", name(a.index(ends))))
            .replace(": B", &format!(": {}", name(b.index(ends))));
        text.push_str(&format!("  s{number}: {state}\n"));
    }
    text + "  done: { end: finished, result: 1 }\n  bad: { end: failed, error: bad }\n"
}

/// A task's record as no store would have it.
fn bent(task: &Task, how: u8) -> Task {
    let mut task = task.clone();
    match how % 9 {
        0 => task.visit = u64::MAX,
        1 => task.visit = 0,
        2 => task.branch = Some(u32::MAX),
        3 => task.branch = None,
        4 => task.id = TaskId::from("nobody's"),
        5 => task.lease = None,
        6 => task.status = TaskStatus::Ended,
        7 => (task.failures, task.losses, task.ordinal) = (u32::MAX, u32::MAX, u32::MAX),
        _ => task.dispatch_deadline = Some(crate::base::Timestamp(i64::MIN)),
    }
    task
}

/// Inputs that nobody should send.
fn nonsense(bench: &Bench, how: u8) -> Vec<Input> {
    let job = bench.job();
    let mut inputs = vec![
        Input::Decided {
            visit: job.visit.wrapping_add(u64::from(how % 3)).wrapping_sub(1),
            decision: ["yes", "", "timeout", "go_to"][usize::from(how % 4)].to_owned(),
            metadata: Some(crate::domain::Object::new()),
            security: Some(json!([how])),
        },
        Input::ChildEnded(ChildEnd {
            child: if how.is_multiple_of(2) {
                job.id
            } else {
                job.child_job_id.unwrap_or(job.id)
            },
            visit: [0, job.visit, u64::MAX][usize::from(how % 3)],
            finished: how.is_multiple_of(5),
            final_state: String::new(),
            result: Some(Value::Null),
            error: None,
        }),
        Input::EventReceived {
            name: String::new(),
            payload: json!([[[[how]]]]),
        },
        Input::EventReceived {
            name: "bell".to_owned(),
            payload: Value::Null,
        },
        Input::Woken,
        Input::Retry,
        Input::Cancel {
            reason: "\u{0}".repeat(usize::from(how)),
        },
    ];
    for task in bench.tasks.values().take(4) {
        let task = bent(task, how);
        let report = match how % 4 {
            0 => TaskReport::failure("", ""),
            1 => TaskReport::failure("TRANSIENT_ERROR", "x"),
            2 => TaskReport {
                status: String::new(),
                ..TaskReport::success(crate::domain::Object::new())
            },
            _ => TaskReport::success(crate::domain::Object::new()),
        };
        let boxed = || Box::new(task.clone());
        inputs.push(Input::TaskReported {
            task: boxed(),
            worker: "w1".into(),
            report,
        });
        inputs.push(Input::TaskExpired { task: boxed() });
        inputs.push(Input::TaskLost { task: boxed() });
        inputs.push(Input::WorkerEvent {
            task: (how.is_multiple_of(2)).then(boxed),
            event: WorkerEvent {
                id: String::new(),
                event_type: ["leap", "progress", ""][usize::from(how % 3)].to_owned(),
                payload: crate::domain::Object::new(),
                worker: "w2".into(),
                task_id: Some(task.id.clone()),
                timestamp: Some(i64::MIN),
            },
        });
    }
    inputs
}

/// Steps without keeping what comes of it; a store would have refused most of it.
fn tried(bench: &Bench, input: &Input, branches: &[Task]) -> Result<(), String> {
    let job = bench.job().clone();
    let mut outcome = step(&bench.world(None), job.clone(), input.clone());
    if outcome == Outcome::NeedsBranches {
        outcome = step(&bench.world(Some(branches)), job.clone(), input.clone());
    }
    match outcome {
        Outcome::Advanced(advance) => {
            invariants::check(Some(&job), &advance).map_err(|broken| format!("{broken}: {input:?}"))
        }
        Outcome::Ignored(_) => Ok(()),
        Outcome::NeedsBranches => Err(format!("asks twice for the branches: {input:?}")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_blueprint_takes_any_input(
        states in prop::collection::vec((0..STATES.len(), any::<Index>(), any::<Index>()), 1..7),
        input in select(vec!["null", "{}", "{\"x\": [1, {}]}", "{\"x\": 7}", "{\"x\": \"ab\"}"]),
        max_transitions in 1_u32..25,
        lines in prop::collection::vec((0..LINES.len(), any::<u8>()), 0..40),
    ) {
        let text = text_of(&states);
        let mut bench = Bench::new(&text).with(|submission, _| {
            submission.max_transitions = Some(max_transitions);
        });
        bench.run(&format!("create {input}"));
        for (line, how) in lines {
            let branches: Vec<Task> = bench.tasks.values().cloned().collect();
            for input in nonsense(&bench, how) {
                let held = tried(&bench, &input, &branches);
                prop_assert!(held.is_ok(), "{}\n{:?}", text, held);
            }
            bench.run(LINES[line]);
        }
    }
}
