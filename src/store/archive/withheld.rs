//! What is kept of an event or a job whose content an archive's server refuses for good: that it
//! happened, when and to whom, without what it says. Every server takes it, or it takes nothing.

use std::sync::Arc;

use serde_json::{Value, json};

use super::JobSummary;
use crate::domain::{ClientRef, Event, Job, JobError, Object};
use crate::store::JobText;

/// Stands where the content stood.
pub const MARK: &str = "withheld";
/// The longest name that is kept, in characters.
const NAME_MAX: usize = 256;
const REASON: &str = "the history's server refuses this content";

/// Returns an event without its details, and its names in ASCII.
#[must_use]
pub fn event(event: &Event) -> Event {
    let mut details = Object::new();
    details.insert(MARK.to_owned(), REASON.into());
    Event {
        client: ascii(event.client.as_str()).into(),
        state: ascii(&event.state),
        previous_state: event.previous_state.as_deref().map(ascii),
        next_state: event.next_state.as_deref().map(ascii),
        details,
        ..event.clone()
    }
}

/// Returns a job without what was given to it, what it has gathered and what it was labelled with. How
/// and when it ended stays.
#[must_use]
pub fn job(job: &JobText) -> JobText {
    // What was written as a job is read as one.
    let record = job
        .body
        .as_ref()
        .map(|body| serde_json::from_slice::<Job>(body.as_bytes()));
    if let Some(Ok(record)) = record {
        return JobText::of(&bare(&record));
    }
    let summary = &job.summary;
    JobText {
        summary: JobSummary {
            client: ascii(summary.client.as_str()).into(),
            state: ascii(&summary.state),
            labels: std::collections::BTreeMap::new(),
            error: summary.error.as_ref().map(without_words),
            ..summary.clone()
        },
        body: None,
        ..job.clone()
    }
}

fn without_words(error: &JobError) -> JobError {
    JobError {
        code: ascii(&error.code),
        message: REASON.to_owned(),
        state: error.state.as_deref().map(ascii),
    }
}

fn bare(job: &Job) -> Job {
    let mark: Value = json!({MARK: REASON});
    Job {
        client: ClientRef {
            id: ascii(job.client.id.as_str()).into(),
            plan: ascii(&job.client.plan),
            params: Object::new(),
        },
        state: ascii(&job.state),
        waiting: None,
        initial_data: Arc::new(mark.clone()),
        state_history: Object::new(),
        aggregation_results: None,
        result: job.result.as_ref().map(|_| mark),
        error: job.error.as_ref().map(without_words),
        progress_message: None,
        webhook_url: None,
        policy: None,
        security: None,
        metadata: None,
        data_metadata: None,
        labels: std::collections::BTreeMap::new(),
        tracing_context: std::collections::BTreeMap::new(),
        failed_state: job.failed_state.as_deref().map(ascii),
        ..job.clone()
    }
}

/// Puts a question mark for each character that not every server has, and ends the text where it would
/// be too long for an index.
fn ascii(text: &str) -> String {
    let plain = |c: char| match c {
        ' ' | '!'..='~' => c,
        _ => '?',
    };
    text.chars().take(NAME_MAX).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_as_far_as_every_server_has_them() {
        for (text, told) in [
            ("first_2", "first_2"),
            ("größe", "gr??e"),
            ("a b\0", "a b?"),
            (&"x".repeat(9_000), &"x".repeat(NAME_MAX)),
        ] {
            assert_eq!(ascii(text), told);
        }
    }
}
