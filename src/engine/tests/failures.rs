//! What becomes of tasks and states that do not go well.

use insta::assert_snapshot;

use super::harness::Bench;
use crate::domain::JobStatus;

/// Two attempts with a back-off that a test can count on.
const WORK: &str = r"
blueprint: work
start: work
states:
  work:
    dispatch:
      skill: render
      timeouts: { dispatch: 60s, execution: 10s, result: 200s }
      retry: { max_attempts: 2, backoff: { initial: 4s, factor: 2, max: 60s, jitter: 0 } }
      max_deliveries: 2
      output: { type: object, required: [pixels] }
    on: { success: done }
  done: { end: finished }
";

/// The same with a way out for failures.
fn mapped() -> String {
    let text = WORK.replace(
        "on: { success: done }",
        "on: { success: done, failure: sad }",
    );
    format!("{text}  sad: {{ end: failed, error: \"{{{{ event.error.code }}}}\" }}\n")
}

fn run(script: &str) -> String {
    Bench::new(WORK).run(&format!("create\ntake w1\n{script}"))
}

fn run_mapped(script: &str) -> String {
    Bench::new(&mapped()).run(&format!("create\ntake w1\n{script}"))
}

#[test]
fn transient_failures_are_tried_again() {
    let twice = "report w1 failure TRANSIENT_ERROR\nresend\ntake w2\nlater 4\ntake w2\nreport w2 failure RESOURCE_EXHAUSTED_ERROR";
    assert_snapshot!("transient_exhausted", run(twice));
    assert_snapshot!("transient_exhausted_mapped", run_mapped(twice));
    let then_well =
        "report w1 failure TRANSIENT_ERROR\nlater 4\ntake w2\nreport w2 success {\"pixels\": 1}";
    assert_snapshot!("transient_then_success", run(then_well));
}

#[test]
fn permanent_failures_are_not() {
    assert_snapshot!("permanent", run("report w1 failure SECURITY_ERROR"));
    assert_snapshot!(
        "permanent_mapped",
        run_mapped("report w1 failure PERMANENT_ERROR")
    );
    assert_snapshot!(
        "contract_reported",
        run("report w1 failure CONTRACT_VIOLATION_ERROR")
    );
    assert_snapshot!("contract_seen", run("report w1 success {\"lines\": 1}"));
    assert_snapshot!("input", run("report w1 failure INVALID_INPUT_ERROR"));
    assert_snapshot!(
        "input_mapped",
        run_mapped("report w1 failure INTEGRITY_MISMATCH_ERROR")
    );
}

#[test]
fn deadlines() {
    let untaken = |text: &str, script: &str| Bench::new(text).run(&format!("create\n{script}"));
    assert_snapshot!(
        "dispatch_deadline",
        untaken(WORK, "later 59\nexpire\nlater 1\nexpire")
    );
    assert_snapshot!(
        "dispatch_deadline_mapped",
        untaken(&mapped(), "later 60\nexpire")
    );
    assert_snapshot!(
        "execution_deadline",
        run(
            "later 10\nexpire\nreport w1 success {\"pixels\": 1}\nlater 4\ntake w2\nlater 10\nexpire"
        )
    );
    assert_snapshot!(
        "result_deadline",
        run("later 200\nexpire\nreport w1 success {\"pixels\": 1}")
    );
    // The last attempt begins after its own deadline for dispatch has been moved.
    assert_snapshot!(
        "dispatch_deadline_of_a_retry",
        run("later 9\nreport w1 failure X\nlater 63\nexpire\nlater 1\nexpire")
    );
}

#[test]
fn lost_workers() {
    // A longer execution than the lease: only heartbeats keep it alive, and none come.
    let slow = WORK.replace("execution: 10s", "execution: 100s");
    let mut bench = Bench::new(&slow);
    assert_snapshot!("worker_lost", bench.run(
        "create\ntake w1\nlater 29\nexpire\nlater 1\nexpire\nreport w1 success {\"pixels\": 1}\ntake w2\nlater 30\nexpire"
    ));
}

#[test]
fn tasks_that_do_not_reach_their_workers() {
    assert_snapshot!(
        "task_lost",
        run("lose\nlose\ntake w2\nreport w1 success {}\nreport w2 success {\"pixels\": 1}\nlose")
    );
    assert_snapshot!("task_always_lost", run("lose\ntake w1\nlose"));
}

#[test]
fn results_count_once_and_from_the_holder_only() {
    assert_snapshot!(
        "whose_result",
        run(
            "report w2 success {\"pixels\": 1}\nreport w1 success {\"pixels\": 1}\nresend\nreport w2 success {\"pixels\": 1}"
        )
    );
    assert_snapshot!(
        "result_after_cancel",
        run("cancel enough\nreport w1 success {\"pixels\": 1}\nreport w2 success {}")
    );
}

#[test]
fn reasons_of_ended_jobs() {
    for (script, expected) in [
        ("cancel x\nreport w1 success {}", "JobCancelled"),
        (
            "later 200\nexpire\nreport w1 success {}",
            "DeadlineExceeded",
        ),
        (
            "report w1 failure PERMANENT_ERROR\nwake",
            "JobAlreadyTerminated",
        ),
        (
            "report w1 failure PERMANENT_ERROR\nresend",
            "Repeated(FailureHandled)",
        ),
        ("cancel x\ncancel x", "JobCancelled"),
        ("cancel x\nretry", "NotRetryable"),
    ] {
        let out = run(script);
        assert_eq!(
            out.lines().last(),
            Some(format!("  ignored: {expected}").as_str()),
            "{script}"
        );
    }
}

#[test]
fn states_that_cannot_be_run() {
    let missing = "
blueprint: bad
data_stores: { prices: {} }
start: start
states:
  start:
    set: { a: 1, b: \"{{ data_stores.prices.gold }}\" }
    go_to: done
  done: { end: finished }
";
    assert_snapshot!("evaluation_failed", Bench::new(missing).run("create"));
    let with_retry = missing.replace(
        "    go_to: done\n",
        "    dispatch: { skill: s, retry: { max_attempts: 2, backoff: { initial: 4s, factor: 2, max: 60s, jitter: 0 } } }\n    on: { success: done }\n",
    );
    let mut bench = Bench::new(&with_retry);
    assert_snapshot!(
        "evaluation_retried",
        bench.run("create\nwake\nlater 4\nwake\nretry")
    );
    assert!(
        bench.job().state_history.is_empty(),
        "what a failed state has set is taken back"
    );
    let mut bench = Bench::new(&with_retry);
    bench.run("create");
    bench
        .data
        .entry("prices".to_owned())
        .or_default()
        .insert("gold".to_owned(), 7.into());
    assert_snapshot!("evaluation_mended", bench.run("later 4\nwake"));
    assert_eq!(
        serde_json::json!(bench.job().state_history),
        serde_json::json!({ "a": 1, "b": 7 })
    );
}

#[test]
fn another_evaluation_sees_the_event_again() {
    let text = "
blueprint: told
data_stores: { prices: {} }
start: ask
states:
  ask: { wait: { event: order }, on: { event: note } }
  note: { log: noted, go_to: work }
  work:
    dispatch:
      skill: s
      params: { number: \"{{ event.number }}\", price: \"{{ data_stores.prices.gold }}\" }
      retry: { max_attempts: 3, backoff: { initial: 4s, factor: 1, max: 4s, jitter: 0 } }
    on: { success: done }
  done: { end: finished }
";
    let mut bench = Bench::new(text);
    bench.run("create {}\nevent order {\"number\": 5}\nlater 4\nwake");
    let kept = serde_json::to_string(bench.job()).expect("a job is JSON");
    bench.job = Some(serde_json::from_str(&kept).expect("a job is read as it was written"));
    bench
        .data
        .entry("prices".to_owned())
        .or_default()
        .insert("gold".to_owned(), 7.into());
    bench.run("later 4\nwake");
    let params: Vec<_> = bench.tasks.values().map(|task| &task.spec.params).collect();
    assert_eq!(
        serde_json::json!(params),
        serde_json::json!([{ "number": 5, "price": 7 }])
    );
    assert!(
        !serde_json::json!(bench.job())
            .to_string()
            .contains("number"),
        "an event that has been seen is kept no longer"
    );
    let stored = serde_json::json!({ "for": "retry", "failures": 1 });
    let read: crate::domain::job::Waiting =
        serde_json::from_value(stored).expect("what an earlier release has stored is read");
    assert!(matches!(
        read,
        crate::domain::job::Waiting::Retry {
            failures: 1,
            event: None
        }
    ));
}

#[test]
fn policies_and_limits() {
    let mut bench = Bench::new(WORK).with(|submission, _| {
        submission.policy = Some(super::harness::object(r#"{"allowed_skills": ["other"]}"#));
    });
    assert_snapshot!("skill_not_allowed", bench.run("create"));
    let mut bench = Bench::new(WORK).with(|_, limits| limits.payload_bytes_max = 40);
    assert_snapshot!("data_too_large", bench.run(
        "create\ntake w1\nreport w1 success {\"pixels\": \"12345678901234567890123456789012345\"}"
    ));
    assert!(
        bench.job().state_history.is_empty(),
        "what is too large is not kept"
    );
    let cycle = "
blueprint: cycle
start: a
limits: { max_transitions: 3 }
states:
  a: { choose: [{ when: initial_data.never, go_to: done }], else: { go_to: b } }
  b: { go_to: a }
  done: { end: finished }
";
    assert_snapshot!("max_transitions", Bench::new(cycle).run("create {}\nretry"));
    let contract = "
blueprint: contract
output: { type: integer }
start: a
states:
  a: { go_to: done }
  done: { end: finished, result: \"{{ initial_data.n }}\" }
";
    assert_snapshot!(
        "output_contract",
        Bench::new(contract).run("create {\"n\": \"one\"}")
    );
    let mut good = Bench::new(contract);
    good.run("create {\"n\": 1}");
    assert_eq!(good.job().status, JobStatus::Finished);
}

#[test]
fn what_could_not_be_read_again_is_not_stored() {
    let chain = r#"
blueprint: chain
limits: { max_transitions: 90 }
start: a
states:
  a:
    set: { chain: { next: { next: "{{ state_history.chain | default(0) }}" } } }
    go_to: b
  b:
    choose: [{ when: initial_data.once, go_to: done }]
    else: { go_to: a }
  done: { end: finished, result: { over: "{{ state_history.chain }}" } }
"#;
    let mut deep = Bench::new(chain);
    deep.run("create {}");
    let error = deep.job().error.clone().expect("the chain is stopped");
    assert_eq!(error.code, crate::engine::codes::PAYLOAD_TOO_LARGE);
    assert!(error.message.contains("nested"), "{}", error.message);
    let text = serde_json::to_string(deep.job()).expect("a job is JSON");
    let read = serde_json::from_str::<crate::domain::Job>(&text);
    assert!(read.is_ok(), "{read:?}");
    let mut flat = Bench::new(chain);
    flat.run("create {\"once\": true}");
    assert_eq!(flat.job().status, JobStatus::Finished);
}
