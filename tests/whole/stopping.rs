//! Orchestrators that must not start, and one that stops in the middle of its work.

use std::process::Command as Tool;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::process::{PATIENCE, run};
use crate::site::{Server, Site, WORKER};

const HELD: &str = "blueprint: held
endpoint: /jobs/held
start: work
states:
  work:
    dispatch: { skill: script }
    on: { success: done, failure: broken }
  done: { end: finished, result: \"{{ state_history.word }}\" }
  broken: { end: failed, error: \"the script failed\" }
";

#[tokio::test]
async fn a_data_directory_has_one_orchestrator() {
    let site = Site::new(&[("held.yaml", HELD)]);
    let server = site.start().await;
    let second = run(site.orchestrator(0)).await.with(8);
    let message = "is in use by another orchestrator";
    assert!(second.stderr.contains(message), "{second:?}");
    let data = site.path("data").display().to_string();
    assert!(second.stderr.contains(&data), "{second:?}");
    server.submit("held").await;
    server.process.stop().await.with(0);
    // What has stopped has let go.
    site.start().await.process.stop().await.with(0);
}

#[tokio::test]
async fn production_refuses_what_everybody_knows() {
    let site = Site::new(&[("held.yaml", HELD)]);
    site.write("clients.toml", "[vip]\ntoken = \"user_token_vip\"\n");
    let mut production = site.orchestrator(0);
    production
        .env("ENVIRONMENT", "production")
        .env("ORCHESTRATOR_SECRET_KEY", "");
    let refused = run(production).await.with(8);
    for word in ["vip.token", "ORCHESTRATOR_SECRET_KEY"] {
        assert!(refused.stderr.contains(word), "{word}: {refused:?}");
    }
    assert!(!refused.stderr.contains("user_token_vip"), "{refused:?}");
    assert!(!site.path("data").exists(), "it touched the data directory");
}

/// Sends a poll on a connection of its own and returns when the server has it: both requests are
/// in one packet, and the first is answered.
async fn open_poll(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port()))
        .await
        .expect("a connection");
    let requests = format!(
        "GET /_public/status HTTP/1.1\r\nHost: a\r\n\r\n\
         GET /_worker/workers/idle/tasks/next?timeout=30 HTTP/1.1\r\nHost: a\r\nX-Worker-Token: {WORKER}\r\n\r\n"
    );
    stream.write_all(requests.as_bytes()).await.expect("sent");
    let mut bytes = [0; 4096];
    let read = stream.read(&mut bytes).await.expect("an answer");
    let answer = String::from_utf8_lossy(&bytes[..read]);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    stream
}

/// An idle worker and a client that watches do not hold up the end; the task under way goes on at
/// its worker and is delivered to the next process.
#[tokio::test]
async fn a_stop_amid_the_work_loses_nothing() {
    let site = Site::new(&[("held.yaml", HELD)]);
    let made = Tool::new("mkfifo").arg(site.path("gate")).status();
    assert!(made.expect("mkfifo runs").success());
    site.write(
        "script.sh",
        "read word < gate\nprintf '{\"word\": \"%s\"}' \"$word\"\n",
    );
    let server = site.start().await;
    let worker = crate::skills::scripted_worker(&site, &server);
    let job = server.submit("held").await;
    let mut events = server.events(&job).await;
    worker.says("task taken").await;
    let mut poll = open_poll(&server).await;

    let port = server.port();
    let stopped = server.process.stop().await.with(0);
    assert!(!stopped.stderr.contains("left behind"), "{stopped:?}");
    let mut answer = String::new();
    let read = tokio::time::timeout(PATIENCE, poll.read_to_string(&mut answer)).await;
    read.expect("in time").expect("readable");
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    while let Some(event) = events.next().await {
        let event = event.expect("the stream ends in good order");
        assert_ne!(event.event, "end", "{event:?}");
    }

    let server = Server::start(site.orchestrator(port)).await;
    let gate = site.path("gate");
    let opened = tokio::task::spawn_blocking(move || std::fs::write(gate, "onwards\n"));
    opened.await.expect("no panic").expect("the script reads");
    let end = server.outcome(&job).await;
    assert_eq!(end["status"], "finished", "{end}");
    assert_eq!(end["result"], "onwards", "{end}");
    worker.stop().await.with(0);
    server.process.stop().await.with(0);
}
