//! Hostile input over real sockets: each row of the table gets the right refusal with its stable
//! code, leaves nothing behind in the store, and never a 5xx; afterwards the server is as it was.

mod rows;
mod stage;
mod wire;

use std::collections::BTreeSet;

use avtomatika::api::CODES;
use serde_json::Value;

use rows::{Row, all};
use stage::{Stage, as_client, as_worker};
use wire::{Raw, Seen, exchange};

/// Fewer rows than this and some have been lost.
const ROWS_MIN: usize = 150;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_is_refused_and_leaves_nothing() {
    let stage = Stage::start().await;
    let table = all(&stage.facts);
    assert!(table.len() >= ROWS_MIN, "{} rows", table.len());
    let mut names = BTreeSet::new();
    for row in &table {
        assert!(names.insert(&row.name), "two rows are named `{}`", row.name);
    }
    let before = stage.dump();
    let mut faults = Vec::new();
    for row in &table {
        let address = if row.is_slow {
            stage.impatient
        } else {
            stage.address
        };
        let answers = exchange(address, &row.raw).await;
        faults.extend(judge(row, &answers));
        let after = stage.dump();
        let new: Vec<&String> = after.iter().filter(|line| !before.contains(line)).collect();
        if after != before {
            faults.push(format!("{}: something was stored: {new:?}", row.name));
            break;
        }
    }
    assert!(
        faults.is_empty(),
        "{} of {} rows:\n{}",
        faults.len(),
        table.len(),
        faults.join("\n")
    );
    is_alive(&stage).await;
    stage.stop().await;
}

/// Compares an answer with what the row wants, and with what all answers have in common.
fn judge(row: &Row, answers: &[Seen]) -> Option<String> {
    let none = Seen::default();
    let last = answers.last().unwrap_or(&none);
    let fault = |what: &str| {
        Some(format!(
            "{}: {what}: expected {} {}, got {} {} {}",
            row.name, row.status, row.code, last.status, last.code, last.body
        ))
    };
    if (last.status, last.code.as_str()) != (row.status, row.code) {
        return fault("another answer");
    }
    if answers.iter().any(|seen| seen.status >= 500) {
        return fault("a 5xx");
    }
    if row.code.is_empty() {
        return None;
    }
    let known = |(code, status, _): &&(&str, u16, &str)| (*code, *status) == (row.code, row.status);
    if CODES.iter().find(known).is_none() {
        return fault("no such code");
    }
    let body: Value = serde_json::from_str(&last.body).unwrap_or_default();
    if !body["error"].is_string() {
        return fault("no text for people");
    }
    // What never became a request has no id.
    if last.has_header("x-request-id") != body["request_id"].is_string() {
        return fault("header and body differ in the request's id");
    }
    if last.has_header("allow") != (row.status == 405) || last.has_header("x-injected") {
        return fault("a header too many or too few");
    }
    None
}

/// The server does its work as before.
async fn is_alive(stage: &Stage) {
    for (raw, status) in [
        (Raw::line("GET /_public/status"), 200),
        (Raw::line("GET /_public/ready"), 200),
        (as_client("GET /api/v1/jobs"), 200),
        (as_client("POST /api/v1/jobs/work").body("{}"), 202),
        (as_worker("PATCH /_worker/workers/w1").body(""), 200),
    ] {
        let answers = exchange(stage.address, &raw).await;
        assert_eq!(answers[0].status, status, "{}", answers[0].body);
    }
}

/// No route is left out: each path of the API's own description is asked by some row, and refuses a
/// method that it does not have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_asks_every_route() {
    let stage = Stage::start().await;
    let asked: Vec<(String, String)> = all(&stage.facts)
        .iter()
        .filter_map(|row| row.raw.target())
        .collect();
    let document = exchange(stage.address, &Raw::line("GET /_public/openapi.json")).await;
    let document: Value = serde_json::from_str(&document[0].body).expect("JSON");
    let mut missing = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        let methods = item.as_object().expect("methods");
        for method in methods.keys().map(|method| method.to_uppercase()) {
            if takes_nothing(path) {
                continue;
            }
            let is_it = |(by, at): &(String, String)| *by == method && fits(path, at);
            if !asked.iter().any(is_it) {
                missing.push(format!("{method} {path}"));
            }
        }
        let line = format!("LINK {}", path.replace(['{', '}'], "x"));
        let seen = exchange(stage.address, &as_client(&line)).await;
        let seen = (seen[0].status, seen[0].code.as_str());
        assert_eq!(seen, (405, "method_not_allowed"), "{line}");
    }
    assert!(missing.is_empty(), "no row asks {missing:#?}");
    stage.stop().await;
}

/// Routes without anything that could be wrong, but for their method.
fn takes_nothing(path: &str) -> bool {
    path == "/" || (path.starts_with("/_public/") && !path.contains('{'))
}

fn fits(path: &str, asked: &str) -> bool {
    let (path, asked) = (path.split('/'), asked.split('/'));
    path.clone().count() == asked.clone().count()
        && path
            .zip(asked)
            .all(|(part, seen)| part == seen || part.starts_with('{'))
}
