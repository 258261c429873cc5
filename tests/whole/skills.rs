//! Somebody who has a script and makes it a skill.

use crate::process::{Process, command};
use crate::site::{Server, Site, WORKER};

/// A job of one task, tried three times.
const SCRIPTED: &str = "blueprint: scripted
endpoint: /jobs/scripted
input: { type: object, properties: { mode: { type: string } } }
start: work
states:
  work:
    dispatch:
      skill: script
      params: { mode: \"{{ initial_data.mode }}\", number: 4 }
      retry: { max_attempts: 3, backoff: { initial: 50ms, factor: 1, max: 50ms, jitter: 0 } }
    on: { success: done, failure: broken }
  done: { end: finished, result: \"{{ state_history }}\" }
  broken: { end: failed, error: \"the script failed\" }
";

/// A job of one task that says five times how far it is.
const TRANSCODED: &str = "blueprint: transcoded
endpoint: /jobs/transcoded
start: work
states:
  work:
    dispatch: { skill: transcode_video, params: { input_path: a.mov, deterministic: true } }
    on: { success: done, failure: broken }
  done: { end: finished }
  broken: { end: failed, error: \"no video\" }
";

/// Notes each run, then does what the parameters say: the first run of `later` asks for patience.
const SCRIPT: &str = r#"input=$(cat)
mode=${input#*\"mode\":\"}
mode=${mode%%\"*}
echo "$mode" >> runs
case $mode in
  good) printf '{"doubled": 8}' ;;
  bad) echo "no such codec" >&2; exit 1 ;;
  later) if [ "$(grep -c later runs)" = 1 ]; then exit 75; fi; printf '{"doubled": 9}' ;;
esac
"#;

/// Starts a worker with the script as its skill.
pub(crate) fn scripted_worker(site: &Site, server: &Server) -> Process {
    let mut command = command(
        site.folder(),
        &[
            "worker",
            "--id",
            "scripted",
            "--skill",
            "script=/bin/sh script.sh",
        ],
    );
    command
        .env("PATH", "/usr/bin:/bin")
        .env("ORCHESTRATOR_URL", &server.url)
        .env("WORKER_TOKEN", WORKER)
        .env("LOG_LEVEL", "info,avtomatika=debug")
        .env("LOG_FORMAT", "json");
    Process::start(command)
}

#[tokio::test]
async fn a_script_does_fails_and_asks_for_patience() {
    let site = Site::new(&[("scripted.yaml", SCRIPTED)]);
    site.write("script.sh", SCRIPT);
    let server = site.start().await;
    let worker = scripted_worker(&site, &server);
    let submit = async |mode: &str| {
        let mode = format!("mode={mode}");
        site.ask(
            &server,
            &["submit", "scripted", "--set", &mode, "-o", "json"],
        )
        .await
    };
    let good = submit("good").await.with(0).json();
    assert_eq!(good["result"]["doubled"], 8, "{good}");
    let bad = submit("bad").await.with(1).json();
    assert_eq!(bad["status"], "failed", "{bad}");
    let later = submit("later").await.with(0).json();
    assert_eq!(later["result"]["doubled"], 9, "{later}");
    let runs = std::fs::read_to_string(site.path("runs")).expect("runs were noted");
    assert_eq!(runs, "good\nbad\nlater\nlater\n");

    let id = bad["job_id"].as_str().expect("an id");
    let history = ["jobs", "history", id, "-o", "json"];
    let history = site.ask(&server, &history).await.with(0);
    assert!(history.stdout.contains("no such codec"), "{history:?}");
    worker.stop().await.with(0);
    server.process.stop().await.with(0);
}

#[tokio::test]
async fn a_fast_transcoders_five_steps_all_arrive() {
    let site = Site::new(&[("transcoded.yaml", TRANSCODED)]);
    let server = site.start().await;
    let arguments = [
        "worker",
        "--profile",
        "gpu",
        "--id",
        "gpu",
        "--speed",
        "1000",
    ];
    let mut command = command(site.folder(), &arguments);
    command
        .env("ORCHESTRATOR_URL", &server.url)
        .env("WORKER_TOKEN", WORKER)
        .env("LOG_LEVEL", "info,avtomatika=debug")
        .env("LOG_FORMAT", "json");
    let worker = Process::start(command);
    worker.says("command channel open").await;
    for _ in 0..20 {
        let job = server.submit("transcoded").await;
        let end = server.outcome(&job).await;
        assert_eq!(end["status"], "finished", "{end}");
        let history = ["jobs", "history", &job, "-o", "json"];
        let history = site.ask(&server, &history).await.with(0);
        let steps = history.stdout.matches("of 5 complete").count();
        assert_eq!(steps, 5, "{history:?}");
    }
    worker.stop().await.with(0);
    server.process.stop().await.with(0);
}
