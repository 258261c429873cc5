//! Beginnings, ends by order, second chances, and what a parent is told.

use insta::assert_snapshot;
use serde_json::json;

use super::harness::{Bench, START, submission};
use crate::base::JobId;
use crate::domain::{JobStatus, ParentLink};
use crate::engine::{Guard, IdempotencyKey, Quota, child, create};

const WORK: &str = r#"
blueprint: work
input: { type: object, required: [n] }
start: prepare
states:
  prepare: { set: { n: "{{ initial_data.n }}" }, go_to: work }
  work:
    dispatch: { skill: render, retry: { max_attempts: 1, backoff: { initial: 1s, factor: 1, max: 1s, jitter: 0 } } }
    on: { success: check, failure: tidy }
  tidy: { log: tidying up, go_to: failed }
  check:
    choose: [{ when: state_history.ok, go_to: done }]
    else: { go_to: failed }
  done: { end: finished }
  failed: { end: failed, error: no good }
"#;

fn as_child(text: &str) -> Bench {
    Bench::new(text).with(|submission, _| {
        let job_id = JobId::from_parts(START, [9; 10]);
        submission.parent = Some(ParentLink { job_id, visit: 4 });
        submission.webhook_url = None;
    })
}

#[test]
fn submissions_are_checked() {
    for (name, script, change, expected) in [
        (
            "input",
            r#"create {"m": 1}"#,
            (0, None, 1 << 20),
            "does not match the input schema",
        ),
        (
            "depth",
            r#"create {"n": 1}"#,
            (11, None, 1 << 20),
            "deeper than the limit of 10",
        ),
        (
            "none",
            r#"create {"n": 1}"#,
            (0, Some(0), 1 << 20),
            "max_transitions is 0",
        ),
        (
            "many",
            r#"create {"n": 1}"#,
            (0, Some(101), 1 << 20),
            "expected 1 to 100",
        ),
        (
            "large",
            r#"create {"n": 1}"#,
            (0, None, 3),
            "is 7 bytes, the limit is 3",
        ),
    ] {
        let (depth, max_transitions, bytes) = change;
        let mut bench = Bench::new(WORK).with(|submission, limits| {
            submission.depth = depth;
            submission.max_transitions = max_transitions;
            limits.payload_bytes_max = bytes;
        });
        let out = bench.run(script);
        assert!(
            out.contains("refused") && out.contains(expected),
            "{name}: {out}"
        );
    }
}

#[test]
fn a_new_job_brings_its_guards() {
    let bench = Bench::new(WORK);
    let key = IdempotencyKey {
        key: "k".to_owned(),
        fingerprint: "f".to_owned(),
        until: START,
    };
    let quota = Quota {
        month: "2026-11".to_owned(),
        limit: 5,
    };
    let mut new = submission(json!({ "n": 1 }));
    new.idempotency = Some(key.clone());
    new.quota = Some(quota.clone());
    new.max_transitions = Some(7);
    let advance = create(&bench.world(None), new).expect("a good submission");
    let client = advance.job.client.id.clone();
    assert_eq!(
        advance.guards,
        [
            Guard::Idempotency {
                client: client.clone(),
                key
            },
            Guard::Quota { client, quota }
        ]
    );
    assert_eq!((advance.job.revision, advance.job.max_transitions), (1, 7));
}

#[test]
fn a_retry_goes_on_where_the_work_failed() {
    let mut bench = Bench::new(WORK);
    assert_snapshot!(
        "retry",
        bench.run(
            r#"create {"n": 1}
        retry
        take w1
        report w1 failure PERMANENT_ERROR
        retry
        take w1
        report w1 success {"ok": false}
        retry
        cancel enough
        retry"#
        )
    );
    assert_eq!(bench.job().retries, 3);
}

#[test]
fn each_retry_allows_as_many_states_as_the_job_began_with() {
    let text = "
blueprint: circle
start: a
states:
  a: { choose: [{ when: initial_data.never, go_to: done }], else: { go_to: b } }
  b: { go_to: a }
  done: { end: finished }
";
    let mut bench = Bench::new(text).with(|submission, _| submission.max_transitions = Some(5));
    for (script, limit) in [("create {}", 5), ("retry", 10), ("retry", 15)] {
        bench.run(script);
        let job = bench.job();
        assert_eq!((job.step, job.max_transitions), (limit, limit), "{script}");
    }
    let start = crate::engine::ChildStart {
        child: JobId::from_parts(START, [8; 10]),
        parent: bench.job().id,
        visit: 1,
        blueprint: "kid".to_owned(),
        input: json!(1),
    };
    let new = child::submission(bench.job(), &start, &bench.limits);
    assert_eq!(new.max_transitions, Some(5), "and so does a child's");
    // The operator allows fewer meanwhile.
    bench.limits.max_transitions = 2;
    bench.run("retry");
    assert_eq!(bench.job().max_transitions, 17);
}

#[test]
fn a_parent_is_told_once() {
    let mut bench = as_child(WORK);
    assert_snapshot!(
        "child_ends",
        bench.run(
            r#"create {"n": 1}
        take w1
        report w1 failure PERMANENT_ERROR
        retry
        take w1
        report w1 success {"ok": true}"#
        )
    );
    for script in [
        "cancel x",
        "take w\nreport w odd",
        "take w\nreport w success {\"ok\": true}",
    ] {
        let out = as_child(WORK).run(&format!("create {{\"n\": 1}}\n{script}"));
        assert_eq!(out.matches("tell parent").count(), 1, "{out}");
    }
}

#[test]
fn a_child_inherits() {
    let text = "
blueprint: parent
start: start
states:
  start: { run: { blueprint: kid, input: 1 }, on: { success: done, failure: sad } }
  done: { end: finished }
  sad: { end: failed }
";
    let mut bench = Bench::new(text).with(|submission, _| {
        submission.policy = Some(super::harness::object(r#"{"allowed_skills": []}"#));
        submission.labels.insert("a".to_owned(), "b".to_owned());
        submission.max_transitions = Some(9);
    });
    bench.run("create {}\ncancel x");
    let parent = bench.job();
    let start = crate::engine::ChildStart {
        child: parent.child_job_id.expect("started"),
        parent: parent.id,
        visit: 1,
        blueprint: "kid".to_owned(),
        input: json!(1),
    };
    let new = child::submission(parent, &start, &bench.limits);
    assert_eq!(
        (new.id, new.depth, new.max_transitions),
        (start.child, 1, Some(9))
    );
    assert_eq!(new.policy, parent.policy);
    assert_eq!((new.webhook_url, new.labels.len()), (None, 1));
    assert_eq!(
        new.parent,
        Some(ParentLink {
            job_id: parent.id,
            visit: 1
        })
    );
    let end = child::refused(&start, "there is no such blueprint");
    assert_eq!((end.finished, end.visit), (false, 1));
    assert_eq!(
        end.error.map(|error| error.code).as_deref(),
        Some("child_refused")
    );
}

#[test]
fn ended_jobs_are_kept_for_a_while() {
    let text = WORK.replace(
        "start: prepare",
        "start: prepare\nlimits: { retention: 1h }",
    );
    let mut bench = Bench::new(&text);
    bench.run("create {\"n\": 1}\nlater 5\ncancel x");
    let job = bench.job();
    assert_eq!(job.status, JobStatus::Cancelled);
    assert_eq!(job.ended_at, Some(bench.now));
    assert_eq!(job.keep_until, Some(bench.now.after_ms(3_600_000)));
}
