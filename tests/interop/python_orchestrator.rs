//! Our worker, `submit` and scheduler on the original's orchestrator, unchanged.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::original::Original;
use crate::process::{PATIENCE, Process};
use crate::site::SECRET;

/// Says what it was given; `bad` is beyond it, and `held` waits at a gate.
const SCRIPT: &str = r#"input=$(cat)
act=${input#*\"act\":\"}
case ${act%%\"*} in
  bad) echo "no such errand" >&2; exit 1 ;;
  held) read word < gate; printf '{"word": "%s"}' "$word" ;;
  *) printf '{"done": true}' ;;
esac
"#;

/// Starts our worker with the script as its skill and this key for the signatures of its tasks. It
/// has to be known before there is a job: the original gives up on a task that no worker can take.
async fn worker(original: &Original, id: &str, key: &str) -> Process {
    std::fs::write(original.path("probe.sh"), SCRIPT).expect("written");
    let arguments = ["worker", "--id", id, "--skill", "probe=/bin/sh probe.sh"];
    let environment = [
        ("ORCHESTRATOR_SECRET_KEY", key),
        ("HEARTBEAT_INTERVAL", "0.3"),
        ("IDLE_POLL_DELAY", "0.01"),
    ];
    let process = original.role(&arguments, &environment);
    process.says("registered").await;
    process
}

/// Asks for a job until it fits.
async fn job(original: &Original, id: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let asked = async {
        loop {
            let job = original.job(id).await;
            if fits(&job) {
                return job;
            }
            let is_over = matches!(job["status"].as_str(), Some("failed" | "quarantined"));
            assert!(!is_over, "{job}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let asked = tokio::time::timeout(PATIENCE, asked).await;
    if let Ok(job) = asked {
        return job;
    }
    panic!("it does not come to that: {}", original.job(id).await);
}

#[tokio::test]
async fn python_orchestrator_has_its_jobs_done_by_our_worker() {
    let original = Original::start().await;
    let worker = worker(&original, "ours-1", SECRET).await;
    let submit = ["submit", "errand", "-o", "json", "--set"];
    let good = original.ask(&[&submit[..], &["act=good"]].concat()).await;
    let good = good.with(0).json();
    assert_eq!(good["status"], "finished", "{good}");
    let good = original.job(good["job_id"].as_str().expect("an id")).await;
    assert_eq!(good["state_history"]["done"], true, "{good}");
    assert_eq!(good["task_worker_id"], "ours-1", "{good}");

    // A permanent failure is quarantined there, whatever the blueprint says of failures.
    let bad = original.ask(&[&submit[..], &["act=bad"]].concat()).await;
    let bad = bad.with(3).json();
    assert_eq!(bad["status"], "quarantined", "{bad}");
    worker.stop().await.with(0);
    original.stop().await;
}

/// The signature is looked at: with another key the task is refused, not run.
#[tokio::test]
async fn python_orchestrator_signs_what_our_worker_verifies() {
    let original = Original::start().await;
    let stranger = worker(&original, "stranger", "another-key-that-signs-nothing-here").await;
    let id = original.create(&["act=good"]).await;
    stranger
        .says("its signature is not the orchestrator's")
        .await;
    let waits = original.job(&id).await;
    assert_eq!(waits["status"], "waiting_for_worker", "{waits}");
    assert_eq!(waits["task_worker_id"], "stranger", "{waits}");
    stranger.stop().await.with(0);
    original.stop().await;
}

/// Has our worker transcode, and looks at the progress that the original shows of it.
async fn watch(websockets: &str) {
    let original = Original::start().await;
    let arguments = [
        "worker",
        "--id",
        "ours-1",
        "--profile",
        "gpu",
        "--speed",
        "4",
    ];
    let environment = [
        ("ORCHESTRATOR_SECRET_KEY", SECRET),
        ("WORKER_ENABLE_WEBSOCKETS", websockets),
    ];
    let worker = original.role(&arguments, &environment);
    worker.says("registered").await;
    if websockets == "true" {
        let opened = "WebSocket connection registered for worker ours-1";
        original.process.prints(opened).await;
    }
    let id = original
        .create(&[
            "skill=transcode_video",
            "input_path=in.mp4",
            "deterministic=true",
        ])
        .await;
    let under_way = job(&original, &id, |job| job["progress"].is_number()).await;
    let message = under_way["progress_message"].as_str().unwrap_or_default();
    assert!(message.contains("of 5 complete."), "{under_way}");
    let done = job(&original, &id, |job| job["status"] == "finished").await;
    assert_eq!(done["progress"], 1.0, "{done}");
    assert_eq!(done["state_history"]["duration"], 120, "{done}");
    worker.stop().await.with(0);
    let said = original.stop().await.stdout;
    let by_http = said.contains("POST /_worker/events");
    assert_eq!(by_http, websockets == "false", "{said}");
}

#[tokio::test]
async fn python_orchestrator_shows_our_workers_progress() {
    watch("false").await;
}

#[tokio::test]
async fn python_orchestrator_shows_progress_from_our_workers_websocket() {
    watch("true").await;
}

/// The original tells no worker of it, so the task goes on; the client's side is what counts.
#[tokio::test]
async fn python_orchestrator_cancels_for_our_client() {
    let original = Original::start().await;
    let gate = original.path("gate");
    let made = std::process::Command::new("mkfifo").arg(&gate).status();
    assert!(made.expect("mkfifo runs").success());
    let worker = worker(&original, "ours-1", SECRET).await;
    let submit = ["submit", "errand", "--set", "act=held", "-o", "json"];
    let waiting = original.role(&submit, &[]);
    let accepted = waiting.says(" accepted").await;
    let id = accepted
        .split_whitespace()
        .nth(1)
        .expect("an id")
        .to_owned();
    worker.says("task taken").await;
    original.ask(&["jobs", "cancel", &id]).await.with(0);
    let ended = waiting.ended().await.with(4).json();
    assert_eq!(ended["status"], "cancelled", "{ended}");
    let opened = tokio::task::spawn_blocking(move || std::fs::write(gate, "onwards\n"));
    opened.await.expect("no panic").expect("the script reads");
    worker.stop().await.with(0);
    original.stop().await;
}

#[tokio::test]
async fn python_orchestrator_gets_one_job_for_each_slot() {
    let original = Original::start().await;
    let file = "[often]\nblueprint = \"ticks\"\ninterval_seconds = 1\ncatch_up = \"none\"\n";
    let path = original.path("schedules.toml");
    std::fs::write(&path, file).expect("written");
    let path = path.display().to_string();
    let scheduler = original.role(&["scheduler", "--schedules", &path], &[]);
    original.process.says("tick 3 ").await;
    let log = scheduler.stop().await.with(0).stderr;
    let fired: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON log line"))
        .filter(|line: &Value| line["message"] == "schedule fired")
        .collect();
    let mut slots = BTreeSet::new();
    let mut jobs = BTreeSet::new();
    for line in &fired {
        let id = line["job.id"].as_str().expect("an id");
        let job = original.job(id).await;
        let slot = job["metadata"]["schedule_slot"].as_str();
        slots.insert(slot.expect("its slot").to_owned());
        jobs.insert(id.to_owned());
    }
    assert!(fired.len() >= 3, "{log}");
    assert_eq!(slots.len(), fired.len(), "{log}");
    let said = original.stop().await.stderr;
    let made: BTreeSet<String> = said
        .lines()
        .filter_map(|line| line.strip_prefix("tick "))
        .filter_map(|line| line.split_once(' '))
        .map(|(_, id)| id.to_owned())
        .collect();
    assert_eq!(made, jobs);
}
