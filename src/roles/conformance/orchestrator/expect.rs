//! What is expected of one answer.

use serde_json::Value;

use super::super::report::{Miss, broken};
use crate::net::HttpAnswer;
use crate::protocol::parse_json;

/// Reads an answer's JSON; an empty body is `null`.
pub fn json_of(answer: &HttpAnswer) -> Result<Value, Miss> {
    if answer.body.is_empty() {
        return Ok(Value::Null);
    }
    parse_json(&answer.body).map_err(|error| broken(format!("{}: {error}", told(answer)), "JSON"))
}

/// Returns status and body of an answer, for evidence.
pub fn told(answer: &HttpAnswer) -> String {
    let body = String::from_utf8_lossy(&answer.body);
    format!("{} {body}", answer.status).trim_end().to_owned()
}

/// Refuses an answer of another status.
pub fn expect_status(answer: &HttpAnswer, status: u16, what: &str) -> Result<(), Miss> {
    if answer.status == status {
        Ok(())
    } else {
        Err(broken(
            format!("{what} answered {}", told(answer)),
            &status.to_string(),
        ))
    }
}

/// Refuses an answer that is no refusal of the caller's right: 401 or 403.
pub fn expect_refusal(answer: &HttpAnswer, what: &str) -> Result<(), Miss> {
    if matches!(answer.status, 401 | 403) {
        Ok(())
    } else {
        Err(broken(
            format!("{what} answered {}", told(answer)),
            "401 or 403",
        ))
    }
}

/// Refuses an answer that hands out a task. `200` with `null` or `{}` says the same as 204.
pub fn expect_no_task(answer: &HttpAnswer, what: &str) -> Result<(), Miss> {
    let is_nothing = match json_of(answer)? {
        Value::Null => true,
        Value::Object(members) => members.is_empty(),
        _ => false,
    };
    if matches!(answer.status, 200 | 204) && is_nothing {
        Ok(())
    } else {
        Err(broken(
            format!("{what} answered {}", told(answer)),
            "no task",
        ))
    }
}
