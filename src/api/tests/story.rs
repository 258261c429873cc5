//! Answers as text, and conversations for snapshots.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use axum::body::Body;
use axum::http::Response;
use http_body_util::BodyExt as _;
use serde_json::Value;

use super::fixture::Api;

/// An answer that has been read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
}

impl Answer {
    pub(super) async fn of(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let headers = parts.headers.iter().map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        });
        let headers = headers.collect();
        let body = body.collect().await.expect("a whole body").to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        Self {
            status: parts.status.as_u16(),
            headers,
            body,
        }
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    /// Returns an error's code.
    pub(super) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// A conversation as text, for a snapshot.
#[derive(Default)]
pub(super) struct Story(pub(super) String);

impl Story {
    /// Sends a request and writes both sides down. Headers that every answer has are left out, and
    /// so are signatures and tokens of the request.
    pub(super) async fn tell(&mut self, api: &Api, text: &str) -> Answer {
        let answer = api.send(text).await;
        for line in text.lines() {
            let line = if line.len() > 300 {
                "(a signed message)"
            } else {
                line
            };
            writeln!(self.0, "> {line}").unwrap();
        }
        writeln!(self.0, "< {}", answer.status).unwrap();
        for (name, value) in &answer.headers {
            let is_common = [
                "x-rxon-version",
                "x-request-id",
                "content-length",
                "cache-control",
                "x-content-type-options",
                "vary",
            ];
            if !is_common.contains(&name.as_str()) && value != "application/json; charset=utf-8" {
                writeln!(self.0, "< {name}: {value}").unwrap();
            }
        }
        writeln!(self.0, "{}\n", pretty(&answer.body)).unwrap();
        answer
    }
}

/// Writes JSON with a member a line, so that snapshots can be read; request ids differ only by
/// how many requests came before.
fn pretty(body: &str) -> String {
    match serde_json::from_str::<Value>(body) {
        Ok(mut value) => {
            if let Some(object) = value.as_object_mut() {
                object.remove("request_id");
            }
            serde_json::to_string_pretty(&value).unwrap_or_default()
        }
        Err(_) => body.to_owned(),
    }
}
