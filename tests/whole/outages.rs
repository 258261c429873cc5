//! Servers go away and come back: readiness shows it, two lines of the log tell it, figures count it.

use std::time::Duration;

use avtomatika::net::Method;
use serde_json::Value;

use crate::process::PATIENCE;
use crate::redis::{on, site};
use crate::servers::postgres::Postgres;
use crate::servers::redis::Redis;
use crate::site::Server;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Looks before something counts as not coming: minutes, far more than is needed.
const LOOKS: u32 = 1_800;

impl Server {
    /// Returns what a scrape says of a series.
    pub(crate) async fn figure(&self, series: &str) -> Option<f64> {
        let scrape = format!("{}/_public/metrics", self.url);
        let answer = self.follow(Method::Get, &scrape, "").await;
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.header("content-type"),
            Some("text/plain; version=0.0.4; charset=utf-8")
        );
        let text = String::from_utf8(answer.body.to_vec()).expect("text");
        let found = text.lines().find_map(|line| {
            line.strip_prefix("orchestrator_")?
                .strip_prefix(series)?
                .strip_prefix(' ')
        });
        found.map(|value| value.parse().expect("a number"))
    }

    /// Waits until a scrape says that of a series.
    pub(crate) async fn shows(&self, series: &str, value: f64) {
        self.shows_what(series, |seen| (seen - value).abs() < f64::EPSILON)
            .await;
    }

    /// Waits until what a scrape says of a series is as wanted.
    async fn shows_what(&self, series: &str, is_wanted: impl Fn(f64) -> bool) {
        let mut seen = None;
        for _ in 0..LOOKS {
            seen = self.figure(series).await;
            if seen.is_some_and(&is_wanted) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("{series} is {seen:?}");
    }

    /// Returns readiness' status and what it says of a part.
    pub(crate) async fn ready(&self, part: &str) -> (u16, String) {
        let ready = format!("{}/_public/ready", self.url);
        let answer = self.follow(Method::Get, &ready, "").await;
        let checks = &answer.json().expect("JSON")["checks"];
        let check = checks[part].as_str().unwrap_or_default().to_owned();
        (answer.status, check)
    }

    /// Waits until readiness says so of the store; returns its status.
    async fn says_of_store(&self, text: &str) -> u16 {
        let mut last = String::new();
        let said = async {
            loop {
                let (status, check) = self.ready("store").await;
                if check.contains(text) {
                    return status;
                }
                last = check;
            }
        };
        let said = tokio::time::timeout(PATIENCE, said).await;
        said.unwrap_or_else(|_| panic!("not `{text}`, but `{last}`"))
    }
}

/// Returns the messages of warnings and errors, and of outages' ends, in order.
fn told(log: &str) -> Vec<String> {
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let told = lines.filter(|line| {
        let message = line["message"].as_str().unwrap_or_default();
        line["level"] != "INFO" || message == "outage ends" || message.ends_with("again")
    });
    told.filter_map(|line| line["message"].as_str().map(str::to_owned))
        .collect()
}

#[tokio::test]
async fn server_redis_outage_is_two_lines_and_a_figure() {
    let (site, mut redis) = (site(), Redis::start());
    let mut orchestrator = on(&site, &redis, 0);
    orchestrator.env("REDIS_TIMEOUT_SECONDS", "1");
    let server = Server::start(orchestrator).await;
    server.submit("steps").await;
    server.shows(r#"part_up{part="store"}"#, 1.0).await;
    server
        .shows(r#"part_outages_total{part="store"}"#, 0.0)
        .await;
    assert_eq!(server.ready("store").await.0, 200);

    redis.kill();
    server.shows(r#"part_up{part="store"}"#, 0.0).await;
    server
        .shows(r#"part_outages_total{part="store"}"#, 1.0)
        .await;
    let (status, check) = server.ready("store").await;
    assert_eq!(status, 503);
    assert_ne!(check, "ok");

    redis.restart();
    server.shows(r#"part_up{part="store"}"#, 1.0).await;
    server
        .shows(r#"part_outages_total{part="store"}"#, 1.0)
        .await;
    assert_eq!(server.ready("store").await, (200, "ok".to_owned()));
    server.submit("steps").await;
    let log = server.process.stop().await.with(0).stderr;
    assert_eq!(told(&log), ["outage begins", "outage ends"], "{log}");
}

/// It answers who only reads, again and again.
#[tokio::test]
async fn server_redis_that_is_full_is_one_outage() {
    let (site, redis) = (site(), Redis::start());
    let server = Server::start(on(&site, &redis, 0)).await;
    server.shows(r#"part_up{part="store"}"#, 1.0).await;
    redis.command(&["config", "set", "maxmemory", "1"]);
    server.shows(r#"part_up{part="store"}"#, 0.0).await;
    for _ in 0..2 {
        // Nobody asks meanwhile whether it takes anything, and who looks at what is due is answered: if
        // that ended the outage, it would have ended.
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(server.ready("store").await.0, 503);
    }
    server
        .shows(r#"part_outages_total{part="store"}"#, 1.0)
        .await;
    redis.command(&["config", "set", "maxmemory", "0"]);
    server.shows(r#"part_up{part="store"}"#, 1.0).await;
    let log = server.process.stop().await.with(0).stderr;
    assert_eq!(told(&log), ["outage begins", "outage ends"], "{log}");
}

/// As after a failover to a server that nobody has looked at.
#[tokio::test]
async fn server_redis_that_may_drop_jobs_all_at_once_is_told() {
    let (site, redis) = (site(), Redis::start());
    let mut orchestrator = on(&site, &redis, 0);
    orchestrator.env("ENVIRONMENT", "production");
    let server = Server::start(orchestrator).await;
    let kept = server.process.says("Redis keeps the jobs").await;
    assert!(kept.contains("appendfsync everysec"), "{kept}");
    let set = |policy| {
        redis.command(&["config", "set", "maxmemory-policy", policy]);
        redis.command(&["client", "kill", "type", "normal"]);
    };
    set("volatile-lru");
    let told = server
        .says_of_store("maxmemory-policy is volatile-lru")
        .await;
    assert_eq!(told, 200, "work goes on");
    server.shows(r#"part_up{part="store"}"#, 0.0).await;
    server.submit("steps").await;

    set("noeviction");
    assert_eq!(server.says_of_store("ok").await, 200);
    server.shows(r#"part_up{part="store"}"#, 1.0).await;
    let log = server.process.stop().await.with(0).stderr;
    for line in [
        "is not to be trusted with jobs",
        "is to be trusted with jobs again",
    ] {
        assert_eq!(log.matches(line).count(), 1, "{line}: {log}");
    }
}

#[tokio::test]
async fn server_postgres_outage_is_two_lines_and_a_figure() {
    let (site, mut postgres) = (site(), Postgres::start());
    let mut orchestrator = site.orchestrator(0);
    orchestrator.env("HISTORY_DATABASE_URI", postgres.url());
    let server = Server::start(orchestrator).await;
    server.submit("steps").await;
    server.shows("history_rows_behind", 0.0).await;
    server.shows(r#"part_up{part="history"}"#, 1.0).await;

    postgres.kill();
    server.submit("steps").await;
    server.shows(r#"part_up{part="history"}"#, 0.0).await;
    server
        .shows_what("history_rows_behind", |rows| rows >= 1.0)
        .await;
    server
        .shows(r#"part_outages_total{part="history"}"#, 1.0)
        .await;
    let (status, check) = server.ready("history").await;
    assert_eq!(status, 200, "work goes on");
    assert!(check.starts_with("degraded since"), "{check}");

    postgres.restart();
    server.shows("history_rows_behind", 0.0).await;
    server.shows(r#"part_up{part="history"}"#, 1.0).await;
    assert_eq!(server.ready("history").await, (200, "ok".to_owned()));

    // A server that stands still closes no connection: only time tells.
    postgres.pause();
    server.submit("steps").await;
    server.shows(r#"part_up{part="history"}"#, 0.0).await;
    server.submit("steps").await;
    postgres.resume();
    server.shows("history_rows_behind", 0.0).await;
    server.shows(r#"part_up{part="history"}"#, 1.0).await;
    server
        .shows(r#"part_outages_total{part="history"}"#, 2.0)
        .await;
    let log = server.process.stop().await.with(0).stderr;
    let lines = [
        "the history cannot be written: events wait in the store",
        "the history can be written again",
    ];
    assert_eq!(told(&log), [lines, lines].concat(), "{log}");
}
