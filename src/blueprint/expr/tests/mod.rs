//! Tables: source, what is in scope, what comes out.

mod missing;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Compiled, Scope};
use crate::base::{ClientId, JobId, Timestamp};
use crate::domain::client::ClientRef;
use crate::domain::{Job, JobStatus, Object};

/// A job in the middle of things.
fn job() -> Job {
    let object = |value: Value| value.as_object().cloned().expect("an object");
    Job {
        initial_data: std::sync::Arc::new(json!({
            "path": "/s3/in.mp4", "quality": "low", "size": 10, "price": 1.5, "yes": true,
            "no": false, "nothing": null, "tags": ["a", "b"], "deep": {"er": {"x": [10, 20, 30]}},
            "user_id": "user-123", "huge": u64::MAX, "text_size": "9",
        })),
        state_history: object(json!({"video_id": "vid_1", "a.b": 1})),
        aggregation_results: Some(json!({
            "one": {"status": "success", "data": {"analysis": {"codec": "aac"}}},
            "two": {"status": "failure", "error": {"code": "X"}},
        })),
        metadata: Some(object(json!({"trace": "t"}))),
        ..Job::new_for_tests()
    }
}

/// Evaluates a template to `Ok(value)` or `Err(cause)`.
fn eval(source: &str) -> Result<Value, String> {
    let mut compiled = Compiled::new("bp");
    let template = compiled
        .template("states.s.set.x", source, &["file"])
        .map_err(|e| e.to_string())?;
    with_scope(|scope| compiled.render(&template, scope)).map_err(|error| {
        assert_eq!(error.place, "bp: states.s.set.x");
        error.cause
    })
}

/// Calls with the usual scope.
fn with_scope<T>(call: impl FnOnce(&Scope<'_>) -> T) -> T {
    let stores = BTreeMap::from([(
        "user_prefs".to_owned(),
        json!({"user-123": "dark_mode"})
            .as_object()
            .cloned()
            .expect("an object"),
    )]);
    let job = job();
    let file = json!({"name": "subtitles.srt"});
    call(&Scope {
        job: &job,
        data_stores: &stores,
        event: Some(&json!({"kind": "ping"})),
        attempt: 2,
        now: Timestamp(1_795_422_154_195),
        locals: &[("file", &file)],
    })
}

#[track_caller]
fn check(source: &str, expected: &Value) {
    assert_eq!(eval(source).as_ref(), Ok(expected), "{source}");
}

#[track_caller]
fn check_error(source: &str, part: &str) {
    let error = eval(source).expect_err(source);
    assert!(
        error.contains(part),
        "{source}: {error:?} does not contain {part:?}"
    );
}

#[track_caller]
fn check_when(source: &str, expected: bool) {
    let mut compiled = Compiled::new("bp");
    let id = compiled
        .condition("states.s.choose[0].when", source, &["file"])
        .expect(source);
    assert_eq!(
        with_scope(|scope| compiled.test(id, scope)),
        Ok(expected),
        "{source}"
    );
}

#[test]
fn one_expression_keeps_its_type() {
    for (source, expected) in [
        ("plain text", json!("plain text")),
        ("{{ initial_data.size }}", json!(10)),
        ("  {{ initial_data.size }}\n", json!(10)),
        ("{{- initial_data.size -}}", json!(10)),
        ("{{ initial_data.price * 2 }}", json!(3.0)),
        ("{{ initial_data.yes }}", json!(true)),
        ("{{ initial_data.nothing }}", json!(null)),
        ("{{ initial_data.huge }}", json!(u64::MAX)),
        ("{{ initial_data.tags }}", json!(["a", "b"])),
        ("{{ initial_data.deep.er.x[1] }}", json!(20)),
        ("{{ initial_data.deep.er.x[-1] }}", json!(30)),
        (
            "{{ initial_data['deep']['er'] }}",
            json!({"x": [10, 20, 30]}),
        ),
        (
            "{{ {'a': initial_data.size, 'b': [1, 'x']} }}",
            json!({"a": 10, "b": [1, "x"]}),
        ),
        ("{{ ['a', 'b'] }}", json!(["a", "b"])),
        ("{{ state_history['a.b'] }}", json!(1)),
        (
            "{{ state_history }}",
            json!({"video_id": "vid_1", "a.b": 1}),
        ),
        ("{{ file.name }}", json!("subtitles.srt")),
        ("{{ event.kind }}", json!("ping")),
        ("{{ attempt + 1 }}", json!(3)),
        ("{{ now }}", json!("2026-11-23T08:22:34.195Z")),
        (
            "{{ client }}",
            json!({"id": "tester", "plan": "", "params": {}}),
        ),
        ("{{ client.id }}", json!("tester")),
        ("{{ metadata.trace }}", json!("t")),
        (
            "{{ data_stores }}",
            json!({"user_prefs": {"user-123": "dark_mode"}}),
        ),
        ("{{ current_state ~ '/' ~ blueprint }}", json!("s/bp")),
        ("{{ range(3) | list }}", json!([0, 1, 2])),
        (
            "{{ 'low' if initial_data.quality == 'low' else 'high' }}",
            json!("low"),
        ),
        (
            "{{ initial_data.size > 9 and initial_data.yes }}",
            json!(true),
        ),
        ("{{ 1 < 2 < 3 }}", json!(true)),
        ("{{ 1 < 2 < 2 }}", json!(false)),
        ("{{ 2 ** 3 ** 1 }}", json!(8)),
        ("{{ 10 - 3 - 2 }}", json!(5)),
        ("{{ -initial_data.size }}", json!(-10)),
        ("{{ not initial_data.no }}", json!(true)),
    ] {
        check(source, &expected);
    }
}

#[test]
fn text_around_makes_text() {
    for (source, expected) in [
        ("vid_{{ job_id[:8] }}", json!("vid_00000000")),
        ("{{ job_id[-4:] }}", json!("0707")),
        ("{{ initial_data.size }} bytes", json!("10 bytes")),
        (
            "{{ initial_data.yes }}/{{ initial_data.nothing }}",
            json!("true/null"),
        ),
        (
            "tags: {{ initial_data.tags }}",
            json!("tags: [\"a\",\"b\"]"),
        ),
        ("{{ initial_data.tags | join('+') }}!", json!("a+b!")),
        ("{{ 'a' }}{{ 'b' }}", json!("ab")),
        (" {{ 1 }} ", json!(1)),
        (" x{{ 1 }} ", json!(" x1 ")),
        ("<{{ '<b>' }}>", json!("<<b>>")),
        ("{# remark #}x", json!("x")),
    ] {
        check(source, &expected);
    }
}

#[test]
fn filters() {
    for (source, expected) in [
        (
            "{{ aggregation_results | map_values('data.analysis') }}",
            json!({"one": {"codec": "aac"}, "two": null}),
        ),
        (
            "{{ [{'a': {'b': 1}}, {'a': 2}, 3] | map_values('a.b') }}",
            json!([1, null, null]),
        ),
        (
            "{{ initial_data | pick('size', 'absent', 'yes') }}",
            json!({"size": 10, "yes": true}),
        ),
        ("{{ initial_data | pick(['size']) }}", json!({"size": 10})),
        (
            "{{ {'a': 1, 'b': 2} | merge({'b': 3, 'c': 4}) }}",
            json!({"a": 1, "b": 3, "c": 4}),
        ),
        ("{{ 1.0 | chance }}", json!(true)),
        ("{{ chance(0) }}", json!(false)),
        ("{{ initial_data.quality | upper }}", json!("LOW")),
        ("{{ initial_data.tags | length }}", json!(2)),
        ("{{ initial_data.text_size | int + 1 }}", json!(10)),
        ("{{ initial_data.tags | tojson }}", json!("[\"a\", \"b\"]")),
        ("{{ [3, 1, 2] | sort | first }}", json!(1)),
        ("{{ [1, 5, 'x'] | select('gt', 2) | list }}", json!([5])),
        ("{{ {'a': 1}.a }}", json!(1)),
    ] {
        check(source, &expected);
    }
}

#[test]
fn bad_sources_are_refused_with_what_was_meant() {
    for (source, part) in [
        (
            "{{ inital_data.x }}",
            "unknown name `inital_data` (did you mean `initial_data`?)",
        ),
        ("{{ fil }}", "did you mean `file`?"),
        (
            "{{ 1 | uper }}",
            "unknown filter `uper` (did you mean `upper`?)",
        ),
        (
            "{{ 1 is defind }}",
            "unknown test `is defind` (did you mean `defined`?)",
        ),
        (
            "{{ rang(3) }}",
            "unknown function `rang` (did you mean `range`?)",
        ),
        ("{{ file.name.upper() }}", "calls a method"),
        ("{{ 'a' if true }}", "without an `else`"),
        ("{{ 1 + }}", "does not compile"),
        ("{{ 1", "does not compile"),
        ("{% if x %}y{% endif %}", "only `{{ … }}` is known"),
        ("{{ chance() }}", "one number"),
        ("{{ dict(*file) }}", "spreads"),
    ] {
        check_error(source, part);
    }
    let long = format!("{{{{ '{}' }}}}", "x".repeat(5000));
    check_error(&long, "the limit is 4096");
    let deep = format!("{{{{ {}1{} }}}}", "[".repeat(60), "]".repeat(60));
    check_error(&deep, "nested deeper");
    let row = format!("{{{{ 1{} }}}}", " + 1".repeat(900));
    check(&row, &json!(901));
}

#[test]
fn errors_say_where_in_the_source() {
    let mut compiled = Compiled::new("bp");
    let error = compiled
        .template("p", "ab {{ 1 + nope }}", &[])
        .expect_err("unknown name");
    assert_eq!(error.offset, 10);
    let error = compiled
        .condition("p", "true and nope", &[])
        .expect_err("unknown name");
    assert_eq!(error.offset, 9);
}

#[test]
fn results_are_bounded() {
    let source = "{{ [initial_data.path * 400, initial_data.path * 400] * 1200 }}";
    assert!(
        eval(source).is_err_and(|cause| cause.contains("larger than")),
        "9.6 MB of JSON"
    );
}

#[test]
fn chance_goes_by_job_and_visit() {
    let mut compiled = Compiled::new("bp");
    let id = compiled
        .condition("p", "chance(0.3)", &[])
        .expect("compiles");
    let stores = BTreeMap::new();
    let mut hits = 0;
    for visit in 0..1000 {
        let job = Job {
            visit,
            ..Job::new_for_tests()
        };
        let scope = Scope {
            job: &job,
            data_stores: &stores,
            event: None,
            attempt: 1,
            now: Timestamp(0),
            locals: &[],
        };
        let first = compiled.test(id, &scope);
        assert_eq!(
            first,
            compiled.test(
                id,
                &Scope {
                    attempt: 9,
                    ..scope
                }
            ),
            "no randomness"
        );
        hits += usize::from(first == Ok(true));
    }
    assert!((250..350).contains(&hits), "{hits}");
}

#[test]
fn every_listed_name_exists() {
    use super::filters::{ENVIRONMENT, FILTERS, FUNCTIONS, TESTS};
    let exists = |name: &str, kind: &str| {
        let source = format!("'{name}' is {kind}");
        ENVIRONMENT
            .compile_expression(&source)
            .and_then(|e| e.eval(()))
            .expect("evaluates")
            .is_true()
    };
    for name in FILTERS.iter().filter(|name| **name != "chance") {
        assert!(exists(name, "filter"), "{name}");
    }
    for name in TESTS {
        assert!(exists(name, "test"), "{name}");
    }
    for name in FUNCTIONS.iter().filter(|name| **name != "chance") {
        assert!(
            ENVIRONMENT.globals().any(|(known, _)| known == *name),
            "{name}"
        );
    }
    for list in [FILTERS, TESTS, FUNCTIONS] {
        assert!(list.is_sorted(), "{list:?}");
    }
}

impl Job {
    /// A job that has just entered state `s` of blueprint `bp`.
    pub(in crate::blueprint) fn new_for_tests() -> Self {
        serde_json::from_value(json!({
            "id": JobId::from_parts(Timestamp(0), [7; 10]),
            "revision": 1, "blueprint": "bp", "blueprint_revision": "0",
            "client": ClientRef { id: ClientId::new("tester"), plan: String::new(), params: Object::new() },
            "status": JobStatus::Running, "state": "s", "visit": 1, "initial_data": {},
            "step": 1, "max_transitions": 100, "created_at": 0, "updated_at": 0, "entered_at": 0,
        }))
        .expect("every other member has a default")
    }
}
