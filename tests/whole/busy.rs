//! Whatever fails, all workers have work again within five seconds: of the failure where an
//! orchestrator dies or stands still, of its end where Redis does. The task that an orchestrator had
//! leased and not handed out goes on, too: leases last as long as they do by default.
//!
//! That is a promise about time, and the machine of a test may be busy with anything. So the times are
//! the orchestrators' own: each task's history says when it was taken. And only such time counts in
//! which a process of this machine got to run: a thread that wants to run fifty times a second notes
//! when it did, and a second in which it ran ten times is the fifth of one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use avtomatika::base::{Clock as _, SystemClock, Timestamp};
use avtomatika::net::Method;
use serde_json::{Value, json};

use crate::balancer::Balancer;
use crate::process::{PATIENCE, Process, command};
use crate::redis::{on, site};
use crate::servers::redis::Redis;
use crate::site::{Server, Site, WORKER};

const ORCHESTRATORS: usize = 3;
const WORKERS: usize = 4;
/// Work for minutes: there is always a task to be had.
const JOBS: usize = 8;
const TASKS: usize = 300;
/// What is promised.
const WITHIN: Duration = Duration::from_secs(5);
/// Between two notes of the machine's share.
const BEAT: Duration = Duration::from_millis(20);
/// Between two looks at what the workers have taken.
const LOOK: Duration = Duration::from_millis(250);

const CROWD: &str = "blueprint: crowd
endpoint: /jobs/crowd
start: fan
states:
  fan:
    parallel:
      for_each: \"{{ initial_data.numbers }}\"
      as: n
      task: { skill: nap, params: { n: \"{{ n }}\" }, max_deliveries: 50 }
    into: done
  done: { end: finished }
";

const NAP: &str = "#!/bin/sh\nsleep 0.2\ncat\n";

/// Notes when it ran.
struct Beats {
    noted: Arc<Mutex<Vec<Timestamp>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Beats {
    fn start() -> Self {
        let (noted, is_over) = (Arc::<Mutex<Vec<Timestamp>>>::default(), Arc::default());
        let (list, ends) = (Arc::clone(&noted), Arc::clone(&is_over));
        let thread = thread::spawn(move || {
            while !AtomicBool::load(&ends, Ordering::Relaxed) {
                list.lock().expect("whole").push(SystemClock.now());
                thread::sleep(BEAT);
            }
        });
        Self {
            noted,
            is_over,
            thread: Some(thread),
        }
    }

    /// Returns how much of the time between these two counts.
    fn counted(&self, from: Timestamp, to: Timestamp) -> Duration {
        let noted = self.noted.lock().expect("whole");
        let ran = noted.iter().filter(|at| (from..to).contains(*at)).count();
        BEAT * u32::try_from(ran).expect("a short test")
    }
}

impl Drop for Beats {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it only counts");
        }
    }
}

/// The orchestrators behind a balancer, workers that know only that one, and more than enough to do.
struct Fleet {
    site: Site,
    redis: Redis,
    servers: Vec<Server>,
    workers: Vec<Process>,
    jobs: Vec<String>,
    beats: Beats,
    _balancer: Balancer,
}

impl Fleet {
    async fn start() -> Self {
        let (site, redis) = (site(), Redis::start());
        site.write("blueprints/crowd.yaml", CROWD);
        site.write("nap.sh", NAP);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(site.path("nap.sh"), mode).expect("is made executable");
        let mut servers = Vec::new();
        for _ in 0..ORCHESTRATORS {
            servers.push(start(&site, &redis, 0).await);
        }
        let balancer = Balancer::asking(servers.iter().map(Server::port).collect()).await;
        let workers = (0..WORKERS).map(|number| {
            let skill = format!("nap={}", site.path("nap.sh").display());
            let id = name(number);
            let mut worker = command(site.folder(), &["worker", "--id", &id, "--skill", &skill]);
            worker
                .env("ORCHESTRATOR_URL", &balancer.url)
                .env("WORKER_TOKEN", WORKER)
                .env("MAX_CONCURRENT_TASKS", "1")
                .env("PATH", "/usr/bin:/bin");
            Process::start(worker)
        });
        let workers = workers.collect();
        let numbers: Vec<usize> = (0..TASKS).collect();
        let mut jobs = Vec::new();
        for number in 0..JOBS {
            let server = &servers[number % ORCHESTRATORS];
            let data = json!({ "numbers": numbers });
            jobs.push(server.submit_with("crowd", &data).await);
        }
        Self {
            site,
            redis,
            servers,
            workers,
            jobs,
            beats: Beats::start(),
            _balancer: balancer,
        }
    }

    /// Returns when each worker has first taken a task since then, as far as it has ended it.
    async fn taken_since(&self, since: Timestamp) -> BTreeMap<String, Timestamp> {
        let mut taken: BTreeMap<String, Timestamp> = BTreeMap::new();
        for job in &self.jobs {
            let path = format!("/jobs/{job}/history?limit=1000");
            let answer = self.servers[0].send(Method::Get, &path, None).await;
            if answer.status != 200 {
                // It has not found its store again yet.
                continue;
            }
            let events: Value = serde_json::from_slice(&answer.body).expect("JSON");
            for event in events.as_array().expect("a list") {
                let Some(at) = event["details"]["taken_at"].as_str() else {
                    continue;
                };
                let at = Timestamp::parse_rfc3339(at).expect("a time");
                let worker = event["worker_id"].as_str().expect("a worker").to_owned();
                if at >= since {
                    let first = taken.entry(worker).or_insert(at);
                    *first = at.min(*first);
                }
            }
        }
        taken
    }

    /// Waits until every worker has had a task since then, and checks that none was late.
    async fn is_busy_since(&self, what: &str, since: Timestamp) {
        let all = async {
            loop {
                let taken = self.taken_since(since).await;
                if taken.len() == WORKERS {
                    return taken;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let taken = tokio::time::timeout(PATIENCE * 2, all).await;
        let taken = taken.unwrap_or_else(|_| panic!("{what}: a worker gets nothing any more"));
        for (worker, at) in taken {
            let counted = self.beats.counted(since, at);
            assert!(
                counted <= WITHIN,
                "{what}: {worker} had its next task after {counted:?}, by the clock {:?}",
                at.since(since)
            );
        }
    }
}

fn name(number: usize) -> String {
    format!("w-{number}")
}

async fn start(site: &Site, redis: &Redis, port: u16) -> Server {
    Server::start(on(site, redis, port)).await
}

#[tokio::test]
async fn server_redis_workers_are_busy_again_soon_after_any_failure() {
    let mut fleet = Fleet::start().await;
    fleet.is_busy_since("the start", Timestamp(0)).await;

    let dead = fleet.servers.remove(2);
    let port = dead.port();
    dead.process.signal("KILL").await;
    let killed = SystemClock.now();
    dead.process.ended().await;
    fleet
        .is_busy_since("kill -9 of an orchestrator", killed)
        .await;
    let again = start(&fleet.site, &fleet.redis, port).await;
    fleet.servers.push(again);
    let back = SystemClock.now();
    fleet.is_busy_since("its return", back).await;

    let still = &fleet.servers[1].process;
    still.signal("STOP").await;
    let stopped = SystemClock.now();
    fleet
        .is_busy_since("SIGSTOP of an orchestrator", stopped)
        .await;
    still.signal("CONT").await;
    let goes_on = SystemClock.now();
    fleet.is_busy_since("SIGCONT", goes_on).await;

    fleet.redis.pause();
    tokio::time::sleep(WITHIN).await;
    fleet.redis.resume();
    let goes_on = SystemClock.now();
    fleet.is_busy_since("SIGSTOP of Redis", goes_on).await;

    fleet.redis.kill();
    tokio::time::sleep(WITHIN * 2).await;
    fleet.redis.restart();
    let back = SystemClock.now();
    fleet.is_busy_since("ten seconds without Redis", back).await;

    let last = &fleet.jobs[JOBS - 1];
    let show = ["jobs", "show", last, "-o", "json"];
    let shown = fleet
        .site
        .ask(&fleet.servers[0], &show)
        .await
        .with(0)
        .json();
    assert_ne!(shown["status"], json!("finished"), "there was always work");
    drop(fleet.workers);
}
