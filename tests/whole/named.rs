//! A worker to which the orchestrators are named one by one.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;

use crate::process::{PATIENCE, Process};
use crate::redis::{on, site, worker_command};
use crate::servers::redis::Redis;
use crate::site::Server;

/// Longer than any test waits.
const LEASE: &str = "600";

/// Says that it has begun, and goes on when it is told to.
const WAITING: &str = "#!/bin/sh\necho begun > FOLDER/begun\ncat FOLDER/go\n";

/// Makes a pipe with a name, by which a skill and a test wait for each other, and opens both its ends.
fn pipe(path: &Path) -> (pipe::Sender, pipe::Receiver) {
    let made = Command::new("mkfifo").arg(path).status();
    assert!(made.expect("mkfifo runs").success(), "{}", path.display());
    let mut ends = pipe::OpenOptions::new();
    let ends = ends.read_write(true);
    (
        ends.open_sender(path).expect("it is a pipe"),
        ends.open_receiver(path).expect("it is a pipe"),
    )
}

#[tokio::test]
async fn server_redis_another_orchestrator_takes_the_result_for_one_that_died() {
    let (site, redis) = (site(), Redis::start());
    let here = site.folder().display().to_string();
    site.write("echo.sh", &WAITING.replace("FOLDER", &here));
    let (_, mut begun) = pipe(&site.path("begun"));
    let (mut go, _) = pipe(&site.path("go"));
    let start = async |port| {
        let mut command = on(&site, &redis, port);
        command.env("TASK_LEASE_SECONDS", LEASE);
        Server::start(command).await
    };
    // The other one's port is known, but it comes when the task is under way: it is the doomed one's.
    let (doomed, other) = (start(0).await, start(0).await);
    let (port, url) = (other.port(), other.url.clone());
    other.process.stop().await.with(0);
    let mut command = worker_command(&site, &doomed.url, "sh-1");
    command.args(["--orchestrator", &doomed.url, "--orchestrator", &url]);
    let worker = Process::start(command);
    let job = doomed.submit("small").await;
    let mut said = [0; 6];
    let has_begun = tokio::time::timeout(PATIENCE, begun.read_exact(&mut said)).await;
    has_begun.expect("the task runs").expect("it says so");

    let other = start(port).await;
    let known = format!(r#""registered","worker.id":"sh-1","orchestrator.url":"{url}""#);
    worker.says(&known).await;
    doomed.process.signal("KILL").await;
    doomed.process.ended().await;
    go.write_all(br#"{"n": 1}"#).await.expect("it is open");
    drop(go);

    let end = other.outcome(&job).await;
    assert_eq!(end["status"], json!("finished"), "{end:#}");
    let history = ["jobs", "history", &job, "-o", "json"];
    let history = site.ask(&other, &history).await.with(0).json();
    let events = history.as_array().expect("a list").iter();
    let ends = events.filter(|event| event["event_type"] == "task_finished");
    assert_eq!(ends.count(), 1, "{history:#}");
    worker.stop().await.with(0);
    other.process.stop().await.with(0);
}
