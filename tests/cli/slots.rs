//! A slot makes one job: a real orchestrator, several schedulers, one of them killed and started
//! again (I8).

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr};

use crate::{Ended, binary};

const TOKEN: &str = "user_token_vip";

/// Its log, held open so that it can be written.
type Log = Lines<BufReader<ChildStderr>>;

/// Starts an orchestrator on a free port; returns it with its address.
async fn orchestrator(data: &Path) -> (Child, Log, String) {
    let mut child = binary(&["orchestrator", "--port", "0", "--log-format", "json"])
        .env("DATA_DIR", data)
        .env("SQLITE_SYNCHRONOUS", "off")
        .env("EMBEDDED_SCHEDULER", "false")
        .env("DETAILED_API_RESPONSES", "true")
        .env("RATE_LIMITING_ENABLED", "false")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let ready = async {
        while let Some(line) = lines.next_line().await.expect("readable") {
            let line: Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(address) = line["address"].as_str() {
                return format!("http://{address}");
            }
        }
        panic!("the orchestrator ended before it was ready");
    };
    let url = tokio::time::timeout(Duration::from_secs(30), ready).await;
    let url = url.expect("it is ready in time");
    (child, lines, url)
}

fn scheduler(url: &str, file: &str) -> Child {
    binary(&[
        "scheduler",
        "--schedules",
        file,
        "--url",
        url,
        "--token",
        TOKEN,
    ])
    .stdout(Stdio::null())
    .stderr(Stdio::null())
    .spawn()
    .expect("the binary starts")
}

/// Returns how many jobs each slot has.
async fn jobs_by_slot(url: &str) -> BTreeMap<String, u32> {
    let list = [
        "jobs", "list", "--all", "-o", "json", "--url", url, "--token", TOKEN,
    ];
    let output = binary(&list).output().await.expect("the binary starts");
    let jobs = Ended::from(output).json();
    let mut slots = BTreeMap::new();
    for job in jobs.as_array().expect("a list") {
        let slot = job["metadata"]["schedule_slot"]
            .as_str()
            .expect("every job has its slot");
        *slots.entry(slot.to_owned()).or_default() += 1;
    }
    slots
}

#[tokio::test]
async fn several_schedulers_make_one_job_for_each_slot() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_orchestrator, _log, url) = orchestrator(&folder.path().join("data")).await;
    let file = folder.path().join("schedules.toml");
    let text = "[beat]\nblueprint = \"periodic_maintenance\"\ninterval_seconds = 1\n\
                catch_up = \"all\"\ncatch_up_window_seconds = 5\n";
    std::fs::write(&file, text).expect("written");
    let file = file.display().to_string();
    let mut doomed = scheduler(&url, &file);
    let _other = scheduler(&url, &file);
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    let mut restarted = None;
    let slots = loop {
        ticks.tick().await;
        let slots = jobs_by_slot(&url).await;
        if slots.len() >= 8 && restarted.is_none() {
            doomed.kill().await.expect("it dies");
            restarted = Some(scheduler(&url, &file));
        }
        if slots.len() >= 11 {
            break slots;
        }
    };
    assert!(slots.values().all(|jobs| *jobs == 1), "{slots:?}");
    let times: Vec<i64> = slots
        .keys()
        .map(|slot| {
            avtomatika::base::Timestamp::parse_rfc3339(slot)
                .expect("a time")
                .as_secs()
        })
        .collect();
    assert!(
        times.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "no slot is missing: {times:?}"
    );
}
