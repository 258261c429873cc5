//! The original's orchestrator and worker under the checks of `conformance`: they depart from the
//! wire where `docs/conformance.md` says so, and nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::original::Original;
use crate::process::{command, run};
use crate::python::{Environment, script_path};
use crate::site::{SECRET, WORKER};

/// Longest wait for what should happen, in seconds: what is known not to happen takes all of it.
const WAIT_S: &str = "10";

/// Checks that the run brings nothing for, and why.
type Unseen = &'static [(&'static str, &'static str)];

/// Of the orchestrator.
const UNSEEN_OF_ORCHESTRATOR: Unseen = &[
    ("O-28", "its access tokens live an hour"),
    ("O-41", "takes half a minute"),
    ("O-43", "without an idle worker its job ends first"),
];

/// Of the worker.
const UNSEEN_OF_WORKER: Unseen = &[("W-12", "takes half a minute")];

/// Checks that are not compared, because the original's answer is a matter of moments.
const UNSETTLED: Unseen = &[(
    "O-42",
    "the task is lost or not by how much of its time the poll whose connection has gone still has",
)];

/// Returns the checks that the original is known to fail, with the sentence for each.
fn known_faults() -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/conformance.md");
    let text = std::fs::read_to_string(path).expect("docs/conformance.md is there");
    let (_, original) = text
        .split_once("\n## The original\n")
        .expect("its last section");
    let mut faults = BTreeMap::new();
    for row in original.lines() {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        if let [_, checks, _, seen, _] = cells[..] {
            let checks = checks.split(", ").filter(|check| is_check(check));
            faults.extend(checks.map(|check| (check.to_owned(), seen.to_owned())));
        }
    }
    faults
}

fn is_check(text: &str) -> bool {
    let number = text.strip_prefix("O-").or_else(|| text.strip_prefix("W-"));
    number.is_some_and(|number| number.parse::<u32>().is_ok())
}

/// Compares a report with what is known of its target.
fn compare(report: &Value, unseen: Unseen) {
    let faults = known_faults();
    let known = |list: Unseen, id: &str| list.iter().any(|(check, _)| *check == id);
    let mut ids = BTreeSet::new();
    let mut differences = Vec::new();
    for check in report["checks"].as_array().expect("checks") {
        let id = check["id"].as_str().expect("an id");
        ids.insert(id);
        if known(UNSETTLED, id) {
            continue;
        }
        let expected = if faults.contains_key(id) {
            "fail"
        } else if known(unseen, id) {
            "not observed"
        } else {
            "pass"
        };
        let (verdict, rule, evidence) = (&check["verdict"], &check["rule"], &check["evidence"]);
        if verdict != expected {
            differences.push(format!(
                "{id} ({rule}): {verdict}, and `{expected}` is known of it\n    {evidence}"
            ));
        }
    }
    assert!(ids.len() > 30, "a whole report: {ids:?}");
    assert!(
        differences.is_empty(),
        "the original's pinned version does not behave as docs/conformance.md, \"The original\", and \
         this file say. When it has changed, change them; when a check has, mend the check:\n{}",
        differences.join("\n")
    );
}

#[tokio::test]
async fn python_orchestrator_departs_from_the_wire_where_it_is_known_to() {
    let original = Original::start_with(&[
        // Longer than a poll with a time of its own would take.
        ("WORKER_POLL_TIMEOUT_SECONDS", "7"),
        ("RATE_LIMITING_ENABLED", "true"),
        // The client looks at its jobs more often than the usual limit allows.
        ("RATE_LIMIT_LIMIT", "10000"),
    ])
    .await;
    let (token, secret) = (["--worker-token", WORKER], ["--task-secret", SECRET]);
    let verb = ["conformance", "orchestrator", "--url", &original.url];
    let rest = ["--wait", WAIT_S, "-o", "json"];
    let report = original
        .ask(&[&verb[..], &token, &secret, &rest].concat())
        .await
        .with(1)
        .json();
    original.stop().await;
    compare(&report, UNSEEN_OF_ORCHESTRATOR);
}

#[tokio::test]
async fn python_worker_departs_from_the_wire_where_it_is_known_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let hold = format!(
        r#"{{"act": "hold", "gate": "{}"}}"#,
        folder.path().join("gate").display()
    );
    // Counts, so that no two runs have the same result.
    let skills = ["--skill", "probe", "--params", r#"{"act": "count"}"#];
    let long = ["--long-skill", "probe", "--long-params", &hold];
    let verb = ["conformance", "worker", "--listen", "127.0.0.1:0"];
    let rest = ["--wait", WAIT_S, "-o", "json", "--"];
    let (python, script) = (Environment::Worker.interpreter(), script_path("worker.py"));
    let worker = [&python, &script].map(|path| path.to_str().expect("a path in Unicode"));
    let mut checked = command(
        folder.path(),
        &[&verb[..], &skills, &long, &rest, &worker].concat(),
    );
    checked
        .env("PATH", "/usr/bin:/bin")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("TASK_FILES_DIR", folder.path().join("payloads"))
        .env("HEARTBEAT_INTERVAL", "0.2")
        .env("WORKER_HEARTBEAT_COOLDOWN", "0.05")
        .env("IDLE_POLL_DELAY", "0.01")
        .env("POLL_BACKOFF_INITIAL", "0.1")
        .env("POLL_BACKOFF_MAX", "0.3")
        .env("RESULT_RETRY_INITIAL_DELAY", "0.2")
        .env("REGISTRATION_RETRY_INITIAL_DELAY", "0.1")
        .env("REGISTRATION_RETRY_MAX_DELAY", "0.3");
    let report = run(checked).await.with(1).json();
    compare(&report, UNSEEN_OF_WORKER);
}

/// What is read of the document is what the other two compare with.
#[test]
fn python_faults_are_read_from_the_document() {
    let faults = known_faults();
    let of = |letter: char| faults.keys().filter(|id| id.starts_with(letter)).count();
    assert!(of('O') > 5 && of('W') > 2, "{faults:?}");
    assert!(faults.keys().all(|id| is_check(id)), "{faults:?}");
}
