//! What is judged from all messages of a run. Source: wire-protocol §2, §4–§7, §13.2.

use std::collections::BTreeMap;

use serde_json::Value;

use super::play::Play;
use super::seen::{Kind, Seen};
use super::{Check, check};
use crate::protocol::headers::PROTOCOL_VERSION;
use crate::protocol::sign::EVENT_IGNORED;
use crate::protocol::wire::{Heartbeat, Registration, TaskResult, WorkerEventPayload};
use crate::protocol::{freshness, verify};
use crate::roles::conformance::report::{Miss, Outcome, broken, unseen};

/// What is new in each message, whatever it tells.
const STAMPS: [&str; 3] = ["timestamp", "nonce", "security"];

/// How far a timestamp may lie from its arrival, in seconds.
const WINDOW_S: u64 = 60;

pub(super) const CHECKS: [Check; 9] = [
    check(
        (
            "W-02",
            "§13.2.1",
            "every request carries X-Worker-Token, X-Worker-ID and X-RXON-Version",
        ),
        |play| Box::pin(async { headers(play) }),
    ),
    check(
        (
            "W-03",
            "§13.2.2",
            "every message has an integer `timestamp` within 60 s",
        ),
        |play| Box::pin(async { timestamps(play) }),
    ),
    check(
        (
            "W-04",
            "§6.2",
            "every message is signed over its canonical form",
        ),
        |play| Box::pin(async { signatures(play) }),
    ),
    check(
        (
            "W-05",
            "§6.3",
            "`worker_id`, X-Worker-ID, path and signer are one",
        ),
        |play| Box::pin(async { identities(play) }),
    ),
    check(
        (
            "W-06",
            "§13.2.2",
            "no signed message is sent twice: retries are stamped and signed anew",
        ),
        |play| Box::pin(async { repeats(play) }),
    ),
    check(
        (
            "W-07",
            "§4",
            "every message has the members and types of its model",
        ),
        |play| Box::pin(async { shapes(play) }),
    ),
    check(
        (
            "W-15",
            "§13.2.4",
            "a task whose `sig` is not the orchestrator's is not run",
        ),
        |play| Box::pin(async { forged(play) }),
    ),
    check(
        ("W-22", "§7 WQ11", "a task that comes twice is run once"),
        |play| Box::pin(async { twice(play) }),
    ),
    check(
        (
            "W-24",
            "§8.4",
            "a result that was answered `ignored` is not sent again",
        ),
        |play| Box::pin(async { ignored(play) }),
    ),
];

/// Returns the messages that have to be signed; an empty heartbeat has not.
fn signed(play: &Play) -> Vec<Seen> {
    let log = play.desk.log();
    log.into_iter()
        .filter(|seen| {
            let is_empty = seen.bytes.is_empty() || seen.bytes.as_ref() == b"{}";
            seen.kind.is_signed() && !(seen.kind == Kind::Beat && is_empty)
        })
        .collect()
}

fn name(seen: &Seen) -> String {
    format!("{:?} {}", seen.kind, seen.path)
}

fn headers(play: &Play) -> Outcome {
    let log = play.desk.log();
    let requests = log.iter().filter(|seen| seen.kind != Kind::Frame);
    let mut count = 0;
    for seen in requests {
        count += 1;
        for (header, value) in [
            ("X-Worker-Token", &seen.token),
            ("X-Worker-ID", &seen.id),
            ("X-RXON-Version", &seen.version),
        ] {
            if value.as_deref().is_none_or(str::is_empty) {
                return Err(broken(format!("{} without {header}", name(seen)), header));
            }
        }
        let version = seen.version.as_deref().unwrap_or_default();
        if !version.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(broken(format!("version `{version}`"), PROTOCOL_VERSION));
        }
    }
    Ok(format!("{count} requests"))
}

fn timestamps(play: &Play) -> Outcome {
    let messages = signed(play);
    for seen in &messages {
        let timestamp = &seen.body["timestamp"];
        let Some(stamp) = timestamp.as_i64() else {
            return Err(broken(
                format!("{}: `timestamp` {timestamp}", name(seen)),
                "an integer",
            ));
        };
        if stamp.abs_diff(seen.at_seconds) > WINDOW_S {
            let off = stamp - seen.at_seconds;
            return Err(broken(
                format!("{}: {off} s from its arrival", name(seen)),
                "60 s",
            ));
        }
    }
    Ok(format!("{} messages", messages.len()))
}

fn signatures(play: &Play) -> Outcome {
    let messages = signed(play);
    for seen in &messages {
        let Some(signature) = seen.body["security"]["signature"].as_str() else {
            return Err(broken(format!("{} without a signature", name(seen)), "one"));
        };
        let ignored: &[&str] = match seen.kind {
            Kind::Event | Kind::Frame => &EVENT_IGNORED,
            _ => &[],
        };
        let access = seen.token.as_deref().unwrap_or_default();
        let is_good = |key: &str| verify(&seen.body, key, ignored, signature);
        // The access token as a key is another check's business.
        if !is_good(&play.token) && !play.is_access_token(access) {
            return Err(broken(
                format!(
                    "{}: a signature that does not match {}",
                    name(seen),
                    seen.body
                ),
                "HMAC-SHA256 with the static token",
            ));
        }
    }
    Ok(format!("{} messages", messages.len()))
}

fn identities(play: &Play) -> Outcome {
    let messages = signed(play);
    let worker = play.worker();
    for seen in &messages {
        let differs = |what: &str, id: &Value| {
            Err(broken(
                format!("{}: {what} {id}", name(seen)),
                &format!("`{worker}`"),
            ))
        };
        let body = &seen.body["worker_id"];
        // A result may leave it out.
        if !body.is_null() && *body != worker {
            return differs("`worker_id`", body);
        }
        let signer = &seen.body["security"]["signer_id"];
        if !signer.is_null() && *signer != worker {
            return differs("`security.signer_id`", signer);
        }
        if seen.kind == Kind::Beat && seen.path != format!("/_worker/workers/{worker}") {
            return differs("path", &Value::from(seen.path.as_str()));
        }
        if seen.id.as_deref().is_some_and(|id| id != worker) {
            return differs("X-Worker-ID", &Value::from(seen.id.as_deref()));
        }
    }
    Ok(format!("{} messages of `{worker}`", messages.len()))
}

fn repeats(play: &Play) -> Outcome {
    let messages = signed(play);
    let mut known: BTreeMap<&str, &Seen> = BTreeMap::new();
    for seen in &messages {
        let Some(nonce) = freshness::nonce_of(&seen.body) else {
            continue;
        };
        if let Some(first) = known.insert(nonce, seen) {
            let apart = (seen.at - first.at).as_secs_f64();
            return Err(broken(
                format!("{} again after {apart:.1} s: {}", name(seen), seen.body),
                "a fresh `timestamp` or `nonce`, and a signature over it",
            ));
        }
    }
    Ok(format!("{} messages", messages.len()))
}

fn shapes(play: &Play) -> Outcome {
    let messages = signed(play);
    for seen in &messages {
        let read = match seen.kind {
            Kind::Register => Registration::decode(&seen.body).map(drop),
            Kind::Beat => Heartbeat::decode(&seen.body).map(drop),
            Kind::Result => TaskResult::decode(&seen.body).map(drop),
            _ => WorkerEventPayload::decode(&seen.body).map(drop),
        };
        // What a result's data has to be is a check of its own.
        let is_data = |error: &str| seen.kind == Kind::Result && error.contains("data");
        if let Err(error) = read
            && !is_data(&error.to_string())
        {
            return Err(broken(
                format!("{}: {error}", name(seen)),
                "the model's types",
            ));
        }
    }
    Ok(format!("{} messages", messages.len()))
}

/// Returns the results of a task.
fn results_of(play: &Play, task: &str) -> Vec<Seen> {
    let log = play.desk.log();
    log.into_iter()
        .filter(|seen| seen.kind == Kind::Result && seen.body["task_id"] == task)
        .collect()
}

fn forged(play: &Play) -> Outcome {
    let tasks = play.forged();
    if tasks.is_empty() {
        return Err(unseen("tasks are not signed: --secret is empty"));
    }
    for (task, what) in tasks {
        let run = results_of(play, &task)
            .into_iter()
            .find(|seen| seen.body["status"] != "failure");
        if let Some(seen) = run {
            return Err(broken(
                format!("a result of a task with {what}: {}", seen.body),
                "none; has the worker the key, as ORCHESTRATOR_SECRET_KEY?",
            ));
        }
    }
    Ok("no result of it, nor of one without `sig`".to_owned())
}

fn expect_one(play: &Play, task: Option<String>, what: &str) -> Outcome {
    let Some(task) = task else {
        return Err(unseen(format!("no task {what}")));
    };
    let results = results_of(play, &task);
    match results.len() {
        0 => Err(unseen(format!("no result of the task {what}"))),
        1 => Ok(format!("one result of the task {what}")),
        count => Err(Miss::Broken(format!(
            "saw {count} results of the task {what}, the last: {}; expected one",
            results[count - 1].body
        ))),
    }
}

/// A worker may tell what it remembers; what it has run anew differs, at least in its costs.
fn twice(play: &Play) -> Outcome {
    let Some(task) = play.given("twice") else {
        return Err(unseen("no task came twice"));
    };
    let told = |seen: Seen| {
        let mut body = seen.body;
        if let Some(members) = body.as_object_mut() {
            members.retain(|name, _| !STAMPS.contains(&name.as_str()));
        }
        body
    };
    let results: Vec<Value> = results_of(play, &task).into_iter().map(told).collect();
    let Some(first) = results.first() else {
        return Err(unseen("no result of the task that came twice"));
    };
    match results.iter().find(|result| *result != first) {
        Some(other) => Err(broken(
            format!("two different results of it, {first} and {other}"),
            "one, or the same again",
        )),
        None => Ok(format!("{} results, all the same", results.len())),
    }
}

fn ignored(play: &Play) -> Outcome {
    expect_one(play, play.given("ignored"), "whose result was ignored")
}
