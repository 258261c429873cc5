//! Fan-outs: policies, limits, retries of branches, and what they cost.

use insta::assert_snapshot;
use serde_json::{Map, Value, json};

use super::harness::Bench;
use crate::domain::JobStatus;
use crate::engine::{Input, Outcome, step};

fn fan_out(members: &str) -> String {
    format!(
        r#"
blueprint: fan
start: fan
states:
  fan:
    parallel:
      for_each: "{{{{ initial_data.files }}}}"
      as: file
      task:
        skill: analyze
        params: {{ name: "{{{{ file }}}}" }}
        retry: {{ max_attempts: 2, backoff: {{ initial: 4s, factor: 2, max: 60s, jitter: 0 }} }}
      {members}
    into: sum
    on: {{ failure: sad }}
  sum:
    set: {{ sizes: "{{{{ aggregation_results | map_values('data.size') }}}}" }}
    go_to: last
  last:
    dispatch: {{ skill: report, params: {{ sizes: "{{{{ state_history.sizes }}}}" }} }}
    on: {{ success: done }}
  done: {{ end: finished }}
  sad: {{ end: failed, error: too few }}
"#
    )
}

const THREE: &str = r#"create {"files": ["a", "b", "c"]}"#;

fn run(members: &str, script: &str) -> String {
    Bench::new(&fan_out(members)).run(&format!("{THREE}\n{script}"))
}

#[test]
fn settled_counts_every_end() {
    assert_snapshot!(
        "settled",
        run(
            "",
            r#"
        take w1 1
        report w1 success {"size": 11}
        resend
        take w2 0
        report w2 failure PERMANENT_ERROR
        take w3 2
        report w3 failure TRANSIENT_ERROR
        later 4
        take w1 2
        report w2 success {"size": 1}
        report w1 success {"size": 33}
        report w3 success {"size": 34}"#
        )
    );
}

#[test]
fn a_limit_holds_branches_back() {
    assert_snapshot!(
        "limit",
        run(
            "limit: 2",
            r#"
        take w1
        take w2
        take w3
        report w2 success {"size": 2}
        take w3
        report w3 success {"size": 3}
        report w1 success {"size": 1}"#
        )
    );
}

#[test]
fn policies() {
    assert_snapshot!(
        "any",
        run(
            "until: any",
            "take w1 0\nreport w1 failure PERMANENT_ERROR\ntake w2 2\nreport w2 success {\"size\": 3}\nexpire"
        )
    );
    assert_snapshot!(
        "all_unmet",
        run(
            "until: all",
            "take w1 0\ntake w2 1\nreport w1 failure INVALID_INPUT_ERROR\nreport w2 success {\"size\": 3}"
        )
    );
    assert_snapshot!(
        "at_least",
        run(
            "until: { at_least: 2 }",
            "take w1 0\ntake w2 1\nreport w1 success {}\nreport w2 success {}"
        )
    );
    assert_snapshot!("at_least_too_many", run("until: { at_least: 4 }", "retry"));
    assert_snapshot!(
        "tolerate",
        run(
            "until: { tolerate: \"34%\" }",
            "take w1 0\ntake w2 1\ntake w3 2\nreport w1 failure SECURITY_ERROR\nreport w2 success {}\nreport w3 success {}"
        )
    );
    assert_snapshot!(
        "tolerate_unmet",
        run(
            "until: { tolerate: \"34%\" }",
            "take w1 0\ntake w2 1\ntake w3 2\nreport w1 failure SECURITY_ERROR\nreport w2 failure SECURITY_ERROR\nreport w3 success {}"
        )
    );
}

#[test]
fn a_share_is_tolerated_to_the_last_branch() {
    use crate::blueprint::Until;
    use crate::domain::job::BranchCounts;
    use crate::engine::fanout::{Standing, standing};
    for (percent, total, tolerated) in [
        (0.0, 10_000, 0),
        (5.0, 20, 1),
        (5.0, 39, 1),
        (34.0, 3, 1),
        (2.3, 3_000, 69),
        (4.1, 7_000, 287),
        (0.01, 10_000, 1),
        (99.9, 1_000, 999),
        (100.0, 7, 7),
    ] {
        let stands = |ended: u32, failed: u32| {
            let counts = BranchCounts {
                total,
                released: total,
                ended,
                succeeded: ended - failed,
            };
            standing(Until::Tolerate(percent), &counts)
        };
        let name = format!("{percent} % of {total}");
        assert_eq!(stands(total, tolerated), Standing::Met, "{name}");
        if tolerated < total {
            let one_more = stands(tolerated + 1, tolerated + 1);
            assert_eq!(one_more, Standing::Unmet, "{name}: at once");
            // However many succeed, and though nothing can go wrong any more, the last one runs.
            assert_eq!(stands(total - 1, 0), Standing::Open, "{name}: all run");
        }
    }
}

#[test]
fn without_a_way_out_the_job_fails() {
    let text = fan_out("until: all")
        .replace("    on: { failure: sad }\n", "")
        .replace("  sad: { end: failed, error: too few }\n", "");
    assert_snapshot!(
        "until_unmet",
        Bench::new(&text).run(&format!(
            "{THREE}\ntake w1 0\nreport w1 failure PERMANENT_ERROR"
        ))
    );
}

#[test]
fn an_empty_list_goes_straight_on() {
    assert_snapshot!(
        "empty",
        Bench::new(&fan_out("until: any")).run(r#"create {"files": []}"#)
    );
}

#[test]
fn branches_expire_like_tasks() {
    assert_snapshot!(
        "branch_lost",
        run(
            "",
            "take w1 0\nlater 30\nexpire\nreport w1 success {\"size\": 1}\ntake w2 0\nreport w2 success {\"size\": 1}"
        )
    );
}

#[test]
fn too_many_and_no_list() {
    let mut bench = Bench::new(&fan_out("")).with(|_, limits| limits.branches_max = 2);
    assert_snapshot!("too_many_branches", bench.run(THREE));
    assert_snapshot!(
        "no_list",
        Bench::new(&fan_out("")).run(r#"create {"files": "a"}"#)
    );
    let mut bench = Bench::new(&fan_out("")).with(|_, limits| limits.aggregation_bytes_max = 100);
    let out = bench.run(
        r#"create {"files": ["a"]}
        take w1
        report w1 success {"size": 1}"#,
    );
    assert!(out.contains("payload_too_large"), "{out}");
    let mut bench = Bench::new(&fan_out("")).with(|_, limits| limits.aggregation_bytes_max = 100);
    let name = "a".repeat(60);
    bench.run(&format!("create {{\"files\": [\"{name}\"]}}"));
    assert!(!bench.tasks.is_empty(), "one is not too many");
    bench.run(&format!("create {{\"files\": [\"{name}\", \"{name}\"]}}"));
    let error = bench.job().error.clone().expect("the job has failed");
    assert_eq!(error.code, crate::engine::codes::PAYLOAD_TOO_LARGE);
}

#[test]
fn results_are_seen_by_the_next_state_and_kept_no_longer() {
    let mut bench = Bench::new(&fan_out(""));
    bench.run(
        r#"create {"files": ["a"]}
        take w1
        report w1 success {"size": 5}"#,
    );
    let job = bench.job();
    let task = crate::base::TaskId::derive(job.id, 1, Some(0), 1);
    assert_eq!(job.state, "last");
    assert_eq!(
        json!(job.state_history),
        json!({ "sizes": { task.as_str(): 5 } })
    );
    assert_eq!(job.aggregation_results, None);
}

#[test]
fn results_have_the_wires_form() {
    // The state after the fan-out waits itself: it keeps what it may need again.
    let text = fan_out("").replace("    set: { sizes: \"{{ aggregation_results | map_values('data.size') }}\" }\n    go_to: last\n", "    wait: { for: 1s }\n    go_to: done\n");
    let text = text
        .split("  last:")
        .next()
        .map(|head| format!("{head}  done: {{ end: finished }}\n  sad: {{ end: failed }}\n"));
    let mut bench = Bench::new(&text.expect("the text has a beginning"));
    bench.run(
        r#"create {"files": ["a", "b"]}
        take w1 0
        take w2 1
        report w2 failure PERMANENT_ERROR
        report w1 success {"size": 5}"#,
    );
    let results = bench
        .job()
        .aggregation_results
        .clone()
        .expect("kept while it waits");
    let results: Vec<&Value> = results.as_object().expect("an object").values().collect();
    let id = bench.job().id;
    let task = |branch| {
        bench
            .tasks
            .values()
            .find(|task| task.branch == Some(branch))
            .map(|task| json!(task.id))
    };
    assert_eq!(
        results[0],
        &json!({ "job_id": id, "task_id": task(0), "status": "success",
        "worker_id": "w1", "data": { "size": 5 }, "branch": 0 })
    );
    assert_eq!(
        results[1],
        &json!({ "job_id": id, "task_id": task(1), "status": "failure",
        "worker_id": "w2", "branch": 1,
        "error": { "code": "PERMANENT_ERROR", "message": "permanent_error happened" } })
    );
    bench.run("later 1\nwake");
    assert_eq!(bench.job().aggregation_results, None);
}

/// A fan-out of 1,000: the job's record does not grow with its branches' results, and only the last
/// of them asks to see the others.
#[test]
fn the_cost_of_a_branch_does_not_grow() {
    let files: Vec<Value> = (0..1000).map(|index| json!(index)).collect();
    let mut bench = Bench::new(&fan_out("limit: 10"));
    bench.run(&format!("create {}", json!({ "files": files })));
    let bytes = |bench: &Bench| crate::engine::size::json_bytes(bench.job());
    let at_first = bytes(&bench);
    let big = "x".repeat(200);
    let mut asked = 0;
    for index in 0..1000_u32 {
        bench.run(&format!("take w {index}"));
        let task = bench
            .tasks
            .values()
            .find(|task| task.branch == Some(index))
            .expect("known");
        let report = crate::domain::TaskReport::success(super::harness::object(&format!(
            "{{\"size\": \"{big}\"}}"
        )));
        let input = Input::TaskReported {
            task: Box::new(task.clone()),
            worker: "w".into(),
            report,
        };
        let outcome = step(&bench.world(None), bench.job().clone(), input.clone());
        asked += u32::from(outcome == Outcome::NeedsBranches);
        bench.apply(input);
        if bench.job().state == "fan" {
            assert!(
                bytes(&bench) < at_first + 100,
                "the record has grown at branch {index}"
            );
        }
    }
    assert_eq!(
        (asked, bench.job().status),
        (1, JobStatus::WaitingForWorker)
    );
    assert_eq!(
        bench.job().state_history["sizes"].as_object().map(Map::len),
        Some(1000)
    );
}
