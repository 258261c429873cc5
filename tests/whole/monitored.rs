//! A real Prometheus scrapes a real orchestrator and evaluates what the dashboard and the alerts ask.

use std::path::Path;
use std::time::Duration;

use avtomatika::net::Method;
use serde_json::Value;

use crate::redis::{site, worker};
use crate::servers::prometheus::{Prometheus, check_metrics};
use crate::site::Server;

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

#[tokio::test]
async fn server_prometheus_understands_scrapes_dashboard_and_alerts() {
    let site = site();
    let server = Server::start(site.orchestrator(0)).await;
    let worker = worker(&site, &server, "w-1");
    server.submit("steps").await;
    let address = server.url.trim_start_matches("http://").to_owned();
    let rules = config().join("alerts.yml");
    let prometheus = Prometheus::start(&address, "/_public/metrics", &rules);
    let created = encoded("orchestrator_jobs_total{blueprint=\"steps\"} and on(instance) up == 1");
    let mut seen = Value::Null;
    for _ in 0..LOOKS {
        seen = ask(&server, &prometheus, &format!("query?query={created}")).await;
        if !seen["result"].as_array().is_none_or(Vec::is_empty) {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    assert_eq!(seen["result"][0]["value"][1], "1", "{seen:#}");

    for (title, expression) in expressions() {
        let route = format!("query?query={}", encoded(&expression));
        let answer = ask(&server, &prometheus, &route).await;
        assert_eq!(answer["resultType"], "vector", "{title}: {expression}");
    }
    let mut healths = Vec::new();
    for _ in 0..LOOKS {
        let groups = ask(&server, &prometheus, "rules").await;
        let rules = groups["groups"][0]["rules"].as_array().cloned();
        healths = rules.expect("rules");
        if healths.iter().all(|rule| rule["health"] != "unknown") {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    assert!(
        healths.iter().all(|rule| rule["health"] == "ok"),
        "{healths:#?}"
    );

    let scrape = format!("{}/_public/metrics", server.url);
    let scraped = server.follow(Method::Get, &scrape, "").await.body;
    let text = String::from_utf8(scraped.to_vec()).expect("text");
    assert_eq!(check_metrics(&text, &site.path(".")), "");
    worker.stop().await.with(0);
    server.process.stop().await.with(0);
}
