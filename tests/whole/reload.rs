//! An operator who changes files under a running orchestrator.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::site::{Server, Site, WORKER};

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

/// A directory that is swapped as a whole is not seen by watching; SIGHUP reads it. Tokens are
/// read by SIGHUP only.
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
