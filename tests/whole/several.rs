//! Several orchestrators on one Redis, each of which may die or stand still, and Redis with them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::process::Process;
use crate::redis::{on, site, worker};
use crate::servers::redis::Redis;
use crate::site::{Server, Site};

const ORCHESTRATORS: usize = 3;
/// Jobs that are under way when something happens.
const PORTION: usize = 12;

pub(crate) const MANY: &str = "blueprint: many
endpoint: /jobs/many
start: first
states:
  first:
    dispatch: { skill: echo, max_deliveries: 50 }
    on: { success: pause }
  pause:
    wait: { for: 1s }
    go_to: fan
  fan:
    parallel:
      for_each: \"{{ [1, 2] }}\"
      as: n
      task: { skill: echo, params: { n: \"{{ n }}\" }, max_deliveries: 50 }
    into: child
  child:
    run: { blueprint: small }
    on: { success: done }
  done: { end: finished }
";

/// The orchestrators, a worker of each, and the jobs that they were given.
struct Fleet {
    site: Site,
    redis: Redis,
    servers: Vec<Server>,
    workers: Vec<Process>,
    jobs: Vec<String>,
}

impl Fleet {
    async fn new() -> Self {
        let (site, redis) = (site(), Redis::start());
        site.write("blueprints/many.yaml", MANY);
        let mut fleet = Self {
            site,
            redis,
            servers: Vec::new(),
            workers: Vec::new(),
            jobs: Vec::new(),
        };
        for number in 0..ORCHESTRATORS {
            let server = fleet.start(0).await;
            let id = format!("sh-{number}");
            fleet.workers.push(worker(&fleet.site, &server, &id));
            fleet.servers.push(server);
        }
        fleet
    }

    async fn start(&self, port: u16) -> Server {
        let mut command = on(&self.site, &self.redis, port);
        command.env("REDIS_TIMEOUT_SECONDS", "2");
        Server::start(command).await
    }

    /// Gives jobs to one after the other of these.
    async fn submit(&mut self, to: &[usize]) {
        for number in 0..PORTION {
            let job = self.servers[to[number % to.len()]].submit("many").await;
            self.jobs.push(job);
        }
    }

    async fn kill(&mut self, index: usize) -> u16 {
        let server = self.servers.remove(index);
        let port = server.port();
        server.process.signal("KILL").await;
        server.process.ended().await;
        port
    }

    /// Waits until every orchestrator says that Redis is there, 1, or that it does not answer, 0.
    async fn see_store(&self, is_up: f64) {
        for server in &self.servers {
            server.shows(r#"part_up{part="store"}"#, is_up).await;
        }
    }

    /// Waits for the last job's end, as another orchestrator than the one that has it sees it.
    async fn last_ends(&self, seen_by: usize) {
        let job = self.jobs.last().expect("there are some");
        let end = self.servers[seen_by].outcome(job).await;
        assert_eq!(end["status"], json!("finished"), "{end:#}");
    }

    /// Checks that every job has ended well, and that nothing of it happened twice.
    async fn check(&self) {
        for (number, job) in self.jobs.iter().enumerate() {
            let server = &self.servers[number % ORCHESTRATORS];
            let end = server.outcome(job).await;
            assert_eq!(end["status"], json!("finished"), "{end:#}");
            let history = ["jobs", "history", job, "-o", "json"];
            let history = self.site.ask(server, &history).await.with(0).json();
            check_history(&history);
        }
        let list = ["jobs", "list", "--all", "--limit", "500", "-o", "json"];
        let list: Value = self.site.ask(&self.servers[0], &list).await.with(0).json();
        let count = |blueprint: &str| {
            let jobs = list.as_array().expect("a list").iter();
            jobs.filter(|job| job["blueprint_name"] == blueprint)
                .count()
        };
        assert_eq!(count("many"), self.jobs.len(), "{list:#}");
    }

    async fn end(self) {
        for worker in self.workers {
            worker.stop().await.with(0);
        }
        for server in self.servers {
            server.process.stop().await.with(0);
        }
    }
}

/// Checks that nothing of a job's story happened twice. What a worker was sent over a connection that
/// died is sent again, which is told as a failure of that delivery; successes count.
pub(crate) fn check_history(history: &Value) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for event in history.as_array().expect("a list") {
        let kind = event["event_type"].as_str().expect("a name");
        if kind != "task_finished" || event["details"]["status"] == "success" {
            *counts.entry(kind).or_default() += 1;
        }
    }
    // One task, two branches.
    for (kind, count) in [
        ("job_finished", 1),
        ("task_finished", 3),
        ("child_finished", 1),
    ] {
        assert_eq!(counts.get(kind), Some(&count), "{kind}: {history:#}");
    }
}

#[tokio::test]
async fn server_redis_serves_several_orchestrators_of_which_any_may_fail() {
    let mut fleet = Fleet::new().await;
    fleet.submit(&[0, 1, 2]).await;
    let port = fleet.kill(0).await;
    fleet.submit(&[0, 1]).await;
    fleet.last_ends(0).await;
    let again = fleet.start(port).await;
    fleet.servers.insert(0, again);

    fleet.servers[1].process.signal("STOP").await;
    fleet.submit(&[0, 2]).await;
    fleet.last_ends(0).await;
    fleet.servers[1].process.signal("CONT").await;

    fleet.submit(&[0, 1, 2]).await;
    fleet.redis.restart();
    let port = fleet.kill(2).await;
    let again = fleet.start(port).await;
    fleet.servers.push(again);
    fleet.submit(&[0, 1, 2]).await;
    fleet.redis.pause();
    fleet.see_store(0.0).await;
    fleet.redis.resume();
    fleet.see_store(1.0).await;
    fleet.check().await;
    fleet.end().await;
}
