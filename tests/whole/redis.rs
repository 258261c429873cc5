//! The orchestrator with its jobs in Redis.

use serde_json::{Value, json};
use tokio::process::Command;

use crate::newcomer::check_showcase;
use crate::process::{Process, command};
use crate::servers::redis::Redis;
use crate::site::{Server, Site, WORKER};

const STEPS: &str = "blueprint: steps
endpoint: /jobs/steps
start: first
states:
  first:
    dispatch: { skill: echo, params: { n: 1 } }
    on: { success: ask }
  ask:
    approve: { message: go on }
    on: { approved: fan }
  fan:
    parallel:
      for_each: \"{{ [1, 2, 3] }}\"
      as: n
      task: { skill: echo, params: { n: \"{{ n }}\" } }
    into: child
  child:
    run: { blueprint: small }
    on: { success: done }
  done: { end: finished, result: \"{{ aggregation_results | length }}\" }
";

const SMALL: &str = "blueprint: small
endpoint: /jobs/small
start: work
states:
  work:
    dispatch: { skill: echo }
    on: { success: done }
  done: { end: finished }
";

const ECHO: &str = "#!/bin/sh\ncat\n";

pub(crate) fn site() -> Site {
    let site = Site::new(&[("steps.yaml", STEPS), ("small.yaml", SMALL)]);
    site.write("echo.sh", ECHO);
    let script = site.path("echo.sh");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(script, mode).expect("is made executable");
    site
}

pub(crate) fn on(site: &Site, redis: &Redis, port: u16) -> Command {
    let mut orchestrator = site.orchestrator(port);
    orchestrator.env("STORE", redis.url());
    orchestrator
}

pub(crate) fn worker(site: &Site, server: &Server, id: &str) -> Process {
    worker_at(site, &server.url, id)
}

pub(crate) fn worker_at(site: &Site, url: &str, id: &str) -> Process {
    Process::start(worker_command(site, url, id))
}

pub(crate) fn worker_command(site: &Site, url: &str, id: &str) -> Command {
    let skill = format!("echo={}", site.path("echo.sh").display());
    let arguments = ["worker", "--id", id, "--skill", &skill];
    let mut worker = command(site.folder(), &arguments);
    worker
        .env("ORCHESTRATOR_URL", url)
        .env("WORKER_TOKEN", WORKER)
        .env("PATH", "/usr/bin:/bin");
    worker
}

async fn status(site: &Site, server: &Server, job: &str) -> Value {
    let shown = site.ask(server, &["jobs", "show", job, "-o", "json"]).await;
    shown.with(0).json()["status"].clone()
}

#[tokio::test]
async fn server_redis_keeps_a_job_over_the_death_of_everything() {
    let (site, mut redis) = (site(), Redis::with(&["--appendfsync", "always"]));
    let server = Server::start(on(&site, &redis, 0)).await;
    let port = server.port();
    let worker = worker(&site, &server, "sh-1");
    let job = server.submit("steps").await;
    let mut events = server.events(&job).await;
    while let Some(event) = events.next().await {
        if event.expect("goes on").data.contains("approval_required") {
            break;
        }
    }
    drop(events);
    server.process.signal("KILL").await;
    server.process.ended().await;
    redis.restart();

    let server = Server::start(on(&site, &redis, port)).await;
    assert_eq!(
        status(&site, &server, &job).await,
        json!("waiting_for_human")
    );
    let health = site.ask(&server, &["health", "-o", "json"]).await;
    let health = health.with(0).json();
    assert_eq!(health["answer"]["durability"], json!("fsync"));
    let about = health["answer"]["server"].as_str().expect("is told");
    assert!(about.contains("appendfsync always"), "{about}");
    site.ask(&server, &["jobs", "approve", &job]).await.with(0);
    let end = server.outcome(&job).await;
    assert_eq!(
        (&end["status"], &end["result"]),
        (&json!("finished"), &json!(3)),
        "{end:#}"
    );
    worker.stop().await.with(0);
    server.process.stop().await.with(0);
    assert!(!site.path("data/avtomatika.db").exists());
}

#[tokio::test]
async fn server_redis_is_asked_by_config_check() {
    let (site, mut redis) = (site(), Redis::start());
    let check = || {
        let mut check = command(
            site.folder(),
            &["config", "check", "--connect", "-o", "json"],
        );
        check
            .env("STORE", redis.url())
            .env("REDIS_TIMEOUT_SECONDS", "1");
        check
    };
    let found = crate::process::run(check()).await.with(0).json();
    assert_eq!(found["servers"]["redis"], json!("ok"), "{found:#}");
    let show = |arguments: &[&str]| {
        let mut show = command(site.folder(), arguments);
        show.env("STORE", redis.url());
        crate::process::run(show)
    };
    let shown = show(&["config", "show", "--connect", "-o", "json"]).await;
    let shown = shown.with(0).json()["servers"]["redis"].clone();
    assert_eq!(shown["durability"], json!("everysec"), "{shown:#}");
    let shown = show(&["config", "show", "--connect"]).await.with(0).stdout;
    for fact in [
        "redis: ok; Redis ",
        "appendonly yes, appendfsync everysec, maxmemory-policy noeviction, 0 replicas",
        "durability everysec",
    ] {
        assert!(shown.contains(fact), "{fact}: {shown}");
    }
    let again = check();
    redis.kill();
    let found = crate::process::run(again).await;
    assert_ne!(found.code, Some(0), "{found:?}");
}

/// Every scenario of the demonstration does what it should, and its keys are its own.
#[tokio::test]
async fn server_redis_plays_the_showcase() {
    let (folder, redis) = (tempfile::tempdir().expect("a folder"), Redis::start());
    redis.command(&["set", "somebody:else", "1"]);
    let arguments = ["showcase", "--store", &redis.url(), "-o", "json"];
    let ended = crate::process::run(command(folder.path(), &arguments)).await;
    check_showcase(&ended.with(0));
    let keys = redis.command(&["--scan"]);
    let foreign: Vec<&str> = keys
        .lines()
        .filter(|key| !key.starts_with("showcase-"))
        .collect();
    assert_eq!(foreign, ["somebody:else"]);
    assert!(keys.lines().count() > 1, "the jobs are elsewhere: {keys}");
}

/// One that keeps no history ends that of the others; it says so when it does, and only then.
#[tokio::test]
async fn server_redis_history_that_is_switched_off_for_all_is_told() {
    const TOLD: &str = "is switched off for all";
    let (site, redis) = (site(), Redis::start());
    let mut with = on(&site, &redis, 0);
    with.env("HISTORY_DATABASE_URI", "sqlite:history.db");
    let first = Server::start(with).await;
    let second = Server::start(on(&site, &redis, 0)).await;
    second.process.says(TOLD).await;
    let third = Server::start(on(&site, &redis, 0)).await;
    for (server, times) in [(third, 0), (second, 1), (first, 0)] {
        let ended = server.process.stop().await.with(0);
        assert_eq!(
            ended.stderr.matches(TOLD).count(),
            times,
            "{}",
            ended.stderr
        );
    }
}
