//! The bytes of every request, written without detours, and the few members of answers that count.

use std::borrow::Cow;
use std::io::Write as _;
use std::net::SocketAddr;

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::workload::{SKILL, Workload};
use crate::base::{Secret, Timestamp, crypto};
use crate::protocol::{WireError, headers, seal, to_wire_bytes};

/// Writing into memory cannot fail.
const INTO_MEMORY: &str = "writing into memory does not fail";

/// Seconds that a poll asks to be held.
pub const POLL_S: u32 = 30;

/// Where the orchestrators are, and who the players are.
pub struct Wire {
    /// Where connections go, at least one; the players are spread over them.
    pub addresses: Vec<SocketAddr>,
    /// For the `Host` header.
    pub host: String,
    /// What stands before a client's paths.
    pub mount: String,
    /// The client's.
    pub client_token: Secret,
    /// Every worker's.
    pub worker_token: Secret,
    /// Tells this run's jobs from others'.
    pub run: u64,
    /// What each job does.
    pub workload: Workload,
    /// Travels in every job, task and result.
    pub payload: String,
}

/// A task, as far as the bench reads it.
#[expect(clippy::struct_field_names, reason = "the names are the wire's")]
#[derive(Debug, Deserialize)]
pub struct Task<'a> {
    /// Whose it is; the child's where there is one.
    #[serde(borrow)]
    pub job_id: Cow<'a, str>,
    /// The attempt.
    #[serde(borrow)]
    pub task_id: Cow<'a, str>,
    /// What the blueprint passed on.
    #[serde(default)]
    pub params: TaskParams,
}

impl Task<'_> {
    /// Returns the task apart from the bytes that it was read from.
    #[must_use]
    pub fn into_owned(self) -> Task<'static> {
        Task {
            job_id: Cow::Owned(self.job_id.into_owned()),
            task_id: Cow::Owned(self.task_id.into_owned()),
            params: self.params,
        }
    }
}

/// The members by which a task finds its job.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
pub struct TaskParams {
    /// The run.
    #[serde(default)]
    pub run: u64,
    /// The job's number in it.
    #[serde(default)]
    pub n: u64,
    /// Which of the job's tasks.
    #[serde(default)]
    pub step: u64,
}

/// The answer to a request for a job.
#[derive(Debug, Deserialize)]
pub struct Created {
    /// The new job.
    pub job_id: Uuid,
}

/// An answer of which only the status counts: of a result, or of a job.
#[derive(Debug, Deserialize)]
pub struct Status<'a> {
    /// `accepted`, `ignored`, or a job's.
    #[serde(borrow)]
    pub status: Cow<'a, str>,
}

impl Wire {
    /// Returns whom the player of a number speaks to.
    #[must_use]
    pub fn address(&self, player: u32) -> SocketAddr {
        self.addresses[player as usize % self.addresses.len()]
    }

    /// Writes the request for a job.
    pub fn create(&self, out: &mut Vec<u8>, body: &mut Vec<u8>, number: u64) {
        body.clear();
        write!(
            body,
            r#"{{"initial_data":{{"n":{number},"payload":"{}","run":{},"width":{}}}}}"#,
            self.payload,
            self.run,
            self.workload.tasks(),
        )
        .expect(INTO_MEMORY);
        let path = format_args!("{}/jobs/{}", self.mount, self.workload.blueprint());
        self.client(out, "POST", path, Some(body));
    }

    /// Writes the request for a job's status.
    pub fn show(&self, out: &mut Vec<u8>, id: Uuid) {
        let path = format_args!("{}/jobs/{id}", self.mount);
        self.client(out, "GET", path, None);
    }

    /// Writes the question whether anybody is there.
    pub fn alive(&self, out: &mut Vec<u8>) {
        self.client(out, "GET", format_args!("/_public/status"), None);
    }

    fn client(
        &self,
        out: &mut Vec<u8>,
        method: &str,
        path: std::fmt::Arguments<'_>,
        body: Option<&[u8]>,
    ) {
        out.clear();
        write!(
            out,
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nx-client-token: {}\r\n",
            self.host,
            self.client_token.expose(),
        )
        .expect(INTO_MEMORY);
        finish(out, body);
    }

    /// Writes a worker's registration, signed.
    pub fn register(
        &self,
        out: &mut Vec<u8>,
        worker: &str,
        skill: &str,
        now: Timestamp,
    ) -> Result<(), WireError> {
        let message = json!({
            "worker_id": worker,
            "worker_type": "bench",
            "supported_skills": [{"name": skill, "type": skill}],
            "available_skills": [skill],
            "skills_hash": skill,
            "timestamp": now.as_secs(),
        });
        self.signed(out, ("POST", headers::REGISTER_PATH), worker, message)
    }

    /// Writes a worker's goodbye, signed: what would be given to it goes to others then.
    pub fn goodbye(
        &self,
        out: &mut Vec<u8>,
        worker: &str,
        now: Timestamp,
    ) -> Result<(), WireError> {
        let message = json!({
            "worker_id": worker,
            "status": "offline",
            "current_tasks": [],
            "timestamp": now.as_secs(),
        });
        let path = headers::heartbeat_path(worker);
        self.signed(out, ("PATCH", &path), worker, message)
    }

    fn signed(
        &self,
        out: &mut Vec<u8>,
        to: (&str, &str),
        worker: &str,
        message: Value,
    ) -> Result<(), WireError> {
        let Value::Object(mut message) = message else {
            unreachable!("every message is an object");
        };
        seal(&mut message, self.worker_token.expose(), worker, &[])?;
        let body = to_wire_bytes(&Value::Object(message));
        self.worker(out, to, worker, Some(&body));
        Ok(())
    }

    /// Writes a worker's question for work, to be held open for so many seconds.
    pub fn poll(&self, out: &mut Vec<u8>, worker: &str, seconds: f64) {
        let path = format!("{}?timeout={seconds}", headers::next_task_path(worker));
        self.worker(out, ("GET", &path), worker, None);
    }

    /// Writes a worker's sign of life, signed, with what the original's worker says when nothing has
    /// changed.
    pub fn beat(
        &self,
        out: &mut Vec<u8>,
        (worker, skill): (&str, &str),
        now: Timestamp,
    ) -> Result<(), WireError> {
        let message = json!({
            "worker_id": worker,
            "status": "idle",
            "current_tasks": [],
            "available_skills": [skill],
            "skills_hash": skill,
            "timestamp": now.as_secs(),
        });
        let path = headers::heartbeat_path(worker);
        self.signed(out, ("PATCH", &path), worker, message)
    }

    /// Writes a task's result, signed. `again` counts the tries after the first.
    ///
    /// The members are written in their canonical order, so the signature is made over the bytes
    /// as they go out.
    pub fn result(
        &self,
        out: &mut Vec<u8>,
        task: &Task<'_>,
        (worker, now): (&str, Timestamp),
        again: u32,
    ) {
        let mut body = Vec::with_capacity(320 + self.payload.len());
        body.extend_from_slice(b"{\"data\":{");
        if !self.payload.is_empty() {
            write!(body, r#""payload":"{}""#, self.payload).expect(INTO_MEMORY);
        }
        body.extend_from_slice(b"},\"job_id\":");
        serde_json::to_writer(&mut body, &task.job_id).expect(INTO_MEMORY);
        if again > 0 {
            // The same bytes must not be sent twice.
            body.extend_from_slice(b",\"nonce\":");
            let nonce = format!("{}-{again}", task.task_id);
            serde_json::to_writer(&mut body, &nonce).expect(INTO_MEMORY);
        }
        body.extend_from_slice(b",\"task_id\":");
        serde_json::to_writer(&mut body, &task.task_id).expect(INTO_MEMORY);
        let seconds = now.as_secs();
        write!(body, r#","timestamp":{seconds},"worker_id":"{worker}"}}"#).expect(INTO_MEMORY);
        let signature = crypto::hmac_sha256(self.worker_token.expose().as_bytes(), &body);
        body.pop();
        write!(
            body,
            r#","security":{{"signature":"{}","signer_id":"{worker}"}}}}"#,
            crypto::hex(&signature),
        )
        .expect(INTO_MEMORY);
        self.worker(out, ("POST", headers::RESULT_PATH), worker, Some(&body));
    }

    fn worker(
        &self,
        out: &mut Vec<u8>,
        (method, path): (&str, &str),
        worker: &str,
        body: Option<&[u8]>,
    ) {
        out.clear();
        write!(
            out,
            "{method} {path} HTTP/1.1\r\nhost: {}\r\n{}: {}\r\n{}: {worker}\r\n",
            self.host,
            headers::WORKER_TOKEN,
            self.worker_token.expose(),
            headers::WORKER_ID,
        )
        .expect(INTO_MEMORY);
        finish(out, body);
    }
}

/// Ends a head, with the body's length when there is one.
fn finish(out: &mut Vec<u8>, body: Option<&[u8]>) {
    let Some(body) = body else {
        out.extend_from_slice(b"\r\n");
        return;
    };
    write!(
        out,
        "content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .expect(INTO_MEMORY);
    out.extend_from_slice(body);
}

/// Returns the id of one of this run's workers.
#[must_use]
pub fn worker_id(run: u64, kind: &str, index: u32) -> String {
    format!("{SKILL}-{run:x}-{kind}{index}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{parse_json, sign};

    fn wire() -> Wire {
        Wire {
            addresses: vec!["127.0.0.1:1".parse().unwrap()],
            host: "here:1".to_owned(),
            mount: "/api/v1".to_owned(),
            client_token: Secret::new("c"),
            worker_token: Secret::new("w"),
            run: 7,
            workload: Workload::Fan10,
            payload: "xx".to_owned(),
        }
    }

    /// Splits a request and compares the length that it states.
    fn parts(request: &[u8]) -> (String, Value) {
        let text = String::from_utf8(request.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("content-length: {}", body.len())),
            "{head}"
        );
        (head.to_owned(), parse_json(body.as_bytes()).unwrap())
    }

    #[test]
    fn a_job() {
        let mut out = Vec::new();
        wire().create(&mut out, &mut Vec::new(), 3);
        let (head, body) = parts(&out);
        assert!(head.starts_with("POST /api/v1/jobs/bench_fan HTTP/1.1\r\nhost: here:1\r\n"));
        assert!(head.contains("\r\nx-client-token: c"));
        let data = json!({"n": 3, "payload": "xx", "run": 7, "width": 10});
        assert_eq!(body, json!({"initial_data": data}));
    }

    /// Signed by hand, the result must be what the protocol's own signature is of.
    #[test]
    fn results_are_signed_as_the_protocol_has_it() {
        for (again, payload) in [(0, ""), (0, "abc"), (2, "abc")] {
            let mut wire = wire();
            payload.clone_into(&mut wire.payload);
            let task = r#"{"job_id":"j\"1","task_id":"t","type":"bench","params":{"n":5,"run":7}}"#;
            let task: Task<'_> = serde_json::from_str(task).unwrap();
            let mut out = Vec::new();
            wire.result(&mut out, &task, ("w1", Timestamp(9_000)), again);
            let (_, body) = parts(&out);
            assert_eq!(body["job_id"], "j\"1");
            assert_eq!(body["timestamp"], 9);
            assert_eq!(body["nonce"].is_string(), again > 0);
            let signature = body["security"]["signature"].as_str().unwrap();
            assert!(sign::verify(&body, "w", &[], signature), "{body}");
        }
    }

    #[test]
    fn coming_and_going_are_signed() {
        let (wire, now) = (wire(), Timestamp(9_000));
        let [mut first, mut beat, mut last] = [const { Vec::new() }; 3];
        wire.register(&mut first, "w1", SKILL, now).unwrap();
        wire.beat(&mut beat, ("w1", SKILL), now).unwrap();
        wire.goodbye(&mut last, "w1", now).unwrap();
        for request in [first, beat, last] {
            let (_, body) = parts(&request);
            let signature = body["security"]["signature"].as_str().unwrap();
            assert!(sign::verify(&body, "w", &[], signature), "{body}");
        }
    }
}
