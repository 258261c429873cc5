//! Whatever comes in whatever order: `step` never panics, and every step keeps the invariants (they
//! are asserted in it).

use proptest::prelude::*;

use super::harness::Bench;
use crate::engine::invariants;

const ZOO: &str = r#"
blueprint: zoo
start: gate
states:
  gate:
    choose:
      - { when: initial_data.kind == "task", go_to: task }
      - { when: initial_data.kind == "fan", go_to: fan }
      - { when: initial_data.kind == "child", go_to: child }
      - { when: initial_data.kind == "ask", go_to: ask }
    else: { go_to: nap }
  task:
    dispatch:
      skill: render
      timeouts: { dispatch: 60s, execution: 20s, result: 300s }
      retry: { max_attempts: 3, backoff: { initial: 1s, factor: 2, max: 5s, jitter: 0.5 } }
      max_deliveries: 2
    on: { success: fan, odd: ask }
    on_event: { leap: nap }
  fan:
    parallel:
      for_each: "{{ [1, 2, 3] }}"
      as: item
      task: { skill: analyze, params: { item: "{{ item }}" } }
      limit: 2
      until: { at_least: 2 }
    into: sum
    on: { failure: child }
  sum:
    set: { count: "{{ aggregation_results | length }}" }
    go_to: child
  child:
    run: { blueprint: kid, input: {}, timeout: 90s }
    on: { success: ask, failure: nap }
  ask:
    approve: { integration: chat, message: "go on?", timeout: 60s }
    on: { yes: done, no: refused, timeout: nap }
  nap: { wait: { for: 5s }, go_to: listen }
  listen:
    wait: { event: bell, timeout: 30s }
    on: { event: broken, timeout: gate }
  broken: { set: { price: "{{ event.price }}" }, go_to: done }
  done: { end: finished }
  refused: { end: failed, error: refused }
"#;

/// One input each.
pub(super) const LINES: [&str; 32] = [
    "take w1",
    "take w2",
    "take w3",
    "report w1 success {\"a\": 1}",
    "report w2 success",
    "report w3 success {\"children\": 3}",
    "report w1 failure TRANSIENT_ERROR",
    "report w2 failure PERMANENT_ERROR",
    "report w3 failure INVALID_INPUT_ERROR",
    "report w1 odd {\"b\": {}}",
    "report w2 unheard_of",
    "report w1 cancelled",
    "resend",
    "says w1 progress {\"progress\": 7}",
    "says w2 leap {\"c\": 1}",
    "says w3 leap",
    "later 1",
    "later 6",
    "later 31",
    "later 100",
    "expire",
    "expire",
    "wake",
    "wake",
    "decide yes",
    "decide no {\"d\": 1}",
    "event bell {\"price\": 1}",
    "event bell",
    "child finished {\"e\": 1}",
    "child failed it rained",
    "cancel enough",
    "retry",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn step_is_total(
        kind in prop::sample::select(vec!["task", "fan", "child", "ask", "nap"]),
        is_child in any::<bool>(),
        max_transitions in 1_u32..20,
        lines in prop::collection::vec(0..LINES.len(), 0..60),
    ) {
        let mut bench = Bench::new(ZOO).with(|submission, _| {
            submission.max_transitions = Some(max_transitions);
            submission.parent = is_child.then_some(crate::domain::ParentLink {
                job_id: submission.id,
                visit: 1,
            });
        });
        bench.run(&format!("create {{\"kind\": \"{kind}\"}}"));
        let mut revision = bench.job().revision;
        for line in lines {
            let out = bench.run(LINES[line]);
            let advanced = out.contains("\n  = ");
            let expected = revision + u64::from(advanced);
            prop_assert_eq!(bench.job().revision, expected, "{}", out);
            revision = expected;
        }
    }
}

/// Each check of the invariants sees the bug that it is for.
#[test]
fn planted_bugs_are_seen() {
    let mut bench = Bench::new(ZOO);
    bench.run("create {\"kind\": \"nap\"}");
    let before = bench.job().clone();
    let woken = |change: fn(&mut crate::engine::Advance)| {
        let mut world = bench.world(None);
        world.now = world.now.after_ms(5_000);
        let outcome = crate::engine::step(&world, before.clone(), crate::engine::Input::Woken);
        let crate::engine::Outcome::Advanced(mut advance) = outcome else {
            panic!("the wait is over");
        };
        change(&mut advance);
        invariants::check(Some(&before), &advance).map_err(|broken| broken[..2].to_owned())
    };
    assert_eq!(woken(|_| ()), Ok(()));
    assert_eq!(
        woken(|advance| advance.job.revision += 1),
        Err("I1".to_owned())
    );
    assert_eq!(
        woken(|advance| advance.job.waiting = None),
        Err("I3".to_owned())
    );
    assert_eq!(
        woken(|advance| advance.job.status = crate::domain::JobStatus::WaitingForHuman),
        Err("I3".to_owned())
    );
    assert_eq!(
        woken(
            |advance| advance.effects.push(crate::engine::Effect::EndTask {
                id: "t".into(),
                answer: crate::engine::Answer::None,
                report: None,
            })
        ),
        Err("I4".to_owned())
    );
    let mut ended = before.clone();
    ended.status = crate::domain::JobStatus::Finished;
    let mut revived = before.clone();
    revived.revision += 1;
    let advance = crate::engine::Advance {
        job: revived,
        effects: Vec::new(),
        guards: Vec::new(),
        answer: crate::engine::Answer::None,
        reputation: None,
    };
    let broken = invariants::check(Some(&ended), &advance).unwrap_err();
    assert!(broken.starts_with("I2"), "{broken}");
}
