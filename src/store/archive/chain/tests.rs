//! What is hashed is canonical JSON, however it is written.

use serde_json::json;

use super::*;
use crate::domain::Object;

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

#[test]
fn an_event_is_written_as_canonical_json() {
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
    for event in [bare(), full, with_details] {
        let value = serde_json::to_value(&event).expect("an event is JSON");
        let expected = String::from_utf8(to_wire_bytes(&value)).expect("UTF-8");
        assert_eq!(canonical(&event), expected);
    }
}
