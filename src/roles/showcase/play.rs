//! What scenarios do: start a job, follow it, look at it, act on it. All of it over HTTP.

use std::sync::PoisonError;

use serde_json::{Value, json};

use super::stage::Stage;
use crate::roles::exit::{Exit, Failure};
use crate::roles::submit::{Ended, Follower};

/// What a scenario came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// What should happen.
    pub expected: String,
    /// What did.
    pub actual: String,
    /// Anything worth telling besides.
    pub note: String,
}

impl Seen {
    /// Compares what should happen with what did.
    pub fn new(expected: &str, actual: impl Into<String>) -> Self {
        Self {
            expected: expected.to_owned(),
            actual: actual.into(),
            note: String::new(),
        }
    }

    /// Adds a note.
    pub fn note(self, note: impl Into<String>) -> Self {
        Self {
            note: note.into(),
            ..self
        }
    }
}

pub(super) type Played = Result<Seen, Failure>;

impl Stage {
    /// Starts the showcase's job with an input.
    pub async fn start(&self, input: Value) -> Result<String, Failure> {
        let path = self.remote.below("/jobs/full_showcase");
        let body = json!({ "initial_data": input, "webhook_url": self.stack.sink_url });
        let created = self
            .remote
            .post_with_key(&path, &body, &self.key())
            .await?
            .body;
        let Some(id) = created["job_id"].as_str() else {
            return Err(Failure::internal(format!("no job in {created}")));
        };
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.push(id.to_owned());
        Ok(id.to_owned())
    }

    /// Follows a job to its end, with progress bars on a terminal.
    pub async fn end_of(&self, id: &str) -> Result<Ended, Failure> {
        Follower::new(&self.remote, id, self.printer.progress())
            .follow()
            .await
    }

    /// Starts a job and follows it: `finished`, or `failed: <last state>`.
    pub async fn play(&self, input: Value) -> Result<(String, Ended), Failure> {
        let id = self.start(input).await?;
        let ended = self.end_of(&id).await?;
        Ok((outcome(&ended), ended))
    }

    /// Returns a job's history, whole.
    pub async fn history(&self, id: &str) -> Result<Vec<Value>, Failure> {
        let reply = self
            .remote
            .get(&format!("/jobs/{id}/history?limit=1000"))
            .await?;
        reply
            .body
            .as_array()
            .cloned()
            .ok_or_else(|| Failure::internal("the history is no list"))
    }

    /// Waits until an event of the job's fits, reading its stream from the beginning.
    pub async fn wait_for(
        &self,
        id: &str,
        fits: impl Fn(&Value) -> bool,
    ) -> Result<Value, Failure> {
        let path = format!("/jobs/{id}/events");
        let stream = self.remote.events(&path, None).await?;
        let mut stream =
            stream.ok_or_else(|| Failure::new(Exit::Internal, "there is no event stream"))?;
        while let Some(event) = stream.next().await {
            let event = event.map_err(|error| Failure::internal(error.to_string()))?;
            let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
            if fits(&data) {
                return Ok(data);
            }
        }
        Err(Failure::internal(
            "the job ended without what was waited for",
        ))
    }
}

/// Returns how a job ended, with the state it ended in unless that says the same.
pub(super) fn outcome(ended: &Ended) -> String {
    let state = ended.job["current_state"].as_str().unwrap_or_default();
    if ended.status == state || state.is_empty() {
        ended.status.clone()
    } else {
        format!("{}: {state}", ended.status)
    }
}

/// Counts a history's events of a type.
pub(super) fn count(history: &[Value], event_type: &str) -> usize {
    history
        .iter()
        .filter(|event| event["event_type"] == event_type)
        .count()
}

/// Returns the worker that ended the job's first task of a state.
pub(super) fn worker_in(history: &[Value], state: &str) -> Option<String> {
    history
        .iter()
        .filter(|event| event["event_type"] == "task_finished" && event["state"] == state)
        .find_map(|event| event["worker_id"].as_str().map(str::to_owned))
}
