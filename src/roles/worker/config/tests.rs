//! Flags and environment, as tables.

use serde_json::json;

use super::*;
use crate::store::S3Addressing;

fn vars(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn gpu() -> WorkerArgs {
    WorkerArgs {
        profile: Some(Profile::Gpu),
        ..WorkerArgs::default()
    }
}

#[test]
fn defaults() {
    let config = read::read(&gpu(), &vars(&[])).unwrap();
    assert!(config.id.as_str().starts_with("worker-"));
    assert!(config.token.is_empty());
    assert_eq!(config.endpoints[0].url, "http://localhost:8080");
    assert_eq!(config.timing, Timing::default());
    assert_eq!(
        config.skills.names(),
        ["transcode_video", "analyze_file", "process_blobs"]
    );
    assert_eq!(
        json!(config.cost_per_skill),
        json!({"analyze_file": 0.0001, "transcode_video": 0.0005})
    );
    assert!(config.addresses.is_empty());
}

#[test]
fn the_environment_of_the_original() {
    let config = read::read(
        &WorkerArgs::default(),
        &vars(&[
            ("WORKER_PROFILE", "CPU"),
            ("WORKER_ID", "w-1"),
            ("WORKER_TOKEN", "shared"),
            ("WORKER_INDIVIDUAL_TOKEN", "own"),
            ("ORCHESTRATOR_URL", "ws://o:1/prefix/"),
            ("SECRET_KEY", "old"),
            ("REQUIRE_TASK_SIGNATURE", "false"),
            ("HEARTBEAT_INTERVAL", "2.5"),
            ("RESULT_MAX_RETRIES", "7"),
            ("COST_PER_SKILL", r#"{"analyze_file":1}"#),
            ("GPU_MODEL", "A100"),
            ("GPU_VRAM_GB", "80"),
            ("CPU_CORES", "2"),
            ("WORKER_EXTRA_ZONE", "eu"),
            ("WORKER_EXTRA_LABELS", r#"["a"]"#),
            ("WORKER_PORT", "8083"),
            ("WORKER_ENABLE_WEBSOCKETS", "False"),
            ("S3_ENDPOINT_URL", "http://minio:9000"),
            ("S3_ACCESS_KEY", "minioadmin"),
            ("S3_SECRET_KEY", "minioadmin"),
        ]),
    )
    .unwrap();
    assert_eq!((config.id.as_str(), config.token.expose()), ("w-1", "own"));
    assert_eq!(config.endpoints[0].url, "http://o:1/prefix");
    assert_eq!(config.task_secret, Some(Secret::from("old")));
    assert!(!config.require_task_signature && !config.websockets);
    assert_eq!(config.timing.heartbeat, Duration::from_millis(2_500));
    assert_eq!(config.timing.result_attempts, 7);
    assert_eq!(
        config.cost_per_skill,
        BTreeMap::from([("analyze_file".to_owned(), 1.0)])
    );
    assert_eq!(config.addresses, [("--port", ":8083".to_owned())]);
    assert_eq!(json!(config.extra), json!({"zone": "eu", "labels": ["a"]}));
    assert_eq!(config.s3_config_hash.as_deref(), Some("8695d71d79a2c3c3"));
    let s3 = config.s3.unwrap();
    assert_eq!(
        (s3.bucket.as_str(), s3.addressing),
        ("avtomatika-payloads", S3Addressing::Path)
    );
    assert_eq!(s3.secret_key.expose(), "minioadmin");
    assert_eq!(
        serde_json::to_value(&config.resources).unwrap(),
        json!({
            "devices": [{"type": "gpu", "model": "A100", "id": "0", "properties": {"memory_gb": 80.0}}],
            "properties": {"cpu_cores": 2.0, "ram_gb": 16.0}
        })
    );
}

#[test]
fn orchestrators_come_in_order_of_priority() {
    let text = r#"[{"url":"http://b","priority":20,"token":"t"},{"url":"http://c/","weight":3},{"url":"http://a"}]"#;
    let config = read::read(
        &gpu(),
        &vars(&[
            ("ORCHESTRATORS_CONFIG", text),
            ("MULTI_ORCHESTRATOR_MODE", "ROUND_ROBIN"),
        ]),
    )
    .unwrap();
    let seen: Vec<_> = config
        .endpoints
        .iter()
        .map(|e| (e.url.as_str(), e.weight))
        .collect();
    assert_eq!(seen, [("http://a", 1), ("http://c", 3), ("http://b", 1)]);
    assert_eq!(config.endpoints[2].token, Some(Secret::from("t")));
    assert_eq!(config.poll_mode, PollMode::RoundRobin);
    let args = WorkerArgs {
        orchestrators: vec!["http://z".to_owned(), "http://y".to_owned()],
        ..gpu()
    };
    let config = read::read(&args, &vars(&[("ORCHESTRATORS_CONFIG", text)])).unwrap();
    assert_eq!(
        config.endpoints[0].url, "http://z",
        "flags go first, in their order"
    );
}

#[test]
fn all_problems_at_once() {
    let args = WorkerArgs {
        skills: vec!["nameless".to_owned()],
        id: Some("a b".to_owned()),
        orchestrators: vec!["mock://x".to_owned()],
        max_tasks: Some(0),
        speed: Some(0.0),
        ..WorkerArgs::default()
    };
    let error = read::read(
        &args,
        &vars(&[
            ("HEARTBEAT_INTERVAL", "soon"),
            ("TASK_POLL_TIMEOUT", "-1"),
            ("COST_PER_SKILL", "{"),
            ("MULTI_ORCHESTRATOR_MODE", "RANDOM"),
        ]),
    )
    .err()
    .expect("nothing of it is usable")
    .to_string();
    for part in [
        "--skill `nameless`",
        "no skill",
        "worker id `a b`",
        "orchestrator `mock://x`",
        "MAX_CONCURRENT_TASKS",
        "--speed",
        "HEARTBEAT_INTERVAL: expected a number",
        "TASK_POLL_TIMEOUT: expected seconds",
        "COST_PER_SKILL",
        "MULTI_ORCHESTRATOR_MODE",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn executables_of_a_folder_are_skills() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    for (name, mode) in [
        ("resize.sh", 0o755),
        ("notes.txt", 0o644),
        ("bad name", 0o755),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let dir = folder.path().display().to_string();
    let config = read::read(
        &WorkerArgs::default(),
        &vars(&[("WORKER_SKILLS_DIR", &dir)]),
    )
    .unwrap();
    assert_eq!(config.skills.names(), ["resize"]);
}

#[test]
fn command_skills_get_schemas_from_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| -> String {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let good = file("good", r#"{"type": "object", "required": ["size"]}"#);
    let read = |schemas: &[String]| {
        let args = WorkerArgs {
            skills: vec!["resize=./resize".to_owned()],
            skill_schemas: schemas.to_vec(),
            ..WorkerArgs::default()
        };
        read::read(&args, &vars(&[]))
    };
    let config = read(&[format!("resize={good}")]).unwrap();
    let info = &config.skills.infos()[0];
    assert_eq!(
        info.input_schema.as_ref().unwrap()["required"],
        json!(["size"])
    );
    let no_json = file("no_json", "{");
    let no_schema = file("no_schema", r#"{"type": "objct"}"#);
    let list = file("list", "[]");
    let error = read(&[
        "nothing".to_owned(),
        format!("other={good}"),
        format!("resize={no_json}"),
        format!("resize={no_schema}"),
        format!("resize={list}"),
        "resize=/nonexistent".to_owned(),
    ])
    .err()
    .expect("nothing of it is usable")
    .to_string();
    for part in [
        "--skill-schema `nothing`: expected NAME=FILE".to_owned(),
        "--skill-schema other: there is no command skill".to_owned(),
        format!("resize={no_json}: EOF"),
        format!("resize={no_schema}: not a JSON Schema: /type"),
        format!("resize={list}: expected a JSON object"),
        "resize=/nonexistent: No such file".to_owned(),
    ] {
        assert!(error.contains(&part), "{part}: {error}");
    }
}

#[test]
fn secrets_may_lie_in_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "from a file\n").unwrap();
    let path = path.to_str().unwrap();
    let good = [
        ("WORKER_TOKEN_FILE", path),
        ("ORCHESTRATOR_SECRET_KEY_FILE", path),
    ];
    let config = read::read(&gpu(), &vars(&good)).unwrap();
    assert_eq!(config.token.expose(), "from a file");
    assert_eq!(config.task_secret, Some(Secret::from("from a file")));
    let bad = [
        ("WORKER_TOKEN_FILE", path),
        ("WORKER_TOKEN", "another"),
        ("S3_ACCESS_KEY_FILE", "/nowhere/at/all"),
        ("S3_ENDPOINT_URL", "http://minio:9000"),
        ("S3_ADDRESSING", "sideways"),
    ];
    let error = read::read(&gpu(), &vars(&bad)).err().unwrap().to_string();
    insta::assert_snapshot!(error, @r"
    the worker cannot start:
      WORKER_TOKEN, WORKER_TOKEN_FILE: expected one of them, seen both
      S3_ACCESS_KEY_FILE: /nowhere/at/all cannot be read: No such file or directory (os error 2)
      S3_ENDPOINT_URL: expected S3_ACCESS_KEY and S3_SECRET_KEY beside it
      S3_ADDRESSING: `sideways` is none of auto, path, virtual
    ");
}
