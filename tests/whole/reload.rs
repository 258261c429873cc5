//! An operator who changes files under a running orchestrator.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::process::{Process, command};
use crate::site::{CLIENT, Server, Site, WORKER};

/// A job that waits for a decision and ends with a result.
fn flow(result: &str) -> String {
    format!(
        "blueprint: flow
endpoint: /jobs/flow
start: gate
states:
  gate:
    approve: {{ integration: desk, message: ready?, timeout: 1h }}
    on: {{ approved: done, rejected: done, timeout: done }}
  done: {{ end: finished, result: {result} }}
"
    )
}

/// Lets a job go on and returns its result.
async fn result(server: &Server, job: &str) -> String {
    let decision = json!({"decision": "approved"});
    server
        .post(&format!("/jobs/{job}/approve"), &decision)
        .await;
    let end = server.outcome(job).await;
    assert_eq!(end["status"], "finished", "{end}");
    end["result"].as_str().expect("a text").to_owned()
}

#[tokio::test]
async fn a_changed_blueprint_serves_new_jobs_and_leaves_the_old_alone() {
    let site = Site::new(&[("flow.yaml", &flow("one"))]);
    let server = site.start().await;
    let old = server.submit("flow").await;
    site.write("blueprints/flow.yaml", &flow("two"));
    server.process.says("blueprint loaded").await;
    let new = server.submit("flow").await;
    assert_eq!(result(&server, &old).await, "one");
    assert_eq!(result(&server, &new).await, "two");

    let broken = flow("three").replace("approved: done", "approved: nowhere");
    site.write("blueprints/flow.yaml", &broken);
    let told = server.process.says("nowhere").await;
    let place = format!("{}:7:21", site.path("blueprints/flow.yaml").display());
    assert!(told.contains(&place), "{told}");
    assert!(told.contains("ERROR"), "{told}");
    let last = server.submit("flow").await;
    assert_eq!(result(&server, &last).await, "two");
    server.process.stop().await.with(0);
}

/// The default is a relative path, and so is the example settings' one.
#[tokio::test]
async fn a_directory_is_watched_however_it_is_named() {
    for named in ["blueprints", "./blueprints", "blueprints/../blueprints"] {
        let site = Site::new(&[("flow.yaml", &flow("one"))]);
        let mut orchestrator = site.orchestrator(0);
        orchestrator.env("BLUEPRINTS_DIR", named);
        let server = Server::start(orchestrator).await;
        site.write("blueprints/flow.yaml", &flow("two"));
        server.process.says("blueprint loaded").await;
        let new = server.submit("flow").await;
        assert_eq!(result(&server, &new).await, "two", "{named}");
        server.process.stop().await.with(0);
    }
}

/// A directory that is swapped as a whole is not seen by watching; SIGHUP reads it.
#[tokio::test]
async fn sighup_reads_everything_again() {
    let site = Site::new(&[]);
    fs::remove_dir(site.path("blueprints")).expect("empty");
    for name in ["one", "two"] {
        fs::create_dir(site.path(name)).expect("a folder");
        site.write(&format!("{name}/flow.yaml"), &flow(name));
    }
    symlink(site.path("one"), site.path("blueprints")).expect("a link");
    let server = site.start().await;
    let job = server.submit("flow").await;
    assert_eq!(server.poll("w", WORKER).await.status, 204);
    assert_eq!(server.poll("w", "another-token").await.status, 403);

    fs::remove_file(site.path("blueprints")).expect("the link");
    symlink(site.path("two"), site.path("blueprints")).expect("a link");
    site.write_workers("another-token");
    server.process.signal("HUP").await;
    server.process.says("worker tokens read again").await;
    server.process.says("blueprint loaded").await;
    assert_eq!(server.poll("w", WORKER).await.status, 403);
    assert_eq!(server.poll("w", "another-token").await.status, 204);
    let later = server.submit("flow").await;
    assert_eq!(result(&server, &job).await, "one");
    assert_eq!(result(&server, &later).await, "two");

    site.write("workers.toml", "[w]\ntoken = 5\n");
    server.process.signal("HUP").await;
    server.process.says("worker tokens stay as they were").await;
    assert_eq!(server.poll("w", "another-token").await.status, 204);
    server.process.stop().await.with(0);
}

const WORK: &str = "blueprint: work
endpoint: /jobs/work
start: work
states:
  work:
    dispatch: { skill: work, params: {} }
    on: { success: done }
  done: { end: finished, result: 42 }
";

/// A secret that derives from nothing else.
const HOOK: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A client's token ends with the change of the file; what it has running goes on and is told of
/// under its own signature.
#[tokio::test]
async fn a_client_who_is_taken_out_is_out_at_once() {
    let site = Site::new(&[("work.yaml", WORK)]);
    let other = "[other]\ntoken = \"token-of-another\"\n";
    let both = format!("[someone]\ntoken = \"{CLIENT}\"\nwebhook_secret = \"{HOOK}\"\n{other}");
    site.write("clients.toml", &both);
    let server = site.start().await;
    let mut sink = command(
        site.folder(),
        &["webhook-sink", "--port", "0", "-o", "jsonl"],
    );
    sink.env("WEBHOOK_SECRET", HOOK);
    let sink = Process::start(sink);
    let said = sink.says("webhook sink at ").await;
    let (_, url) = said.split_once("webhook sink at ").expect("the address");
    let submit = ["submit", "work", "--webhook-url", url, "--detach"];
    let job = site.ask(&server, &submit).await.with(0).stdout;
    let mut events = server.events(job.trim()).await;
    assert_eq!(server.jobs_status(CLIENT).await, 200);

    site.write("clients.toml", other);
    let told = server.process.says("clients read again").await;
    assert!(told.contains("someone"), "{told}");
    assert_eq!(server.jobs_status(CLIENT).await, 401);
    assert_eq!(server.jobs_status("token-of-another").await, 200);

    let mut worker = command(
        site.folder(),
        &["worker", "--skill", "work=true", "--id", "w"],
    );
    worker
        .env("ORCHESTRATOR_URL", &server.url)
        .env("WORKER_TOKEN", WORKER);
    let worker = Process::start(worker);
    let told = sink.prints("job_finished").await;
    assert!(told.contains(job.trim()), "{told}");
    while let Some(event) = events.next().await {
        let event = event.expect("the stream goes on until it ends");
        assert_ne!(event.event, "end", "{event:?}");
    }

    site.write("clients.toml", "[someone]\ntoken = 5\n");
    server.process.signal("HUP").await;
    server.process.says("clients stay as they were").await;
    assert_eq!(server.jobs_status("token-of-another").await, 200);
    worker.stop().await.with(0);
    sink.stop().await.with(0);
    server.process.stop().await.with(0);
}
