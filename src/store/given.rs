//! What a job was given and keeps for life: it may be large, so stores keep it apart and write it once.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::partial::Part;
use crate::domain::{Job, Object};

/// The members of a job that never change.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Given {
    initial_data: Arc<Value>,
    policy: Option<Object>,
    labels: BTreeMap<String, String>,
    tracing_context: BTreeMap<String, String>,
}

impl Given {
    /// Completes a job that was written without them.
    pub fn give_to(self, job: &mut Job) {
        job.initial_data = self.initial_data;
        job.policy = self.policy;
        job.labels = self.labels;
        job.tracing_context = self.tracing_context;
    }
}

fn is_given(name: &str) -> bool {
    matches!(
        name,
        "initial_data" | "policy" | "labels" | "tracing_context"
    )
}

/// Returns what the job was given, to be written and read as [`Given`].
pub(super) fn given(job: &Job) -> Part<'_, Job> {
    Part(job, is_given)
}

/// Returns the rest of the job, which is what a step writes.
pub(super) fn rest(job: &Job) -> Part<'_, Job> {
    Part(job, |name| !is_given(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::base::{JobId, Timestamp};

    #[test]
    fn the_two_parts_are_the_job() {
        let mut job = json!({
            "id": JobId::from_parts(Timestamp(0), [7; 10]), "revision": 1,
            "blueprint": "b", "blueprint_revision": "1", "client": {"id": "acme", "plan": "free"},
            "status": "running", "state": "start", "visit": 1, "step": 1, "max_transitions": 9,
            "created_at": 0, "updated_at": 0, "entered_at": 0, "security": {"token": "t"},
        });
        for given in [
            json!({}),
            json!({
                "initial_data": {"n": 1}, "policy": {"allowed_skills": ["s"]},
                "labels": {"a": "b"}, "tracing_context": {"traceparent": "00"},
            }),
        ] {
            job.as_object_mut()
                .expect("it is one")
                .extend(given.as_object().expect("it is one").clone());
            let job: Job = serde_json::from_value(job.clone()).expect("a job");
            let part = |part: Part<'_, Job>| serde_json::to_value(part).expect("plain JSON");
            let (given, rest) = (part(super::given(&job)), part(rest(&job)));
            let names: Vec<_> = given.as_object().expect("it is one").keys().collect();
            assert!(
                names.iter().all(|name| rest.get(name).is_none()),
                "{names:?}"
            );
            let mut read: Job = serde_json::from_value(rest).expect("a job");
            let given: Given = serde_json::from_value(given).expect("what it was given");
            given.give_to(&mut read);
            assert_eq!(read, job);
        }
    }
}
