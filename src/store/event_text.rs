//! Events on their way into an archive, as the text that is stored and hashed there. The commit that
//! records them writes it, and what is brought over soon after is passed on as it is; what has to be
//! read from the store again is written again.

use std::fmt;

use serde::Serialize;
use uuid::Uuid;

use super::StoreError;
use super::text::Text;
use crate::base::{ClientId, JobId, TaskId, Timestamp, WorkerId};
use crate::domain::{Event, EventKind};
use crate::protocol::canonical::write_wire;

/// An event as canonical JSON, and what is looked at on its way.
#[derive(Clone, PartialEq, Eq)]
pub struct EventText {
    /// Its job.
    pub job_id: JobId,
    /// The job's revision that it belongs to.
    pub revision: u64,
    /// Its place among the revision's events.
    pub index: u32,
    /// When it happened.
    pub at: Timestamp,
    /// A part of the text of its commit, which all of them share.
    text: Text,
}

impl EventText {
    /// Writes an event out.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        Self {
            job_id: event.job_id,
            revision: event.revision,
            index: event.index,
            at: event.at,
            text: Text::write(LENGTH_USUAL, |out| canonical(event, out)),
        }
    }

    /// Returns its text, which is what is hashed.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// Returns the canonical JSON: keys sorted, no member that is null, no spaces.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.text.as_str()
    }

    /// Reads the event back.
    ///
    /// Errors: `Corrupt` when it cannot be, which is a fault of what has written it.
    pub fn event(&self) -> Result<Event, StoreError> {
        serde_json::from_slice(self.text.as_bytes()).map_err(|error| {
            let (job, revision, index) = (self.job_id, self.revision, self.index);
            StoreError::Corrupt(format!("event {revision}.{index} of job {job}: {error}"))
        })
    }
}

impl fmt::Debug for EventText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How long an event is, mostly.
const LENGTH_USUAL: usize = 512;

/// An event in the text of its commit: where it ends, and what is looked at on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    index: u32,
    at: Timestamp,
    end: usize,
}

/// Writes a commit's events as one JSON array, and returns it and where each of them is.
pub(super) fn write_out<'a>(
    events: impl Iterator<Item = &'a Event> + Clone,
) -> (Vec<u8>, Vec<Mark>) {
    let mut whole = Vec::with_capacity(LENGTH_USUAL * events.clone().count());
    let mut marks = Vec::with_capacity(8);
    for event in events {
        whole.push(if whole.is_empty() { b'[' } else { b',' });
        canonical(event, &mut whole);
        marks.push(Mark {
            index: event.index,
            at: event.at,
            end: whole.len(),
        });
    }
    whole.push(b']');
    (whole, marks)
}

/// Returns the events of a text that was written out: parts of it.
pub(super) fn texts(
    (job_id, revision): (JobId, u64),
    whole: Text,
    marks: &[Mark],
) -> impl Iterator<Item = EventText> {
    let mut begin = 1;
    marks.iter().map(move |mark| {
        let text = whole.part(begin..mark.end);
        begin = mark.end + 1;
        EventText {
            job_id,
            revision,
            index: mark.index,
            at: mark.at,
            text,
        }
    })
}

/// The members of an event before its details, by their names' order.
#[derive(Serialize)]
struct Front<'a> {
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    client: &'a ClientId,
}

/// The members behind its details.
#[derive(Serialize)]
struct Back<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
    event_id: Uuid,
    event_type: &'a EventKind,
    index: u32,
    job_id: JobId,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_state: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_state: Option<&'a str>,
    revision: u64,
    state: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<&'a TaskId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker_id: Option<&'a WorkerId>,
}

/// Writes the event as canonical JSON. Each event of each job is written so, hence without the tree
/// of values that sorting any members would take; only details have those.
fn canonical(event: &Event, out: &mut Vec<u8>) {
    const TEXTS: &str = "an event's keys are texts";
    let front = Front {
        at: event.at,
        attempt: event.attempt,
        client: &event.client,
    };
    let back = Back {
        duration_ms: event.duration_ms,
        event_id: event.event_id,
        event_type: &event.kind,
        index: event.index,
        job_id: event.job_id,
        next_state: event.next_state.as_deref(),
        previous_state: event.previous_state.as_deref(),
        revision: event.revision,
        state: &event.state,
        task_id: event.task_id.as_ref(),
        worker_id: event.worker_id.as_ref(),
    };
    serde_json::to_writer(&mut *out, &front).expect(TEXTS);
    out.pop();
    if !event.details.is_empty() {
        out.extend_from_slice(b",\"details\":");
        write_wire(&event.details, out);
    }
    let joint = out.len();
    serde_json::to_writer(&mut *out, &back).expect(TEXTS);
    out[joint] = b',';
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::Object;
    use crate::protocol::canonical::to_wire_bytes;

    const NOW: Timestamp = Timestamp(1_795_422_000_000);

    fn bare() -> Event {
        let job_id = JobId::from_parts(NOW, [7; 10]);
        Event {
            event_id: Event::derive_id(job_id, 3, 1),
            job_id,
            client: "acme".into(),
            revision: 3,
            index: 1,
            at: NOW,
            kind: EventKind::JobCreated,
            state: "start".to_owned(),
            previous_state: None,
            next_state: None,
            worker_id: None,
            task_id: None,
            attempt: None,
            duration_ms: None,
            details: Object::new(),
        }
    }

    fn events() -> [Event; 3] {
        let strange = "\u{0}\"\\/\u{7f}é\u{2028}😀";
        let mut details = Object::new();
        details.insert(
            "z".to_owned(),
            json!([{"b": null, "a": 1.0, "é": -0.5}, null]),
        );
        details.insert(strange.to_owned(), json!(strange));
        details.insert("gone".to_owned(), Value::Null);
        let full = Event {
            client: strange.into(),
            state: strange.to_owned(),
            previous_state: Some("a".to_owned()),
            next_state: Some(strange.to_owned()),
            worker_id: Some("w-1".into()),
            task_id: Some(TaskId::new("t-1")),
            attempt: Some(u32::MAX),
            duration_ms: Some(u64::MAX),
            kind: EventKind::WorkerEvent,
            details: details.clone(),
            ..bare()
        };
        let with_details = Event { details, ..bare() };
        [bare(), full, with_details]
    }

    #[test]
    fn an_event_is_written_as_canonical_json() {
        for event in events() {
            let value = serde_json::to_value(&event).expect("an event is JSON");
            let expected = String::from_utf8(to_wire_bytes(&value)).expect("UTF-8");
            let text = EventText::of(&event);
            assert_eq!(text.as_str(), expected);
            let read = text.event().expect("it is an event");
            assert_eq!(EventText::of(&read), text, "{expected}");
        }
    }

    #[test]
    fn events_of_a_commit_are_one_array() {
        let events = events();
        let (whole, marks) = write_out(events.iter());
        let read: Vec<Value> = serde_json::from_slice(&whole).expect("it is an array");
        let commit = (events[0].job_id, events[0].revision);
        let texts: Vec<EventText> = texts(commit, whole.into(), &marks).collect();
        assert_eq!(texts, events.each_ref().map(EventText::of));
        assert_eq!(read.len(), 3);
    }
}
