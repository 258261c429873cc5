//! A real Prometheus scrapes every role and evaluates what the dashboard and the alerts ask.

use std::path::Path;
use std::time::Duration;

use avtomatika::net::Method;
use serde_json::Value;

use crate::process::{Process, command, run};
use crate::redis::{site, worker_command};
use crate::servers::prometheus::{Prometheus, check_metrics};
use crate::site::{Server, Site};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Looks before something counts as not coming: minutes, far more than is needed.
const LOOKS: u32 = 1_800;

fn config() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

/// Returns every expression of the dashboard with its panel's title, its variables taken for all.
fn expressions() -> Vec<(String, String)> {
    let path = config().join("grafana/dashboards/avtomatika-overview.json");
    let text = std::fs::read_to_string(path).expect("the dashboard is there");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let mut expressions = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().expect("an expression");
            let expression = expression
                .replace("$__rate_interval", "1m")
                .replace("$blueprint", ".*")
                .replace("$instance", ".*");
            let title = panel["title"].as_str().expect("a title").to_owned();
            expressions.push((title, expression));
        }
    }
    assert!(expressions.len() > 40);
    expressions
}

/// Writes a query as part of an address.
fn encoded(text: &str) -> String {
    let bytes = text.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    });
    bytes.collect()
}

/// Asks Prometheus something, once it is ready; panics with its words when it cannot answer.
async fn ask(server: &Server, prometheus: &Prometheus, route: &str) -> Value {
    for _ in 0..LOOKS {
        let answer = server.follow(Method::Get, &prometheus.url(route), "").await;
        if answer.status != 503 {
            let said = answer.json().expect("JSON");
            assert_eq!(said["status"], "success", "{route}: {said}");
            return said["data"].clone();
        }
        tokio::time::sleep(PAUSE).await;
    }
    panic!("Prometheus does not become ready");
}

/// Waits until Prometheus has a series, and returns its value.
async fn until_there(server: &Server, prometheus: &Prometheus, query: &str) -> String {
    let route = format!("query?query={}", encoded(query));
    for _ in 0..LOOKS {
        let seen = ask(server, prometheus, &route).await;
        if let Some(value) = seen["result"][0]["value"][1].as_str() {
            return value.to_owned();
        }
        tokio::time::sleep(PAUSE).await;
    }
    panic!("nothing comes for {query}");
}

/// Returns where a process says that it serves figures.
async fn address(process: &Process) -> String {
    let line = process.says("serving figures and probes").await;
    let line: Value = serde_json::from_str(&line).expect("a JSON log line");
    line["address"].as_str().expect("an address").to_owned()
}

/// Roles beside the orchestrator, each with an address of its own for figures.
struct Roles {
    worker: Process,
    scheduler: Process,
    sink: Process,
    /// Where webhooks go.
    sink_url: String,
}

impl Roles {
    async fn start(site: &Site, server: &Server) -> Self {
        let mut worker = worker_command(site, &server.url, "w-1");
        worker.env("METRICS_ADDR", "127.0.0.1:0");
        let sink = ["webhook-sink", "--port", "0", "--metrics-addr", ":0"];
        let sink = Process::start(command(site.folder(), &sink));
        let said = sink.says("webhook sink at ").await;
        let (_, sink_url) = said.split_once("webhook sink at ").expect("the address");
        site.write(
            "schedules.toml",
            "[beat]\nblueprint = \"steps\"\ninterval_seconds = 1\n",
        );
        let scheduler = ["scheduler", "--schedules", "schedules.toml"];
        let mut scheduler = site.client(server, &scheduler);
        scheduler.env("METRICS_ADDR", "127.0.0.1:0");
        Self {
            worker: Process::start(worker),
            scheduler: Process::start(scheduler),
            sink_url: sink_url.to_owned(),
            sink,
        }
    }

    /// Returns what each role is called by a scraper, and where it tells of itself.
    async fn addresses(&self) -> [(&'static str, String); 3] {
        let said = self.sink.says("figures at ").await;
        let (_, rest) = said.rsplit_once(':').expect("a port");
        let (port, _) = rest.split_once('/').expect("a path");
        [
            ("avtomatika-worker", address(&self.worker).await),
            ("avtomatika-scheduler", address(&self.scheduler).await),
            ("avtomatika-webhook-sink", format!("127.0.0.1:{port}")),
        ]
    }

    async fn stop(self) {
        for process in [self.worker, self.scheduler, self.sink] {
            process.stop().await.with(0);
        }
    }
}

#[tokio::test]
async fn server_prometheus_understands_scrapes_dashboard_and_alerts() {
    let site = site();
    let server = Server::start(site.orchestrator(0)).await;
    let others = Roles::start(&site, &server).await;
    let sink = others.sink_url.as_str();
    let submit = ["submit", "steps", "--detach", "--webhook-url", sink];
    site.ask(&server, &submit).await.with(0);
    let addresses = others.addresses().await;
    let address = server.url.trim_start_matches("http://");
    let mut targets = vec![("avtomatika-orchestrator", address, "/_public/metrics")];
    targets.extend(
        addresses
            .iter()
            .map(|(job, at)| (*job, at.as_str(), "/metrics")),
    );
    let rules = config().join("alerts.yml");
    let prometheus = Prometheus::start(&targets, &rules);
    for query in [
        "orchestrator_jobs_total{blueprint=\"steps\"} and on(instance) up == 1",
        "worker_tasks_total{task_type=\"echo\",status=\"success\"} > 0",
        "worker_orchestrator_up{job=\"avtomatika-worker\"} == 1",
        "scheduler_slots_total{schedule=\"beat\",outcome=\"fired\"} > 0",
        "scheduler_next_slot_timestamp_seconds{schedule=\"beat\"} > time() - 60",
        "webhook_sink_webhooks_total{event=\"approval_required\",outcome=\"unchecked\"} == 1",
    ] {
        until_there(&server, &prometheus, query).await;
    }

    for (title, expression) in expressions() {
        let route = format!("query?query={}", encoded(&expression));
        let answer = ask(&server, &prometheus, &route).await;
        assert_eq!(answer["resultType"], "vector", "{title}: {expression}");
    }
    let mut healths = Vec::new();
    for _ in 0..LOOKS {
        let answer = ask(&server, &prometheus, "rules").await;
        let groups = answer["groups"].as_array().expect("groups");
        let rules = groups.iter().filter_map(|group| group["rules"].as_array());
        healths = rules.flatten().cloned().collect();
        if healths.iter().all(|rule| rule["health"] != "unknown") {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    assert!(
        healths.len() > 15 && healths.iter().all(|rule| rule["health"] == "ok"),
        "{healths:#?}"
    );

    for (job, address, path) in &targets {
        let scrape = format!("http://{address}{path}");
        let scraped = server.follow(Method::Get, &scrape, "").await.body;
        let text = String::from_utf8(scraped.to_vec()).expect("text");
        assert_eq!(check_metrics(&text, &site.path(".")), "", "{job}");
        // The probe of containers asks every role alike.
        let url = format!("http://{address}");
        let probe = ["health", "--url", &url];
        let said = run(command(site.folder(), &probe)).await.with(0).stdout;
        assert!(said.contains(": ok"), "{job}: {said}");
    }
    others.stop().await;
    server.process.stop().await.with(0);
}

/// A worker is ready while its orchestrator knows it, and not one moment longer.
#[tokio::test]
async fn readiness_of_a_worker_follows_its_orchestrator() {
    let site = site();
    let server = Server::start(site.orchestrator(0)).await;
    let port = server.port();
    let mut worker = worker_command(&site, &server.url, "w-1");
    worker
        .env("METRICS_ADDR", "127.0.0.1:0")
        .env("HEARTBEAT_INTERVAL", "0.1")
        .env("REGISTRATION_RETRY_INITIAL_DELAY", "0.1");
    let worker = Process::start(worker);
    let url = format!("http://{}", address(&worker).await);
    let until = async |code: i32, word: &str| {
        for _ in 0..LOOKS {
            let ended = run(command(site.folder(), &["health", "--url", &url])).await;
            if ended.code == Some(code) {
                assert!(ended.stdout.contains(word), "{ended:?}");
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("the worker's health does not come to {code}");
    };
    until(0, "orchestrators: 1 of 1 answer").await;
    server.process.stop().await.with(0);
    until(6, "orchestrators: 0 of 1 answer").await;
    let live = ["health", "--live", "--url", &url];
    run(command(site.folder(), &live)).await.with(0);
    let server = Server::start(site.orchestrator(port)).await;
    until(0, "orchestrators: 1 of 1 answer").await;
    worker.stop().await.with(0);
    let gone = run(command(site.folder(), &live)).await.with(6);
    assert!(gone.stderr.contains("METRICS_ADDR"), "{gone:?}");
    server.process.stop().await.with(0);
}
