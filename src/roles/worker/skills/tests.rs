//! The skills without a worker: what they return for what they are given.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::blueprint::Schema;
use crate::domain::Object;
use crate::roles::worker::skill::{Outcome, Progress, Skill, TaskContext};

/// Remembers the shares.
#[derive(Default)]
struct Shares(Mutex<Vec<f64>>);

#[async_trait]
impl Progress for Shares {
    async fn send(&self, _: &TaskContext, payload: Object) {
        self.0
            .lock()
            .unwrap()
            .push(payload["progress"].as_f64().unwrap());
    }
}

fn context(task_id: &str) -> (TaskContext, Arc<Shares>) {
    let shares = Arc::new(Shares::default());
    let task = TaskContext {
        job_id: "job-1".to_owned(),
        task_id: task_id.to_owned(),
        deadline: None,
        speed: 2.0,
        deterministic: false,
        folder: None,
        trace: [("traceparent".to_owned(), "00-1".to_owned())].into(),
        cancel: CancellationToken::new(),
        progress: Arc::<Shares>::clone(&shares),
    };
    (task, shares)
}

fn object(value: &Value) -> Object {
    value.as_object().unwrap().clone()
}

async fn run(skill: &dyn Skill, task_id: &str, params: Value) -> Outcome {
    skill.run(&context(task_id).0, &object(&params)).await
}

fn code(outcome: &Outcome) -> &str {
    outcome.error.as_ref().map_or("", |error| &error.code)
}

#[tokio::test(start_paused = true)]
async fn transcoding_in_five_steps_at_the_workers_speed() {
    let (task, shares) = context("t");
    let started = tokio::time::Instant::now();
    let params = object(&json!({"input_path": "/s3/bucket/in.mov", "deterministic": true}));
    let outcome = TranscodeVideo::default().run(&task, &params).await;
    assert_eq!(
        started.elapsed(),
        Duration::from_millis(1_500),
        "half of five times 600 ms"
    );
    assert_eq!(*shares.0.lock().unwrap(), [0.2, 0.4, 0.6, 0.8, 1.0]);
    let expected = object(&json!({"output_path": "/transcoded/in.mp4", "duration": 120}));
    assert_eq!(outcome, Outcome::success(expected));
}

#[tokio::test(start_paused = true)]
async fn triggers() {
    let skill = TranscodeVideo::default();
    for (trigger, status, error) in [
        ("transient", "failure", "TRANSIENT_ERROR"),
        ("transient", "failure", "TRANSIENT_ERROR"),
        ("transient", "success", ""),
        ("security", "failure", "SECURITY_ERROR"),
        ("resource", "failure", "RESOURCE_EXHAUSTED_ERROR"),
        ("permanent", "failure", "PERMANENT_ERROR"),
        ("needs_review", "needs_review", ""),
    ] {
        let outcome = run(&skill, "t", json!({"trigger": trigger})).await;
        assert_eq!(
            (outcome.status.as_str(), code(&outcome)),
            (status, error),
            "{trigger}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn chance_is_decided_by_the_task() {
    let transcode = TranscodeVideo::default();
    let flaky = AnalyzeFile { failing_share: 0.5 };
    let (mut failures, mut reviews, mut crashes) = (0, 0, 0);
    for n in 0..400 {
        let id = format!("task-{n}");
        let outcome = run(&transcode, &id, json!({})).await;
        assert_eq!(
            run(&transcode, &id, json!({})).await,
            outcome,
            "a run can be repeated"
        );
        failures += u32::from(outcome.status == "failure");
        reviews += u32::from(outcome.status == "needs_review");
        let outcome = run(&flaky, &id, json!({"file_name": "a.srt"})).await;
        crashes += u32::from(code(&outcome) == "PERMANENT_ERROR");
        let steady = run(&transcode, &id, json!({"deterministic": true})).await;
        assert_eq!(steady.status, "success");
    }
    assert!((20..=60).contains(&failures), "{failures}");
    assert!((20..=60).contains(&reviews), "{reviews}");
    assert!((160..=240).contains(&crashes), "{crashes}");
}

#[tokio::test(start_paused = true)]
async fn analysis() {
    let steady = AnalyzeFile { failing_share: 0.0 };
    let outcome = run(&steady, "t", json!({"file_name": "audio_track.aac"})).await;
    let data = outcome.data.unwrap();
    assert_eq!(data["analysis"]["codec"], "aac");
    assert_eq!(data["analysis"]["location"], "local");
    assert!((100..5_000).contains(&data["analysis"]["size_kb"].as_u64().unwrap()));
    assert_eq!(
        code(&run(&steady, "t", json!({})).await),
        "INVALID_INPUT_ERROR"
    );
}

#[tokio::test]
async fn blobs_are_stored_measured_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let skill = ProcessBlobs {
        folder: folder.path().to_owned(),
    };
    let outcome = run(&skill, "../t", json!({"inputs": {"a": "abc", "b": ""}})).await;
    let data = outcome.data.unwrap();
    assert_eq!(data["count"], 2);
    assert_eq!(
        data["blobs"][0],
        json!({"name": "a", "size": 3,
            "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"})
    );
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing is left"
    );
    for (params, expected) in [
        (json!({}), "INVALID_INPUT_ERROR"),
        (json!({"inputs": {"a": 1}}), "INVALID_INPUT_ERROR"),
        (
            json!({"content": "s3://bucket/key"}),
            "DEPENDENCY_MISSING_ERROR",
        ),
    ] {
        assert_eq!(
            code(&run(&skill, "t", params.clone()).await),
            expected,
            "{params}"
        );
    }
}

#[test]
fn what_the_skills_take() {
    let folder = std::path::PathBuf::new();
    let skills: [&dyn Skill; 3] = [
        &TranscodeVideo::default(),
        &AnalyzeFile { failing_share: 0.0 },
        &ProcessBlobs { folder },
    ];
    let schema = |name: &str| {
        let skill = skills.iter().find(|skill| skill.info().name == name);
        let schema = skill.and_then(|skill| skill.info().input_schema);
        Schema::compile(&Value::Object(schema.unwrap())).unwrap()
    };
    for (name, params, fault) in [
        ("transcode_video", json!({"input_path": "a"}), ""),
        (
            "transcode_video",
            json!({"input_path": "a", "trigger": "", "deterministic": true, "more": 1}),
            "",
        ),
        ("transcode_video", json!({}), "input_path"),
        ("transcode_video", json!({"input_path": ""}), "/input_path"),
        (
            "transcode_video",
            json!({"input_path": "a", "trigger": "fire"}),
            "/trigger",
        ),
        (
            "transcode_video",
            json!({"input_path": "a", "deterministic": "yes"}),
            "/deterministic",
        ),
        ("analyze_file", json!({"file_name": "a"}), ""),
        ("analyze_file", json!({}), "file_name"),
        ("analyze_file", json!({"file_name": 1}), "/file_name"),
        ("process_blobs", json!({"inputs": {"a": "b"}}), ""),
        ("process_blobs", json!({"content": "a"}), ""),
        ("process_blobs", json!({}), "anyOf"),
        ("process_blobs", json!({"inputs": {"a": 1}}), "/inputs/a"),
    ] {
        match schema(name).check(&params) {
            Ok(()) => assert_eq!(fault, "", "{name} {params}"),
            Err(error) => assert!(
                !fault.is_empty() && error.contains(fault),
                "{name}: {error}"
            ),
        }
    }
}

async fn shell(command: &str, params: Value) -> Outcome {
    let skill = CommandSkill {
        name: "c".to_owned(),
        command: command.to_owned(),
        input_schema: None,
    };
    run(&skill, "t-1", params).await
}

#[tokio::test]
async fn commands_read_parameters_and_say_how_they_ended() {
    let outcome = shell("cat", json!({"a": [1, "ü"]})).await;
    assert_eq!(outcome, Outcome::success(object(&json!({"a": [1, "ü"]}))));
    for (command, data) in [
        ("true", json!({})),
        ("echo 5", json!({"result": 5})),
        (
            "printf '{\"id\":\"%s\"}' $AVTOMATIKA_TASK_ID",
            json!({"id": "t-1"}),
        ),
        // Something left behind must not keep the result waiting.
        ("sleep 1000 & echo '{}'", json!({})),
    ] {
        assert_eq!(
            shell(command, json!({})).await,
            Outcome::success(object(&data)),
            "{command}"
        );
    }
    for (command, expected, stderr) in [
        ("echo oops >&2; exit 75", "TRANSIENT_ERROR", "oops"),
        ("echo bad >&2; exit 3", "PERMANENT_ERROR", "bad"),
        ("kill -9 $$", "TRANSIENT_ERROR", ""),
        ("echo no json", "CONTRACT_VIOLATION_ERROR", ""),
        ("yes | head -c 2000000", "LIMIT_EXCEEDED_ERROR", ""),
        ("/nonexistent/program 2>/dev/null", "PERMANENT_ERROR", ""),
    ] {
        let outcome = shell(command, json!({})).await;
        assert_eq!(code(&outcome), expected, "{command}: {outcome:?}");
        let details = outcome
            .error
            .and_then(|error| error.details)
            .unwrap_or_default();
        let seen = details
            .get("stderr")
            .and_then(Value::as_str)
            .unwrap_or_default();
        assert_eq!(seen, stderr, "{command}");
    }
    let outcome = shell("yes x | head -c 10000 >&2; echo end >&2; exit 1", json!({})).await;
    let kept = outcome.error.unwrap().details.unwrap()["stderr"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        kept.len() <= 4_096 && kept.ends_with("end"),
        "{}",
        kept.len()
    );
}

#[tokio::test]
async fn a_dropped_run_takes_its_processes_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("alive");
    let made = std::process::Command::new("mkfifo")
        .arg(&pipe)
        .status()
        .unwrap();
    assert!(made.success());
    // The grandchild holds the pipe open for writing; the reader sees its end as end of file.
    let command = format!("(echo up; exec sleep 1000) > {} & wait", pipe.display());
    let skill = CommandSkill {
        name: "c".to_owned(),
        command,
        input_schema: None,
    };
    let (task, _) = context("t");
    let params = Object::new();
    let mut run = Box::pin(skill.run(&task, &params));
    let mut alive = {
        let open = tokio::fs::File::open(&pipe);
        tokio::select! {
            file = open => file.unwrap(),
            outcome = &mut run => panic!("ended early: {outcome:?}"),
        }
    };
    drop(run);
    let mut text = String::new();
    let end = tokio::io::AsyncReadExt::read_to_string(&mut alive, &mut text);
    tokio::time::timeout(Duration::from_secs(10), end)
        .await
        .expect("killed")
        .unwrap();
}

#[test]
fn a_command_line_is_nobodys_business() {
    let skill = CommandSkill {
        name: "resize".to_owned(),
        command: "resize --key hunter2".to_owned(),
        input_schema: None,
    };
    let shown = serde_json::to_string(&skill.info()).expect("JSON");
    assert!(!shown.contains("hunter2"), "{shown}");
}
