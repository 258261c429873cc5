//! The endpoints and the form of their answers. Source: wire-protocol §1, §2, §4.

use std::sync::PoisonError;

use serde_json::{Value, json};

use super::super::report::{Outcome, broken, unseen};
use super::expect::{expect_status, json_of, told};
use super::stage::{Answered, Stage};
use super::{Check, check};
use crate::net::{HttpAnswer, Method};
use crate::protocol::headers::{REGISTER_PATH, RXON_VERSION};

/// What is looked at while the other checks are still to come.
pub(super) const FIRST: [Check; 7] = [
    check(
        (
            "O-01",
            "§8.1",
            "a registration is answered 200 with status `registered`",
        ),
        |stage| Box::pin(registers(stage)),
    ),
    check(
        (
            "O-02",
            "§8.2",
            "a heartbeat is answered `ok`, an empty one `ttl_refreshed`",
        ),
        |stage| Box::pin(beats(stage)),
    ),
    check(
        (
            "O-03",
            "§13.1.1",
            "a poll that brings nothing is answered 204 without a body",
        ),
        |stage| Box::pin(polls(stage)),
    ),
    check(
        (
            "O-06",
            "§1.1",
            "a body that is not JSON is answered 400 with a JSON `error`",
        ),
        |stage| Box::pin(refuses_garbage(stage)),
    ),
    check(
        (
            "O-08",
            "§2",
            "a worker of another protocol version is let in and warned",
        ),
        |stage| Box::pin(takes_other_versions(stage)),
    ),
    check(
        (
            "O-09",
            "§13.1.2",
            "a registration of nothing but the worker's id is accepted",
        ),
        |stage| Box::pin(takes_the_least(stage)),
    ),
    check(
        ("O-10", "§4", "a member that is null counts as missing"),
        |stage| Box::pin(takes_nulls(stage)),
    ),
];

/// What is judged from all answers of the run.
pub(super) const LAST: [Check; 3] = [
    check(
        ("O-04", "§13.1.1", "every answer of 200 is JSON and says so"),
        |stage| Box::pin(async { all_json(stage) }),
    ),
    check(
        (
            "O-05",
            "§4",
            "answers have sorted keys, no null members, no spaces",
        ),
        |stage| Box::pin(async { all_normal(stage) }),
    ),
    check(
        (
            "O-07",
            "§2",
            "answers name the protocol version in X-RXON-Version",
        ),
        |stage| Box::pin(async { all_versioned(stage) }),
    ),
];

async fn registers(stage: &Stage) -> Outcome {
    let answer = stage.register().await?;
    let body = json_of(&answer)?;
    if body["status"] == "registered" {
        Ok(told(&answer))
    } else {
        Err(broken(told(&answer), "`status`: `registered`"))
    }
}

async fn beats(stage: &Stage) -> Outcome {
    stage.register().await?;
    let full = stage.beat("idle", Value::Null).await?;
    says_status(&full, "ok")?;
    let empty = stage.send_beat(Vec::new()).await?;
    says_status(&empty, "ttl_refreshed")?;
    Ok(format!("{}, then {}", told(&full), told(&empty)))
}

fn says_status(answer: &HttpAnswer, status: &str) -> Outcome {
    expect_status(answer, 200, "the heartbeat")?;
    if json_of(answer)?["status"] == status {
        Ok(told(answer))
    } else {
        Err(broken(told(answer), &format!("`status`: `{status}`")))
    }
}

async fn polls(stage: &Stage) -> Outcome {
    stage.register().await?;
    stage.beat("idle", Value::Null).await?;
    let answer = stage.poll(1).await?;
    expect_status(&answer, 204, "the poll")?;
    match answer.header("content-type") {
        _ if !answer.body.is_empty() => Err(broken(told(&answer), "no body")),
        Some(kind) => Err(broken(format!("204 with Content-Type {kind}"), "none")),
        None => Ok("204 without a body".to_owned()),
    }
}

async fn refuses_garbage(stage: &Stage) -> Outcome {
    let ask = stage.ask(
        Method::Post,
        REGISTER_PATH,
        Some(b"{\"worker_id\": ".to_vec()),
    );
    let answer = stage.call(ask).await?;
    expect_status(&answer, 400, "half an object")?;
    if json_of(&answer)?["error"].is_string() {
        Ok(told(&answer))
    } else {
        Err(broken(told(&answer), "a JSON object with `error`"))
    }
}

async fn takes_other_versions(stage: &Stage) -> Outcome {
    let body = stage.sealed(json!({"supported_skills": [{"name": stage.skill}]}));
    let mut ask = stage.ask(Method::Post, REGISTER_PATH, Some(body));
    ask.headers = &[(RXON_VERSION, "0.0b1")];
    let answer = stage.call(ask).await?;
    expect_status(&answer, 200, "a worker of version 0.0b1")?;
    if json_of(&answer)?["warning"].is_string() {
        Ok(told(&answer))
    } else {
        Err(broken(told(&answer), "a `warning`"))
    }
}

async fn takes_the_least(stage: &Stage) -> Outcome {
    let ask = stage.ask(Method::Post, REGISTER_PATH, Some(stage.sealed(json!({}))));
    let answer = stage.call(ask).await?;
    expect_status(&answer, 200, "a registration of nothing but the id")?;
    Ok(told(&answer))
}

async fn takes_nulls(stage: &Stage) -> Outcome {
    // The signature does not cover nulls, the body has them: written by hand.
    let mut body = stage.sealed(json!({}));
    let members: &[u8] = b",\"skills_hash\":null,\"resources\":null,\"supported_skills\":null}";
    body.pop();
    body.extend_from_slice(members);
    let answer = stage
        .call(stage.ask(Method::Post, REGISTER_PATH, Some(body)))
        .await?;
    expect_status(&answer, 200, "a registration with null members")?;
    Ok(told(&answer))
}

/// Returns the answers that carry a body.
fn bodies(stage: &Stage) -> Vec<Answered> {
    let log = stage.log.lock().unwrap_or_else(PoisonError::into_inner);
    let with_body = log.iter().filter(|one| !one.answer.body.is_empty());
    with_body.cloned().collect()
}

fn all_json(stage: &Stage) -> Outcome {
    let answers = bodies(stage);
    for Answered { to, answer } in answers.iter().filter(|one| one.answer.status == 200) {
        let kind = answer.header("content-type").unwrap_or("none");
        if !kind.starts_with("application/json") {
            return Err(broken(
                format!("{to}: Content-Type {kind}"),
                "application/json",
            ));
        }
        json_of(answer)?;
    }
    Ok(format!("{} answers", answers.len()))
}

fn all_normal(stage: &Stage) -> Outcome {
    let answers = bodies(stage);
    for Answered { to, answer } in answers.iter().filter(|one| one.answer.status == 200) {
        let Ok(text) = std::str::from_utf8(&answer.body) else {
            return Err(broken(format!("{to}: bytes that are no UTF-8"), "UTF-8"));
        };
        let Ok(value) = serde_json::from_str::<Value>(text) else {
            continue;
        };
        if let Some(fault) = abnormal(&value) {
            return Err(broken(format!("{to}: {fault} in {text}"), "none"));
        }
        if has_space(text) {
            return Err(broken(format!("{to}: spaces in {text}"), "a compact text"));
        }
    }
    Ok(format!("{} answers", answers.len()))
}

/// Names what a value of an answer should not have.
fn abnormal(value: &Value) -> Option<String> {
    match value {
        Value::Array(items) => items.iter().find_map(abnormal),
        Value::Object(members) => {
            if !members.keys().is_sorted() {
                return Some("keys out of order".to_owned());
            }
            let null = members.iter().find(|(_, value)| value.is_null());
            null.map(|(name, _)| format!("`{name}`: null"))
                .or_else(|| members.values().find_map(abnormal))
        }
        _ => None,
    }
}

/// Tells whether there is white space outside strings.
fn has_space(text: &str) -> bool {
    let (mut in_string, mut is_escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => in_string = !in_string,
            b' ' | b'\n' | b'\r' | b'\t' if !in_string => return true,
            _ => {}
        }
    }
    false
}

fn all_versioned(stage: &Stage) -> Outcome {
    let log = stage.log.lock().unwrap_or_else(PoisonError::into_inner);
    let good = log
        .iter()
        .filter(|one| matches!(one.answer.status, 200 | 204));
    let mut count = 0;
    for Answered { to, answer } in good {
        count += 1;
        if answer.header(RXON_VERSION).is_none() {
            return Err(broken(
                format!("{to}: {} without it", answer.status),
                "the header",
            ));
        }
    }
    if count == 0 {
        return Err(unseen("nothing was answered well"));
    }
    Ok(format!("{count} answers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_normal_is_named() {
        for (value, fault) in [
            (json!({"a": [null], "b": {"c": 1}}), None),
            (json!({"b": 1, "a": 2}), Some("keys out of order")),
            (json!([{"a": {"b": null}}]), Some("`b`: null")),
        ] {
            assert_eq!(abnormal(&value).as_deref(), fault, "{value}");
        }
        for (text, spaced) in [
            (r#"{"a b":"c \" d"}"#, false),
            (r#"{"a": 1}"#, true),
            ("[1,\n2]", true),
        ] {
            assert_eq!(has_space(text), spaced, "{text}");
        }
    }
}
