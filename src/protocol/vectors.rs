//! The byte vectors of the wire, recorded from the original. Source: wire-protocol §6.4–6.5, §11.

mod dormant;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::sign::{EVENT_IGNORED, TASK_IGNORED, dict_hash, s3_config_hash, skills_hash};
use super::wire::{Heartbeat, Registration, TaskPayload, TaskResult, WorkerEventPayload};
use super::*;
use crate::base::{ClientId, JobId, Secret, TaskId, Timestamp, WorkerId, crypto};
use crate::domain::task::{Lease, RetryPolicy, Strategy, Task, TaskSpec, TaskStatus, status};
use crate::domain::worker::Requirements;

const TASK_KEY: &str = "orch-secret-0123456789abcdef";
const WORKER_KEY: &str = "worker-token-abc";

#[test]
fn canonical_form_and_signature() {
    let quoted = "{\"s\":\"\u{e9}\u{2028}\u{7f}/\\\"\\\\\\b\\f\\n\\r\\t\\u0001\u{1f600}\"}";
    let keys = "{\"\":6,\"Z\":3,\"a\":5,\"a.b\":4,\"z\":2,\"é\":1,\"\u{ffff}\":7,\"\u{10000}\":8}";
    for (text, canonical, signature) in [
        (
            r#"{"b":1,"a":2}"#,
            r#"{"a":2,"b":1}"#,
            "99eae53e0066cee37a164cd6170948f570eaf57d284db0c9c49ef6c300209f04",
        ),
        (
            r#"{"z":null,"a":{"y":null,"x":[null,{"q":null}]}}"#,
            r#"{"a":{"x":[null,{}]}}"#,
            "2cd86327f225a374f3627dca834f29ab299b9c66d6ffb72ef0e1a078c0031611",
        ),
        (
            r#"{"f":1.0,"g":-0.0,"h":2.50,"i":1e3,"j":1E-7,"k":0.000001,"l":0.00001,"m":123456789012345678}"#,
            r#"{"f":1,"g":0,"h":2.5,"i":1000,"j":1e-7,"k":1e-6,"l":0.00001,"m":123456789012345678}"#,
            "6de2bf6ba369fa640fa91d92f5be2b88a89d520cd876ce0599b1ab082afb9540",
        ),
        (
            r#"{"s":"\u00e9\u2028\u007f/\"\\\b\f\n\r\t\u0001\ud83d\ude00"}"#,
            quoted,
            "675ed380fbbb2d0952f1affc697dd8f3b70cf0f51a668f76edd8035592b02449",
        ),
        (
            r#"{"é":1,"z":2,"Z":3,"a.b":4,"a":5,"":6,"\uffff":7,"\ud800\udc00":8}"#,
            keys,
            "6d1556d879e6df7f4997c0890bd4c1a9210794b10efaa828e045f8fa280add89",
        ),
        (
            r#"{"security":{"signature":"x"},"_signature":"y","sig":"keep","inner":{"security":1,"_signature":2}}"#,
            r#"{"inner":{"_signature":2,"security":1},"sig":"keep"}"#,
            "4c2c9eea33a5396c38c83b1542d6dab68ec736efa8473bd26106262b23cfd9bc",
        ),
        (
            r#"{"e":{},"l":[],"t":true,"f":false,"d":0.1,"n":18446744073709551615,"m":-9223372036854775808}"#,
            r#"{"d":0.1,"e":{},"f":false,"l":[],"m":-9223372036854775808,"n":18446744073709551615,"t":true}"#,
            "229dd7dae1a21f45290a2061bb3c059055dadba5802db64ff0e178c8938733ba",
        ),
        (
            r#"{"dup":1,"dup":2}"#,
            r#"{"dup":2}"#,
            "b2a39a95a0c0b4e0428fe865c3b329284444c3c4229bf3cbb23507216fe69d7b",
        ),
    ] {
        let message = parse_json(text.as_bytes()).unwrap();
        let bytes = canonical_bytes(&message, &[]).unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), canonical, "{text}");
        assert_eq!(sign(&message, "k", &[]).unwrap(), signature, "{text}");
        assert!(verify(&message, "k", &[], signature), "{text}");
        assert!(!verify(&message, "kk", &[], signature), "{text}");
    }
    // The spec's own hex, so that this file's escapes are not their only witness.
    assert_eq!(
        crypto::hex(quoted.as_bytes()),
        "7b2273223a22c3a9e280a87f2f5c225c5c5c625c665c6e5c725c745c7530303031f09f9880227d"
    );
}

const T1: &str = r#"{"job_id":"3f1d6c52-7e0b-4d38-9a55-0d2f4a7a9c11","params":{"list":[1,null,2.5],"nested":{"a":[],"b":true},"ratio":0.25,"text":"naïve → 日本","x":1},"priority":0,"step":1,"task_id":"task-8c1b6f0e-3a55-4a0d-b0c9-5d2a9f5e7b21","timestamp":1767225600,"tracing_context":{},"type":"echo"}"#;
const T1_SIG: &str = "2a93fbacc7ad86b0422e5cf5f029a58e3d36d228b036d5835044c62ddc29f626";
const T2: &str = r#"{"deadline":1767229200,"depth":1,"job_id":"job-2","metadata":{"tenant":"t1"},"params":{"file":"s3://bucket/in.png"},"params_metadata":{"file":{"etag":"abc","size":1024,"uri":"s3://bucket/in.png"}},"parent_hash":"aa11","policy":{"allowed_skills":["resize"]},"priority":2.5,"step":3,"task_id":"task-2","timestamp":1767225601,"tracing_context":{"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},"type":"resize"}"#;
const T2_SIG: &str = "e4290979d04dea4dfa953dbf6087b06bcaceefc50a9cbbfff92a81741daf22bf";

#[test]
fn tasks() {
    for (text, length, sig) in [(T1, 287, T1_SIG), (T2, 431, T2_SIG)] {
        assert_eq!(text.len(), length);
        let mut message = parse_json(text.as_bytes()).unwrap();
        assert_eq!(sign(&message, TASK_KEY, &TASK_IGNORED).unwrap(), sig);
        message["sig"] = json!(sig);
        message["skill_version"] = json!("1");
        message["security"] = json!({"signature": "another's"});
        message["orchestrator_signature"] = json!("x");
        assert!(verify_task(&message, &Secret::from(TASK_KEY)));
        assert!(!verify_task(&message, &Secret::from("another key")));
        let payload = TaskPayload::decode(&message).unwrap();
        assert_eq!(payload.sig.as_deref(), Some(sig));
        message["params"]["added"] = json!(1);
        assert!(!verify_task(&message, &Secret::from(TASK_KEY)));
    }
}

/// Builds the task behind vector T1.
fn t1() -> Task {
    let params = json!({"x": 1.0, "gone": null, "list": [1, null, 2.5], "ratio": 0.25,
        "nested": {"b": true, "a": []}, "text": "naïve → 日本"});
    let spec = TaskSpec {
        skill: "echo".to_owned(),
        params: params.as_object().unwrap().clone(),
        strategy: Strategy::Default,
        priority: 0.0,
        max_cost: None,
        requires: Requirements::default(),
        custom_statuses: Vec::new(),
        execution_timeout_ms: 1,
        retry: RetryPolicy::default(),
        max_deliveries: 1,
        policy: None,
        security: None,
        metadata: None,
        params_metadata: None,
        tracing_context: BTreeMap::new(),
        step: 1,
        depth: 0,
    };
    Task {
        id: TaskId::new("task-8c1b6f0e-3a55-4a0d-b0c9-5d2a9f5e7b21"),
        job_id: "3f1d6c52-7e0b-4d38-9a55-0d2f4a7a9c11"
            .parse::<JobId>()
            .unwrap(),
        visit: 1,
        branch: None,
        ordinal: 1,
        failures: 0,
        losses: 0,
        client: ClientId::new("c"),
        blueprint: "b".to_owned(),
        spec: Arc::new(spec),
        status: TaskStatus::Leased,
        queued_at: Timestamp(0),
        available_at: Timestamp(0),
        dispatch_deadline: None,
        result_deadline: None,
        lease: None,
        report: None,
        answer: None,
    }
}

#[test]
fn task_messages_are_signed_as_the_original_signs() {
    let now = Timestamp(1_767_225_600_999);
    let secret = Secret::from(TASK_KEY);
    let mut task = t1();
    let message = task_message(&task, &task.spec.tracing_context, &secret, now).unwrap();
    assert_eq!(message["sig"], T1_SIG);
    let wire = String::from_utf8(to_wire_bytes(&message)).unwrap();
    assert_eq!(
        wire,
        T1.replace("\"step\":1", &format!("\"sig\":\"{T1_SIG}\",\"step\":1"))
    );

    let spec = Arc::make_mut(&mut task.spec);
    spec.step = 0;
    spec.requires.skill_version = Some("2".to_owned());
    spec.security = Some(json!({"signer_id": "w"}));
    spec.metadata = Some(crate::domain::Object::new());
    let file = json!({"f": {"uri": "s3://b/k", "size": 0, "etag": null, "extra": 1}});
    spec.params_metadata = file.as_object().cloned();
    task.lease = Some(Lease {
        id: uuid::Uuid::nil(),
        worker: WorkerId::new("w"),
        since: now,
        until: now,
        deadline: Timestamp(1_767_229_200_500),
    });
    let message = task_message(&task, &task.spec.tracing_context, &secret, now).unwrap();
    assert!(verify_task(&message, &secret));
    assert_eq!(message["deadline"], 1_767_229_200);
    assert_eq!(
        message["params_metadata"],
        json!({"f": {"uri": "s3://b/k"}})
    );
    assert_eq!(message["skill_version"], "2");
    for absent in ["step", "depth", "metadata", "policy", "skill_type"] {
        assert!(message.get(absent).is_none(), "{absent}");
    }
    // What goes out survives the worker's parser with its signature intact.
    let received = parse_json(&to_wire_bytes(&message)).unwrap();
    assert!(verify_task(&received, &secret));

    Arc::make_mut(&mut task.spec)
        .params
        .insert("n".to_owned(), json!(1e300));
    assert!(matches!(
        task_message(&task, &task.spec.tracing_context, &secret, now),
        Err(WireError::NumberOutOfRange(_))
    ));
}

const R1: &str = r#"{"available_skills":["echo"],"capabilities":{"cost_per_skill":{"echo":0.5},"extra":{"websockets":false},"hostname":"host1","ip_address":"10.0.0.5"},"installed_artifacts":[],"installed_software":{"python":"3.11"},"resources":{"properties":{"cpu_cores":4,"ram_gb":0}},"skills_hash":"deadbeef","supported_skills":[{"description":"Echo skill.","input_schema":{"type":"object"},"name":"echo","type":"echo"}],"timestamp":1767225600,"worker_id":"worker-01","worker_type":"gpu"}"#;
const H1: &str = r#"{"available_skills":["echo"],"current_tasks":[],"skills_hash":"deadbeef","status":"idle","timestamp":1767225615,"usage":{"cpu_load_percent":12.5,"ram_used_gb":2},"worker_id":"worker-01"}"#;
const X1: &str = r#"{"costs":{"execution_time_seconds":0.0123},"data":{"out":"s3://b/o","score":1},"job_id":"job-2","origin_worker_id":"worker-01","task_id":"task-2","timestamp":1767225620,"worker_id":"worker-01"}"#;
const X2: &str = r#"{"error":{"code":"TRANSIENT_ERROR","message":"boom"},"job_id":"job-2","origin_worker_id":"worker-01","status":"failure","task_id":"task-2","timestamp":1767225620,"worker_id":"worker-01"}"#;
const EV1: &str = r#"{"event_id":"0b6f3f7e-6f86-4f0e-8c39-0a8f0f4f2a10","event_type":"progress","origin_task_id":"task-2","origin_worker_id":"worker-01","payload":{"message":"half","progress":0.5},"priority":0,"target_job_id":"job-2","target_task_id":"task-2","timestamp":1767225618,"trace_context":{},"worker_id":"worker-01"}"#;

/// Decodes, encodes again, signs as the worker does; checks bytes and signature.
fn check_worker_message(
    text: &str,
    signature: &str,
    through: impl Fn(&Value) -> Result<crate::domain::Object, WireError>,
) {
    let mut message = through(&parse_json(text.as_bytes()).unwrap()).unwrap();
    assert_eq!(
        String::from_utf8(to_wire_bytes(&Value::Object(message.clone()))).unwrap(),
        text
    );
    seal(&mut message, WORKER_KEY, "worker-01", &EVENT_IGNORED).unwrap();
    let sealed = Value::Object(message);
    assert_eq!(
        sealed["security"],
        json!({"signature": signature, "signer_id": "worker-01"})
    );
    assert!(verify(&sealed, WORKER_KEY, &EVENT_IGNORED, signature));
    let mut tampered = sealed.clone();
    tampered["unknown_member"] = json!(1);
    assert!(!verify(&tampered, WORKER_KEY, &EVENT_IGNORED, signature));
}

#[test]
fn worker_messages() {
    check_worker_message(
        R1,
        "8163e23d49d1060f253c2ed7a945ae2590284bcff6d87605ea03fbd21987aa8d",
        |m| Ok(Registration::decode(m)?.encode()),
    );
    check_worker_message(
        H1,
        "a6fab6a578f03d1315bb57f3ddec661a3cd4e3d7e38a197588300332b50c2d77",
        |m| Ok(Heartbeat::decode(m)?.encode()),
    );
    check_worker_message(
        X1,
        "ee4e8c7a637c80cc07bdec518d9da1baf74076ff2d7c423ddf9f4dcd4e8e43ac",
        |m| Ok(TaskResult::decode(m)?.encode()),
    );
    check_worker_message(
        X2,
        "4dc6c79bcb0aa709cc8dbb21572d8c0b0ad650ee6f52c6103c19fb3ee75bdf10",
        |m| Ok(TaskResult::decode(m)?.encode()),
    );
    check_worker_message(
        EV1,
        "f6b6a3238e161f0f0ed570c9404be22bf1240501f9fa25122b2a1d80e3f2186a",
        |m| Ok(WorkerEventPayload::decode(m)?.encode()),
    );
}

#[test]
fn the_chain_of_an_event_is_not_signed() {
    let mut event = parse_json(EV1.as_bytes()).unwrap();
    event["bubbling_chain"] = json!(["shell-02"]);
    let signature = "f6b6a3238e161f0f0ed570c9404be22bf1240501f9fa25122b2a1d80e3f2186a";
    assert!(verify(&event, WORKER_KEY, &EVENT_IGNORED, signature));
}

#[test]
fn job_state() {
    let state = json!({"id": "job-1", "status": "running", "state_history": {"a": 1},
        "_signature": "x", "error": null});
    assert_eq!(
        sign(&state, TASK_KEY, &["_signature"]).unwrap(),
        "d169a7245f7bbcc608f30c28fb9c7f62ea5c5c8ca52a1bd0e4de4f6c77214c4f"
    );
}

#[test]
fn hashes() {
    let skills = |value: Value| serde_json::from_value::<Vec<_>>(value).unwrap();
    let object = |value: Value| value.as_object().unwrap().clone();
    assert_eq!(
        skills_hash(
            &skills(json!([{"name": "echo", "type": "echo"}])),
            &BTreeMap::new(),
            &object(json!({}))
        )
        .unwrap(),
        "2e22fbe97b6f9d8c4c0a20aa6cdfa9f1e5eecd128df9cfef112bd1bdc7b8d849"
    );
    let two = json!([
        {"description": "Echo skill.", "input_schema": {"type": "object"}, "name": "echo", "type": "echo"},
        {"input_schema": {"properties": {"n": {"type": "integer"}}, "required": ["n"], "type": "object"},
         "name": "typed", "output_statuses": ["success", "failure", "review"], "type": "lim"}
    ]);
    let costs = BTreeMap::from([("echo".to_owned(), 0.5), ("typed".to_owned(), 2.0)]);
    assert_eq!(
        skills_hash(&skills(two), &costs, &object(json!({"zone": "eu"}))).unwrap(),
        "0c658a09b639c8dd48bc52db0d1c3778c92949d88f99c0491fac7d164ed2129e"
    );
    assert_eq!(
        dict_hash(&json!({"b": 1.0, "a": null, "c": [null]})).unwrap(),
        "9d3a91e76bdd77e2b1e039c32b27ceef4eb5e0960a2ff73d51bedd8d1f51ba17"
    );
    assert_eq!(
        s3_config_hash("http://minio:9000", "minioadmin", "avtomatika-payloads").as_deref(),
        Some("8695d71d79a2c3c3")
    );
    assert_eq!(s3_config_hash("http://minio:9000", "", "b"), None);
    // The chain's signature (§12) is over the same form of a plain list.
    let chain = canonical_form(&json!(["worker-01", "shell-02"])).unwrap();
    assert_eq!(
        crypto::hex(&crypto::hmac_sha256(WORKER_KEY.as_bytes(), &chain)),
        "fd3b6d68dc6cfb9b02c2982d23817353146ed22c9ca2dedbd04ac4636ad7089c"
    );
}

#[test]
fn absent_status_is_success() {
    let result = TaskResult::decode(&parse_json(X1.as_bytes()).unwrap()).unwrap();
    assert_eq!(result.status, status::SUCCESS);
    assert_eq!(result.job(), None);
    assert_eq!(result.into_report().status, status::SUCCESS);
}
