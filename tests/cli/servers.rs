//! Roles that run until they are told to stop.

use std::process::Stdio;
use std::time::Duration;

use avtomatika::base::{Clock as _, Secret, SystemClock};
use avtomatika::net::{Call, ClientOptions, HttpClient, Method};
use avtomatika::protocol::webhook;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::stub::Stub;
use crate::{Ended, binary};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Tells a child to stop as an operator would, and waits for its end.
async fn stop(child: Child) -> Ended {
    let id = child.id().expect("it runs").to_string();
    let told = Command::new("kill")
        .args(["-TERM", &id])
        .status()
        .await
        .expect("kill runs");
    assert!(told.success());
    let ended = tokio::time::timeout(Duration::from_secs(20), child.wait_with_output()).await;
    Ended::from(ended.expect("it stops in time").expect("it has an end"))
}

#[tokio::test]
async fn the_sink_checks_prints_and_stops_in_good_order() {
    let mut child = binary(&[
        "webhook-sink",
        "--port",
        "0",
        "-o",
        "jsonl",
        "--secret",
        SECRET,
    ])
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .expect("the binary starts");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let line = lines.next_line().await.expect("readable").expect("a line");
    let url = line
        .strip_prefix("webhook sink at ")
        .expect("the address")
        .to_owned();
    let client = HttpClient::new(ClientOptions::default()).expect("a client");
    let body = json!({"event": "job_finished", "job_id": "j1", "status": "finished"}).to_string();
    let now = SystemClock.now().as_secs();
    for (id, key, expected) in [
        ("a", SECRET, 200),
        ("a", SECRET, 200),
        ("b", "another secret 16", 401),
    ] {
        let signature = webhook::sign(&Secret::from(key), id, now, body.as_bytes());
        let call = Call::new(Method::Post, &url)
            .json(body.clone())
            .header("webhook-id", id)
            .header("webhook-timestamp", now.to_string())
            .header("webhook-signature", signature);
        assert_eq!(
            client.send(call).await.expect("an answer").status,
            expected,
            "{id}"
        );
    }
    let shown = client
        .json(Call::new(Method::Get, &url))
        .await
        .expect("the list");
    assert_eq!(shown["webhooks"][0]["body"]["job_id"], "j1");
    assert_eq!(shown["repeats_dropped"], 1);
    let ended = stop(child).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.stdout.lines().count(), 1, "{ended:?}");
    assert_eq!(ended.json()["webhook_id"], "a");
}

/// Two schedulers, and one of them started again: every slot has one key, so one job.
#[tokio::test]
async fn the_scheduler_names_each_slot_once_and_for_all() {
    let stub = Stub::start().await;
    let line = "POST /api/v1/jobs/tick";
    stub.on(
        "GET /api/v1/blueprints",
        200,
        &json!([{"name": "tick", "path": "/api/v1/jobs/tick"}]),
    )
    .on(line, 503, &json!({"error": "not yet", "code": "busy"}))
    .on(line, 202, &json!({"job_id": "j1"}));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("schedules.toml");
    std::fs::write(&file, "[beat]\nblueprint = \"tick\"\ninterval_seconds = 1\ncatch_up = \"all\"\ncatch_up_window_seconds = 5\n")
        .expect("written");
    let file = file.display().to_string();
    let start = || {
        binary(&[
            "scheduler",
            "--schedules",
            &file,
            "--url",
            &stub.url,
            "--token",
            "t",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts")
    };
    let (first, second) = (start(), start());
    stub.wait_for(line, 12).await;
    for child in [first, second] {
        let ended = stop(child).await;
        ended.check(0, "", "scheduler stopped");
    }
    let mut bodies = std::collections::BTreeMap::new();
    for asked in stub.asked(line) {
        let key = asked.key.expect("every slot has a key");
        assert!(key.starts_with("schedule:beat:"), "{key}");
        assert_eq!(asked.body["metadata"]["source"], "scheduler:beat");
        // A key that came with two bodies would be refused by the orchestrator.
        let known = bodies.entry(key).or_insert_with(|| asked.body.clone());
        assert_eq!(*known, asked.body);
    }
    assert!(
        bodies.len() < stub.asked(line).len(),
        "both schedulers fired the same slots"
    );
}

/// Without anybody to ask, an interrupted `submit` leaves the job alone.
#[tokio::test]
async fn an_interrupted_submit_lets_the_job_go_on() {
    let stub = Stub::start().await;
    stub.on("POST /api/v1/jobs/flow", 202, &json!({"job_id": "j1"}))
        .on(
            "GET /api/v1/jobs/j1",
            200,
            &json!({"status": "waiting_for_human"}),
        );
    let child = binary(&["submit", "flow", "--url", &stub.url, "--token", "t"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    stub.wait_for("GET /api/v1/jobs/j1", 1).await;
    stop(child).await.check(130, "", "job j1 goes on");
    assert_eq!(stub.asked("POST /api/v1/jobs/j1/cancel").len(), 0);
}
