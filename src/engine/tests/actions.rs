//! Each action of a state, by what it comes to.

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::harness::Bench;

const INLINE: &str = r#"
blueprint: inline
data_stores: { seen: { ada: 1 } }
start: start
states:
  start:
    set:
      name: "{{ initial_data.name }}"
      greeting: "hello {{ state_history.name }}"
    put: { seen: { "{{ state_history.name }}": 2 } }
    log: "{{ state_history.greeting }}, seen {{ data_stores.seen[state_history.name] }} times"
    emit: [{ type: greeted, payload: { who: "{{ state_history.name }}" } }]
    go_to: decide
  decide:
    choose:
      - when: initial_data.name == "ada"
        log: old friend
        choose:
          - when: initial_data.loud
            go_to: loud
        else: { set: { quiet: true }, go_to: done }
    else: { go_to: stranger }
  loud: { end: finished, result: "{{ state_history.greeting | upper }}" }
  done: { end: finished }
  stranger: { end: failed, error: "who is {{ state_history.name }}?" }
"#;

#[test]
fn inline_states_run_in_one_step() {
    assert_snapshot!(
        "inline_loud",
        Bench::new(INLINE).run(r#"create {"name": "ada", "loud": true}"#)
    );
    assert_snapshot!(
        "inline_quiet",
        Bench::new(INLINE).run(r#"create {"name": "ada"}"#)
    );
    assert_snapshot!(
        "inline_failed",
        Bench::new(INLINE).run(r#"create {"name": "bob"}"#)
    );
}

#[test]
fn a_webhook_has_all_eight_members() {
    let mut bench = Bench::new(INLINE);
    bench.run(r#"create {"name": "bob"}"#);
    let body = bench.webhooks.pop().expect("the end is told");
    let expected = json!({
        "event": "job_failed", "job_id": bench.job().id, "status": "failed", "result": "hello bob",
        "error": "who is bob?", "security": null, "metadata": null, "timestamp": 1_795_420_800,
    });
    assert_eq!(
        body.to_string(),
        expected.to_string(),
        "members and their order"
    );
    let emitted = bench.webhooks.pop().expect("the event is told");
    assert_eq!(emitted["event"], "worker_event:greeted");
    assert_eq!(emitted["result"], json!({ "who": "bob" }));
}

const DISPATCH: &str = r#"
blueprint: work
start: work
states:
  work:
    dispatch:
      skill: render
      params: { size: "{{ initial_data.size }}" }
      priority: 3
      timeouts: { dispatch: 60s, execution: 10s }
    on: { success: more, needs_review: review, cancelled: stopped }
  more:
    dispatch: { skill: pack, into: packed }
    on: { success: done }
    on_event: { preview: early }
  done: { end: finished, result: "{{ state_history.packed.bytes + state_history.pixels }}" }
  early: { end: finished, result: "{{ event.url }}" }
  review: { end: failed, error: "review {{ event.data.why }}" }
  stopped: { end: failed }
"#;

#[test]
fn dispatch() {
    let run = |script: &str| Bench::new(DISPATCH).run(script);
    assert_snapshot!(
        "dispatch_success",
        run(r#"create {"size": 4}
        take w1
        says w1 progress {"progress": 0.5, "message": "half"}
        report w1 success {"pixels": 16}
        take w2
        report w2 success {"bytes": 7}
        resend"#)
    );
    assert_snapshot!(
        "dispatch_custom_status",
        run(r#"create {"size": 4}
        take w1
        report w1 needs_review {"why": "it is dark"}"#)
    );
    assert_snapshot!(
        "dispatch_unknown_status",
        run(r#"create {"size": 4}
        take w1
        report w1 sparkling"#)
    );
    assert_snapshot!(
        "dispatch_cancelled",
        run(r#"create {"size": 4}
        take w1
        report w1 cancelled"#)
    );
    assert_snapshot!(
        "dispatch_cancelled_without_a_way_out",
        run(r#"create {"size": 4}
        take w1
        report w1 success {"pixels": 16}
        take w1
        report w1 cancelled"#)
    );
    assert_snapshot!(
        "dispatch_event_transition",
        run(r#"create {"size": 4}
        take w1
        report w1 success {"pixels": 16}
        take w2
        says w1 preview {"url": "u"}
        says w2 other
        says w2 preview {"url": "u"}
        report w2 success {"bytes": 7}"#)
    );
}

#[test]
fn a_task_carries_what_the_job_says() {
    let mut bench = Bench::new(DISPATCH).with(|submission, _| {
        submission.metadata = Some(super::harness::object(r#"{"tenant": 1}"#));
        submission.data_metadata = Some(super::harness::object(
            r#"{"size": {"uri": "s3://b/k"}, "x": 1}"#,
        ));
        submission.result_timeout_ms = Some(90_000);
        submission.policy = Some(super::harness::object(r#"{"allowed_skills": ["render"]}"#));
    });
    bench.run(r#"create {"size": 4}"#);
    let task = bench.tasks.values().next().expect("one task is queued");
    assert_eq!(json!(task.spec.priority), json!(3.0));
    assert_eq!(task.spec.custom_statuses, ["needs_review"]);
    assert_eq!(task.spec.execution_timeout_ms, 10_000);
    assert_eq!(task.spec.retry, bench.limits.retry);
    assert_eq!(task.dispatch_deadline, Some(bench.now.after_ms(60_000)));
    assert_eq!(task.result_deadline, Some(bench.now.after_ms(90_000)));
    assert_eq!(
        Value::Object(task.spec.metadata.clone().unwrap()),
        json!({ "tenant": 1 })
    );
    let files = Value::Object(task.spec.params_metadata.clone().unwrap());
    assert_eq!(
        files,
        json!({ "size": { "uri": "s3://b/k" } }),
        "only what the parameters name"
    );
    assert_eq!((task.spec.step, task.spec.depth), (1, 0));
}

#[test]
fn reports_bring_more_than_data() {
    let mut bench = Bench::new(DISPATCH);
    bench.run("create {\"size\": 4}\ntake w1");
    let task = bench
        .tasks
        .values()
        .next()
        .expect("one task is queued")
        .clone();
    let mut report = crate::domain::TaskReport::success(super::harness::object("{}"));
    report.metadata = Some(super::harness::object(r#"{"lane": 1}"#));
    report.data_metadata = Some(super::harness::object(r#"{"file": {"uri": "u"}}"#));
    report.security = Some(json!({ "signer_id": "s" }));
    bench.apply(crate::engine::Input::TaskReported {
        task: Box::new(task),
        worker: "w1".into(),
        report,
    });
    let job = bench.job();
    assert_eq!(
        json!(job.metadata),
        json!({ "lane": 1 }),
        "merged into none (EQ12)"
    );
    assert_eq!(json!(job.data_metadata), json!({ "file": { "uri": "u" } }));
    assert_eq!(job.security, Some(json!({ "signer_id": "s" })));
}

const CHILD: &str = r#"
blueprint: parent
start: start
states:
  start:
    run: { blueprint: kid, input: { n: "{{ initial_data.n }}" }, timeout: 60s }
    on: { success: done, failure: sad }
  done: { end: finished, result: "{{ state_history.children.start.result }}" }
  sad: { end: failed, error: "kid: {{ state_history.children.start.error.message }}" }
"#;

#[test]
fn child() {
    let run = |script: &str| Bench::new(CHILD).run(script);
    assert_snapshot!(
        "child_finished",
        run("create {\"n\": 1}\nchild finished {\"sum\": 2}\nchild finished {\"sum\": 3}")
    );
    assert_snapshot!(
        "child_failed",
        run("create {\"n\": 1}\nchild failed it rained")
    );
    assert_snapshot!(
        "child_timeout",
        run("create {\"n\": 1}\nlater 59\nwake\nlater 1\nwake\nchild finished {}")
    );
    assert_snapshot!("child_cancel", run("create {\"n\": 1}\ncancel enough"));
}

#[test]
fn children_are_not_nested_for_ever() {
    let deep = |text: &str| Bench::new(text).with(|submission, _| submission.depth = 10);
    assert_snapshot!("child_too_deep", deep(CHILD).run("create {\"n\": 1}"));
    let unmapped = CHILD.replace(
        "on: { success: done, failure: sad }",
        "on: { success: done }",
    );
    let unmapped = unmapped
        .lines()
        .filter(|line| !line.contains("  sad:"))
        .collect::<Vec<_>>();
    assert_snapshot!(
        "child_too_deep_unmapped",
        deep(&unmapped.join("\n")).run("create {\"n\": 1}")
    );
}

const APPROVAL: &str = r#"
blueprint: ask
start: ask
states:
  ask:
    approve:
      integration: chat
      message: "Print {{ initial_data.pages }} pages?"
      timeout: 60s
      form: { type: object, required: [who] }
    on: { yes: printed, no: refused, timeout: nobody }
  printed: { end: finished, result: "{{ metadata.who }} said {{ event.decision }}" }
  refused: { end: failed, error: refused }
  nobody: { end: failed, error: nobody was there }
"#;

#[test]
fn approval() {
    let run = |script: &str| Bench::new(APPROVAL).run(script);
    assert_snapshot!(
        "approval_given",
        run(r#"create {"pages": 3}
        decide maybe {"who": "ada"}
        decide timeout {"who": "ada"}
        decide yes {"name": "ada"}
        decide yes {"who": "ada"}
        decide no {"who": "bob"}"#)
    );
    assert_snapshot!(
        "approval_timeout",
        run("create {\"pages\": 3}\nwake\nlater 60\nwake")
    );
    let mut bench = Bench::new(APPROVAL);
    bench.run(r#"create {"pages": 3}"#);
    let body = bench.webhooks.pop().expect("the client is asked");
    assert_eq!(
        body["approval"]["token"],
        "BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU"
    );
    assert_eq!(body["approval"]["message"], "Print 3 pages?");
    let link = format!(
        "https://jobs.test/_public/webhooks/approval/{}",
        bench.job().id
    );
    assert_eq!(body["approval"]["link"], link);
}

const WAITS: &str = r#"
blueprint: waits
start: nap
states:
  nap: { wait: { for: 5s }, go_to: alarm }
  alarm: { wait: { until: "{{ initial_data.at }}" }, go_to: bell }
  bell:
    wait: { event: bell, timeout: 60s }
    on: { event: done, timeout: silent }
  done: { end: finished, result: "{{ event.tone }}" }
  silent: { end: failed, error: silence }
"#;

#[test]
fn waits() {
    let run = |script: &str| Bench::new(WAITS).run(script);
    assert_snapshot!(
        "wait_all",
        run(r#"create {"at": "2026-11-23T08:00:07Z"}
        wake
        later 5
        wake
        event bell {"tone": "early"}
        later 2
        wake
        event gong {"tone": "g"}
        event bell {"tone": "c"}"#)
    );
    assert_snapshot!(
        "wait_until_the_past",
        run("create {\"at\": 5}\nlater 5\nwake\nlater 60\nwake")
    );
    assert_snapshot!(
        "wait_until_nonsense",
        run("create {\"at\": true}\nlater 5\nwake")
    );
}
