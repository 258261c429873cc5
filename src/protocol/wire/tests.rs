//! Strictness on reading and sparseness on writing, as tables.

use serde_json::{Value, json};

use super::*;
use crate::base::{Secret, TaskId};
use crate::domain::task::Answer;
use crate::domain::worker::WorkerStatus;
use crate::protocol::{WireError, to_wire_bytes};

fn check<T: std::fmt::Debug>(
    decode: fn(&Value) -> Result<T, WireError>,
    message: &Value,
    error: &str,
) {
    match decode(message) {
        Ok(_) if error.is_empty() => {}
        Ok(decoded) => panic!("{message} was taken as {decoded:?}"),
        Err(seen) => assert_eq!(seen.to_string(), error, "{message}"),
    }
}

#[test]
fn registrations() {
    for (message, error) in [
        (json!({"worker_id": "w", "unknown": [1]}), ""),
        (json!({"worker_id": "w", "worker_type": null}), ""),
        (json!([]), "`.`: expected an object, got an array"),
        (json!({}), "`worker_id`: expected a string, got nothing"),
        (
            json!({"worker_id": 5}),
            "`worker_id`: expected a string, got an integer",
        ),
        (
            json!({"worker_id": "w\n"}),
            "`worker_id`: expected 1 to 128 of A-Z a-z 0-9 _ -, got a string",
        ),
        (
            json!({"worker_id": "w", "timestamp": 1.0}),
            "`timestamp`: expected an integer, got a float",
        ),
        (
            json!({"worker_id": "w", "supported_skills": [{"name": "a"}, {"name": "b", "type": 1}]}),
            "`supported_skills[1].type`: expected a string, got an integer",
        ),
        (
            json!({"worker_id": "w", "resources": {"devices": [{"model": "x"}]}}),
            "`resources.devices[0].type`: expected a string, got nothing",
        ),
        (
            json!({"worker_id": "w", "installed_software": {"ffmpeg": 5}}),
            "`installed_software`: expected an object of strings, got an object",
        ),
        (
            json!({"worker_id": "w", "capabilities": {"cost_per_skill": {"a": "1"}}}),
            "`capabilities.cost_per_skill`: expected an object of numbers, got an object",
        ),
        (
            json!({"worker_id": "w", "capabilities": {"cost_per_skill": {"a": 1}}}),
            "",
        ),
        (
            json!({"worker_id": "w", "hot_skills": ["a", null]}),
            "`hot_skills`: expected an array of strings, got an array",
        ),
    ] {
        check(Registration::decode, &message, error);
    }
    let worker = Registration::decode(&json!({"worker_id": "w"}))
        .unwrap()
        .into_worker();
    assert_eq!(
        (worker.worker_type.as_str(), worker.status),
        ("generic", WorkerStatus::Idle)
    );
}

#[test]
fn heartbeats() {
    for (message, error) in [
        (
            json!({"worker_id": "w", "status": "idle", "reputation": "stolen"}),
            "",
        ),
        (
            json!({"worker_id": "w"}),
            "`status`: expected a string, got nothing",
        ),
        (
            json!({"worker_id": "w", "status": "idle", "usage": {"devices_usage": [{"unit_id": "0"}]}}),
            "`usage.devices_usage[0].load_percent`: expected a number, got nothing",
        ),
        (
            json!({"worker_id": "w", "status": "idle", "current_tasks": "t"}),
            "`current_tasks`: expected an array of strings, got a string",
        ),
    ] {
        check(Heartbeat::decode, &message, error);
    }
}

#[test]
fn tasks() {
    for (message, error) in [
        (
            json!({"job_id": "j", "task_id": "t", "type": "s", "deadline": 12.7}),
            "",
        ),
        (
            json!({"job_id": "j", "task_id": "t", "type": "s", "step": 1.0}),
            "`step`: expected an integer, got a float",
        ),
        (
            json!({"job_id": "j", "task_id": "t", "type": "s", "params": []}),
            "`params`: expected an object, got an array",
        ),
        (
            json!({"job_id": "j", "task_id": "t", "type": "s", "params_metadata": {"f": {"size": 1}}}),
            "`params_metadata.f.uri`: expected a string, got nothing",
        ),
        (
            json!({"job_id": "j", "task_id": "t", "type": "s", "tracing_context": {"a": 1}}),
            "`tracing_context`: expected an object of strings, got an object",
        ),
    ] {
        check(TaskPayload::decode, &message, error);
    }
    let task = json!({"job_id": "j", "task_id": "t", "type": "s", "deadline": 12.7,
        "policy": {"allowed_skills": ["a", 1]}});
    let task = TaskPayload::decode(&task).unwrap();
    assert_eq!(
        (task.deadline, task.allowed_skills()),
        (Some(12), Some(vec!["a"]))
    );
}

#[test]
fn results_and_events() {
    for (message, error) in [
        (json!({"job_id": "j", "task_id": "t"}), ""),
        (
            json!({"job_id": "j", "task_id": "t", "data": [1]}),
            "`data`: expected an object, got an array",
        ),
        (
            json!({"job_id": "j", "task_id": "t", "error": {"code": "X"}}),
            "`error.message`: expected a string, got nothing",
        ),
    ] {
        check(TaskResult::decode, &message, error);
    }
    let event = json!({"event_id": "e", "worker_id": "w", "origin_worker_id": "w",
        "event_type": "progress", "payload": {"progress": 7, "message": "m"}});
    let event = WorkerEventPayload::decode(&event).unwrap();
    assert_eq!(event.progress(), Some((1.0, Some("m"))));
    check(
        WorkerEventPayload::decode,
        &json!({"event_id": "e", "worker_id": "w", "origin_worker_id": "w", "event_type": "x"}),
        "`payload`: expected an object, got nothing",
    );
}

fn text(value: &Value) -> String {
    String::from_utf8(to_wire_bytes(value)).unwrap()
}

#[test]
fn answers() {
    let tokens = TokenResponse {
        access_token: Secret::from("a"),
        expires_in: 3600,
        worker_id: "w".into(),
        refresh_token: Some(Secret::from("r")),
    };
    assert_eq!(
        text(&tokens.encode()),
        r#"{"access_token":"a","expires_in":3600,"refresh_token":"r","worker_id":"w"}"#
    );
    assert_eq!(TokenResponse::decode(&tokens.encode()), Ok(tokens.clone()));
    assert!(!format!("{tokens:?}").contains("\"a\""));

    let plain = RegisterAnswer::to(Some("1.0b17"), None);
    assert_eq!(
        text(&plain.encode()),
        r#"{"status":"registered","version":"1.0b17"}"#
    );
    assert!(RegisterAnswer::to(Some("0.9"), None).warning.is_some());
    assert_eq!(RegisterAnswer::to(None, None).warning, None);
    let with_tokens = RegisterAnswer {
        tokens: Some(tokens),
        deployment: Some("d".to_owned()),
        ..plain
    };
    assert_eq!(
        RegisterAnswer::decode(&with_tokens.encode()),
        Ok(with_tokens)
    );

    assert_eq!(
        text(&HeartbeatAnswer::default().encode()),
        r#"{"status":"ok"}"#
    );
    let beat = HeartbeatAnswer {
        require_full_sync: true,
        cancel_task_ids: vec![TaskId::new("t")],
        ..HeartbeatAnswer::default()
    };
    assert_eq!(
        text(&beat.encode()),
        r#"{"cancel_task_ids":["t"],"require_full_sync":true,"status":"ok"}"#
    );
    assert_eq!(HeartbeatAnswer::decode(&beat.encode()), Ok(beat));
    assert_eq!(
        HeartbeatAnswer::decode(&Value::Null),
        Ok(HeartbeatAnswer::default())
    );
}

#[test]
fn result_answers_commands_and_event_answers() {
    let accepted = ResultAnswer::accepted(Answer::ParallelBranchAccepted);
    assert_eq!(
        text(&accepted.encode()),
        r#"{"status":"accepted","transition":"parallel_branch_accepted"}"#
    );
    assert_eq!(ResultAnswer::decode(&accepted.encode()), accepted);
    let ignored = ResultAnswer::ignored("stale_task", "late");
    assert_eq!(
        text(&ignored.encode()),
        r#"{"message":"late","reason":"stale_task","status":"ignored"}"#
    );
    assert_eq!(ResultAnswer::decode(&ignored.encode()), ignored);
    assert_eq!(
        ResultAnswer::decode(&json!({"anything": 1})),
        ResultAnswer::Accepted { transition: None }
    );

    let cancel = WorkerCommand::cancel(TaskId::new("t"), Some("j".to_owned()));
    assert_eq!(
        text(&cancel.encode()),
        r#"{"command":"cancel_task","job_id":"j","task_id":"t"}"#
    );
    assert_eq!(WorkerCommand::decode(&cancel.encode()), Ok(cancel));

    let refused = EventAnswer::Refused {
        code: Some("CONTRACT_VIOLATION_ERROR"),
        message: "m".to_owned(),
    };
    assert_eq!(
        text(&refused.encode()),
        r#"{"code":"CONTRACT_VIOLATION_ERROR","message":"m","status":"error"}"#
    );
    assert_eq!(
        text(&EventAnswer::Accepted.encode()),
        r#"{"status":"event_accepted"}"#
    );
}
