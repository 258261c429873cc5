//! What the fuzzer tries: each function takes any bytes and panics when a promise does not hold.
//! `tests/corpus.rs` runs the kept inputs through the same functions.

use std::collections::BTreeMap;

use avtomatika::base::{JobId, Timestamp};
use avtomatika::blueprint::{Blueprint, Compiled, Scope, graph, load};
use avtomatika::domain::{ClientRef, Job, Object};
use avtomatika::engine::{DataStores, Limits, Submission, World, create};
use avtomatika::protocol::wire::{
    Heartbeat, HeartbeatAnswer, RegisterAnswer, Registration, ResultAnswer, TaskPayload,
    TaskResult, TokenResponse, WorkerCommand, WorkerEventPayload,
};
use avtomatika::protocol::{
    WireError, canonical_form, parse_json, seal, sign, to_wire_bytes, verify,
};
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp(1_795_420_800_000);

/// A text loads or tells why, with a place; what loads can be drawn, loads again as the same
/// revision, and a job of it makes its first step.
///
/// # Panics
/// When one of these does not hold.
pub fn blueprint(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let loaded = load("fuzz.yaml", text);
    for problem in &loaded.problems {
        assert!(problem.line > 0 && problem.column > 0, "{problem:?}");
    }
    let Some(blueprint) = loaded.blueprint else {
        assert!(!loaded.problems.is_empty(), "neither loaded nor refused");
        return;
    };
    let again = load("fuzz.yaml", &blueprint.source).blueprint;
    let again = again.expect("what was loaded loads again");
    assert_eq!(again.revision, blueprint.revision);
    let drawings = [
        graph::dot(&blueprint),
        graph::mermaid(&blueprint),
        graph::svg(&blueprint),
    ];
    assert!(drawings.iter().all(|text| !text.is_empty()));
    if let Some(job) = begin(&blueprint, json!({"kind": "task", "items": [1, "b", null]})) {
        assert_eq!(job.revision, 1);
    }
}

/// An expression compiles or tells why; what compiles is evaluated or tells why, within its fuel and
/// its bound of output. The invariants of the engine are asserted on the way.
///
/// # Panics
/// When one of these does not hold.
pub fn expression(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let blueprint = load("scope.yaml", SCOPE).blueprint;
    let data = json!({"n": 3, "list": [3, 1, 2], "text": "ä b", "none": null, "deep": {"a": [{}]}});
    let job = begin(&blueprint.expect("the file is good"), data).expect("the job is small");
    let event = json!({"price": 1.5});
    let item = json!({"id": 7});
    let scope = Scope {
        job: &job,
        data_stores: &DataStores::from([("prices".to_owned(), Object::new())]),
        event: Some(&event),
        attempt: 2,
        now: NOW,
        locals: &[("item", &item)],
    };
    let mut compiled = Compiled::new("fuzz");
    for source in [text.to_owned(), format!("{{{{ {text} }}}}")] {
        if let Ok(template) = compiled.template("p", &source, &["item"])
            && let Ok(value) = compiled.render(&template, &scope)
        {
            let again = compiled.render(&template, &scope);
            assert_eq!(
                again.as_ref(),
                Ok(&value),
                "it depends on more than its scope"
            );
        }
    }
    if let Ok(condition) = compiled.condition("p", text, &["item"]) {
        let seen = compiled.test(condition, &scope).is_ok();
        assert_eq!(seen, compiled.test(condition, &scope).is_ok());
    }
}

/// A message is decoded or refused; what is decoded and encoded is the same when it comes back.
///
/// # Panics
/// When one of these does not hold.
pub fn wire(bytes: &[u8]) {
    let Ok(message) = parse_json(bytes) else {
        return;
    };
    comes_back(&message, Registration::decode, |it| {
        Value::Object(it.encode())
    });
    comes_back(&message, Heartbeat::decode, |it| Value::Object(it.encode()));
    comes_back(&message, TaskResult::decode, |it| {
        Value::Object(it.encode())
    });
    comes_back(&message, WorkerEventPayload::decode, |it| {
        Value::Object(it.encode())
    });
    comes_back(&message, WorkerCommand::decode, WorkerCommand::encode);
    comes_back(&message, RegisterAnswer::decode, RegisterAnswer::encode);
    comes_back(&message, HeartbeatAnswer::decode, HeartbeatAnswer::encode);
    let answer = |it: &Value| Ok(ResultAnswer::decode(it));
    comes_back(&message, answer, ResultAnswer::encode);
    // Decoded by one side only.
    let _ = TaskPayload::decode(&message);
    let _ = TokenResponse::decode(&message);
}

fn comes_back<T>(
    message: &Value,
    decode: impl Fn(&Value) -> Result<T, WireError>,
    encode: impl Fn(&T) -> Value,
) {
    let Ok(decoded) = decode(message) else { return };
    let sent = to_wire_bytes(&encode(&decoded));
    let text = String::from_utf8_lossy(&sent);
    let received = parse_json(&sent).unwrap_or_else(|error| panic!("{text}: {error}"));
    let again = decode(&received).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(to_wire_bytes(&encode(&again)), sent, "{text}");
}

/// What is read has a canonical form, which reads back as itself; so does what is sent. A signature
/// over it holds, and holds for no other key.
///
/// # Panics
/// When one of these does not hold.
pub fn canonical(bytes: &[u8]) {
    let Ok(value) = parse_json(bytes) else {
        return;
    };
    let form = canonical_form(&value).expect("what was read has a canonical form");
    for text in [form.clone(), to_wire_bytes(&value)] {
        let again = parse_json(&text).expect("what is written can be read");
        assert_eq!(canonical_form(&again).as_ref(), Ok(&form));
    }
    let signature = sign(&value, "key", &["sig"]).expect("it has a canonical form");
    assert!(verify(&value, "key", &["sig"], &signature));
    assert!(!verify(&value, "kez", &["sig"], &signature));
    if let Value::Object(mut message) = value {
        seal(&mut message, "key", "w", &["sig"]).expect("it has a canonical form");
        let message = Value::Object(message);
        assert_eq!(message["security"]["signature"], json!(signature));
    }
}

/// A blueprint with what an expression may look at.
const SCOPE: &str = "blueprint: scope\nstart: nap\nstates:\n  \
    nap: { wait: { for: 5s }, go_to: done }\n  done: { end: finished }\n";

/// Creates a job; none when the blueprint refuses the input.
fn begin(blueprint: &Blueprint, initial_data: Value) -> Option<Job> {
    let limits = Limits::default();
    let world = World {
        blueprint,
        data: &blueprint.data_stores,
        now: NOW,
        seed: [5; 32],
        limits: &limits,
        public_url: "",
        branches: None,
    };
    let submission = Submission {
        id: JobId::from_parts(NOW, [7; 10]),
        client: ClientRef {
            id: "acme".into(),
            plan: "gold".to_owned(),
            params: Object::new(),
        },
        initial_data,
        webhook_url: Some("https://example.org/hook".to_owned()),
        dispatch_timeout_ms: None,
        result_timeout_ms: None,
        policy: None,
        security: None,
        metadata: Some(Object::new()),
        data_metadata: None,
        max_transitions: None,
        labels: BTreeMap::new(),
        tracing_context: BTreeMap::new(),
        depth: 0,
        parent: None,
        idempotency: None,
        quota: None,
    };
    create(&world, submission).ok().map(|advance| advance.job)
}
