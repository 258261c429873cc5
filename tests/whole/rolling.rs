//! Three orchestrators on one Redis, restarted one after the other while clients and workers go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use avtomatika::net::{Call, ClientOptions, HttpClient, Method, NetError};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::balancer::Balancer;
use crate::process::{PATIENCE, Process};
use crate::redis::{on, site, worker_at};
use crate::servers::redis::Redis;
use crate::several::{MANY, check_history};
use crate::site::{CLIENT, Server, Site};

const ORCHESTRATORS: usize = 3;
const WORKERS: usize = 4;
const CLIENTS: usize = 6;
/// Jobs that have to end, of each client on average, before the next thing happens.
const PORTION: usize = 1;

/// A client that starts a job, waits for its end and starts the next, whoever answers.
struct Tester {
    http: HttpClient,
    url: String,
    number: usize,
    /// The ids of jobs that have ended well.
    ended: mpsc::Sender<String>,
    is_over: Arc<AtomicBool>,
}

impl Tester {
    async fn play(self) {
        for round in 0.. {
            if self.is_over.load(Ordering::Acquire) {
                return;
            }
            let key = format!("{}-{round}", self.number);
            let job = self.submit(&key).await;
            self.wait(&job).await;
            if self.ended.send(job).await.is_err() {
                return;
            }
        }
    }

    /// Makes a call again and again until it is answered: a connection may end at any time.
    async fn answer(&self, make: impl Fn() -> Call) -> Value {
        let tries = async {
            loop {
                match self.http.json(make()).await {
                    Ok(answer) => return answer,
                    Err(NetError::Connect(_) | NetError::Broken(_)) => {
                        tokio::task::yield_now().await;
                    }
                    Err(other) => panic!("{other}"),
                }
            }
        };
        timeout(PATIENCE, tries).await.expect("somebody answers")
    }

    async fn submit(&self, key: &str) -> String {
        let created = self
            .answer(|| {
                Call::new(Method::Post, format!("{}/api/jobs/many", self.url))
                    .header("X-Client-Token", CLIENT)
                    .header("Idempotency-Key", key)
                    .json("{}".to_owned())
            })
            .await;
        created["job_id"].as_str().expect("an id").to_owned()
    }

    /// Follows the job's events to its end, on as many connections as it takes.
    async fn wait(&self, job: &str) {
        let follow = async {
            loop {
                let url = format!("{}/api/v1/jobs/{job}/events", self.url);
                let call = Call::new(Method::Get, url).header("X-Client-Token", CLIENT);
                let mut events = match self.http.events(call, PATIENCE).await {
                    Ok(events) => events,
                    Err(NetError::Connect(_) | NetError::Broken(_)) => continue,
                    Err(other) => panic!("{other}"),
                };
                while let Some(Ok(event)) = events.next().await {
                    if event.event == "end" {
                        let end: Value = serde_json::from_str(&event.data).expect("JSON");
                        assert_eq!(end["status"], json!("finished"), "{end:#}");
                        return;
                    }
                }
            }
        };
        timeout(PATIENCE * 2, follow).await.expect("it ends");
    }
}

/// The clients at work.
struct Load {
    testers: JoinSet<()>,
    ended: mpsc::Receiver<String>,
    is_over: Arc<AtomicBool>,
    jobs: Vec<String>,
}

impl Load {
    fn start(url: &str) -> Self {
        let (sender, ended) = mpsc::channel(CLIENTS);
        let (is_over, mut testers) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        for number in 0..CLIENTS {
            let tester = Tester {
                http: HttpClient::new(ClientOptions::default()).expect("a client"),
                url: url.to_owned(),
                number,
                ended: sender.clone(),
                is_over: Arc::clone(&is_over),
            };
            testers.spawn(tester.play());
        }
        Self {
            testers,
            ended,
            is_over,
            jobs: Vec::new(),
        }
    }

    /// Waits until more jobs have ended.
    async fn goes_on(&mut self) {
        let more = async {
            for _ in 0..CLIENTS * PORTION {
                let job = self.ended.recv().await;
                self.jobs.push(job.expect("the clients go on"));
            }
        };
        let went_on = timeout(PATIENCE * 2, more).await;
        if went_on.is_err() {
            // Tells which client has failed and why.
            while let Some(tester) = self.testers.try_join_next() {
                tester.expect("no client fails");
            }
            panic!("no job ends any more");
        }
    }

    /// Lets the clients end what they have begun, and returns all jobs.
    async fn ends(mut self) -> Vec<String> {
        self.is_over.store(true, Ordering::Release);
        let rest = async {
            while let Some(job) = self.ended.recv().await {
                self.jobs.push(job);
            }
        };
        timeout(PATIENCE * 2, rest)
            .await
            .expect("the last jobs end");
        while let Some(tester) = self.testers.join_next().await {
            tester.expect("no client fails");
        }
        self.jobs
    }
}

async fn start(site: &Site, redis: &Redis, port: u16) -> Server {
    let mut command = on(site, redis, port);
    command.env("TASK_LEASE_SECONDS", "3");
    Server::start(command).await
}

/// Checks that nothing of a job happened twice.
async fn check(server: &Server, job: &str) {
    let path = format!("/jobs/{job}/history?limit=1000");
    let answer = server.send(Method::Get, &path, None).await;
    let history: Value = serde_json::from_slice(&answer.body).expect("JSON");
    check_history(&history);
}

#[tokio::test]
async fn server_redis_orchestrators_restart_in_turn_under_load() {
    let (site, redis) = (site(), Redis::start());
    site.write("blueprints/many.yaml", MANY);
    let mut servers = Vec::new();
    for _ in 0..ORCHESTRATORS {
        servers.push(start(&site, &redis, 0).await);
    }
    let balancer = Balancer::start(servers.iter().map(Server::port).collect()).await;
    let worker = |number| worker_at(&site, &balancer.url, &format!("sh-{number}"));
    let workers: Vec<Process> = (0..WORKERS).map(worker).collect();
    let mut load = Load::start(&balancer.url);
    load.goes_on().await;
    for index in 0..ORCHESTRATORS {
        let leaving = servers.remove(index);
        let port = leaving.port();
        leaving.process.stop().await.with(0);
        load.goes_on().await;
        servers.insert(index, start(&site, &redis, port).await);
        load.goes_on().await;
    }
    let jobs = load.ends().await;
    assert_eq!(balancer.faults(), Vec::<String>::new());
    for (number, job) in jobs.iter().enumerate() {
        check(&servers[number % ORCHESTRATORS], job).await;
    }
    let list = ["jobs", "list", "--all", "--limit", "100000", "-o", "json"];
    let list: Value = site.ask(&servers[0], &list).await.with(0).json();
    let started = list.as_array().expect("a list").iter();
    let started = started
        .filter(|job| job["blueprint_name"] == "many")
        .count();
    assert_eq!(started, jobs.len(), "a job was started twice or not at all");
    for worker in workers {
        worker.stop().await.with(0);
    }
    for server in servers {
        server.process.stop().await.with(0);
    }
}
