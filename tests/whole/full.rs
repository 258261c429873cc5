//! A disk that is full: what does not fit is refused, and nothing that was taken is lost.
//!
//! The system's limit on the size of a file stands for the disk; it is set while the orchestrator runs.

use std::process::Stdio;

use avtomatika::net::Method;
use bytes::Bytes;
use serde_json::json;
use tokio::process::Command;

use crate::site::{Server, Site};

/// The size that files may have on the full disk. Units: bytes.
const FULL: &str = "1000000";

/// A job that stays, with what it was given.
const HELD: &str = "blueprint: held
version: v1
endpoint: /jobs/held
start: ask
states:
  ask: { approve: { message: ready? }, on: { approved: done } }
  done: { end: finished }
";

/// Returns a command that is told of a file that may not grow instead of being killed for it.
fn patient(command: &Command) -> Command {
    let inner = command.as_std();
    let mut patient = Command::new("/bin/sh");
    patient
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(inner.get_program())
        .args(inner.get_args())
        .env_clear()
        .envs(
            inner
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .current_dir(inner.get_current_dir().expect("a folder"))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    patient
}

/// Lets the files of a process grow to a size.
async fn limit(server: &Server, bytes: &str) {
    let id = server.process.child.id().expect("it runs").to_string();
    let limits = ["--pid", &id, &format!("--fsize={bytes}:unlimited")];
    let set = Command::new("prlimit").args(limits).status().await;
    assert!(set.expect("prlimit runs").success());
}

/// Posts a job with data and returns the answer's status and the job's id or the error's code.
async fn post(server: &Server) -> (u16, String) {
    let body = json!({"initial_data": {"text": "x".repeat(100_000)}}).to_string();
    let answer = server
        .send(Method::Post, "/jobs/held", Some(Bytes::from(body)))
        .await;
    let told = answer.json().expect("JSON");
    let word = told["job_id"].as_str().or(told["code"].as_str());
    (answer.status, word.unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_full_disk_refuses_and_loses_nothing() {
    let site = Site::new(&[("held.yaml", HELD)]);
    let server = Server::start(patient(&site.orchestrator(0))).await;
    limit(&server, FULL).await;
    let mut taken = Vec::new();
    let refused = loop {
        let (status, word) = post(&server).await;
        if status != 202 {
            break (status, word);
        }
        taken.push(word);
        assert!(taken.len() < 100, "the disk is never full");
    };
    assert_eq!(refused, (503, "store_unavailable".to_owned()));
    assert!(!taken.is_empty());
    server.shows(r#"part_up{part="store"}"#, 0.0).await;
    let (_, check) = server.ready("store").await;
    assert_ne!(check, "ok", "however much room there is for what is small");

    limit(&server, "unlimited").await;
    let (status, word) = post(&server).await;
    assert_eq!(status, 202, "{word}");
    taken.push(word);
    let list = site
        .ask(&server, &["jobs", "list", "--all", "-o", "json"])
        .await;
    let known = list.with(0).json();
    let mut known: Vec<&str> = known
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|job| job["job_id"].as_str())
        .collect();
    known.sort_unstable();
    taken.sort_unstable();
    assert_eq!(known, taken);
    server.process.stop().await.with(0);
}

/// Readiness, a figure and two lines of the log tell that no file can be written, and that it is over.
#[tokio::test]
async fn a_full_disk_of_files_is_told_once() {
    let site = Site::new(&[("held.yaml", HELD)]);
    let server = Server::start(patient(&site.orchestrator(0))).await;
    server.shows(r#"part_up{part="files"}"#, 1.0).await;
    limit(&server, "0").await;
    server.shows(r#"part_up{part="files"}"#, 0.0).await;
    server
        .shows(r#"part_outages_total{part="files"}"#, 1.0)
        .await;
    limit(&server, "unlimited").await;
    server.shows(r#"part_up{part="files"}"#, 1.0).await;
    let ended = server.process.stop().await.with(0);
    for line in [
        "the directory of files cannot be used",
        "the directory of files can be used again",
    ] {
        assert_eq!(ended.stderr.matches(line).count(), 1, "{}", ended.stderr);
    }
}
