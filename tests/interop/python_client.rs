//! A client in the original's style: it sees the same on our orchestrator and on the original.

use serde_json::Value;

use crate::original::Original;
use crate::process::{Process, run};
use crate::python::Environment;
use crate::site::{CLIENT, Server, Site, WORKER};

const ERRAND: &str = "blueprint: errand
version: v1
endpoint: /jobs/errand
start: start
states:
  start:
    choose:
      - when: initial_data.needs_approval
        approve: { message: May it run? }
        on: { approved: run, rejected: refused }
    else: { go_to: run }
  run:
    dispatch:
      skill: probe
      params:
        act: \"{{ initial_data.act }}\"
        gate: \"{{ initial_data.gate }}\"
        needs_approval: \"{{ initial_data.needs_approval }}\"
    on: { success: finished, failure: broken, needs_review: reviewed }
  finished: { end: finished }
  reviewed: { end: failed }
  broken: { end: failed }
  refused: { end: failed }
";

/// Starts the original's worker and waits until it has registered: the original's orchestrator gives
/// up on a task that no worker can take.
async fn worker(site: &Site, url: &str) -> Process {
    let mut command = Environment::Worker.script("worker.py", site.folder());
    command
        .env("ORCHESTRATOR_URL", url)
        .env("WORKER_ID", "python-1")
        .env("WORKER_TOKEN", WORKER);
    let process = Process::start(command);
    process.prints("Successfully registered").await;
    process
}

/// Plays the client and returns what it has seen.
async fn play(site: &Site, url: &str, gates: &str) -> Value {
    std::fs::create_dir(site.path(gates)).expect("a folder");
    let mut command = Environment::Worker.script("client.py", site.folder());
    command
        .env("ORCHESTRATOR_URL", url)
        .env("CLIENT_TOKEN", CLIENT)
        .env("GATES", site.path(gates));
    run(command).await.with(0).json()
}

#[tokio::test]
async fn python_client_sees_the_same_on_both() {
    let site = Site::new(&[("errand.yaml", ERRAND)]);
    let mut command = site.orchestrator(0);
    command.env("DETAILED_API_RESPONSES", "true");
    let ours = Server::start(command).await;
    let first = worker(&site, &ours.url).await;
    let seen = play(&site, &ours.url, "ours").await;
    first.stop().await.with(0);
    ours.process.stop().await.with(0);

    let original = Original::start().await;
    let second = worker(&site, &original.url).await;
    let expected = play(&site, &original.url, "original").await;
    second.stop().await.with(0);
    original.stop().await;
    assert_eq!(seen["plain"]["held"]["progress"], 0.5, "{seen}");
    assert_eq!(seen["plain"]["done"]["status"], "finished", "{seen}");
    for (part, expected) in expected.as_object().expect("an object") {
        assert_eq!(&seen[part], expected, "{part}");
    }
}
