//! Between records and what the scripts keep: bodies as JSON, and beside them the few fields that
//! scripts look at or change.

use std::collections::HashMap;
use std::sync::Arc;

use fred::types::Value;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::RedisStore;
use super::seal::Seal;
use crate::base::{JobId, Timestamp};
use crate::domain::task::Answer;
use crate::domain::{Job, Lease, Object, Task, TaskStatus};
use crate::store::StoreError;
use crate::store::given::{Given, given, rest};
use crate::store::partial::Part;

/// What an ended task loses: its parameters and what travels with them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Parameters {
    params: Object,
    params_metadata: Option<Object>,
    security: Option<Json>,
    metadata: Option<Object>,
}

fn is_parameter(name: &str) -> bool {
    matches!(name, "params" | "params_metadata" | "security" | "metadata")
}

/// Returns a task's place among those of its job: in order of visit, branch (none first), attempt.
pub(super) fn place(task: &Task) -> String {
    let visit_and_branch = branch_place(task.visit, task.branch.map_or(0, |branch| branch + 1));
    format!(
        "{visit_and_branch}{}:{}",
        ordered(task.ordinal.into()),
        task.id
    )
}

/// Returns where a visit's branch begins; 0 is the task without a branch, 1 the first branch.
pub(super) fn branch_place(visit: u64, branch: u32) -> String {
    format!("{}{}", ordered(visit), ordered(branch.into()))
}

/// Writes a number so that texts are in the order of numbers and none is the beginning of another.
pub(super) fn ordered(number: u64) -> String {
    if number == 0 {
        return "a".to_owned();
    }
    let digits = format!("{number:x}");
    let length = u8::try_from(digits.len()).expect("sixteen digits at most");
    format!("{}{digits}", char::from(b'a' + length))
}

/// Reads a number that [`ordered`] wrote, from the front of a text.
pub(super) fn read_ordered(text: &[u8]) -> Option<(u64, &[u8])> {
    let (&first, rest) = text.split_first()?;
    let length = usize::from(first.checked_sub(b'a')?);
    if length == 0 {
        return Some((0, rest));
    }
    let digits = std::str::from_utf8(rest.get(..length)?).ok()?;
    Some((u64::from_str_radix(digits, 16).ok()?, &rest[length..]))
}

/// Returns a time as scripts have it; nothing is an empty text.
pub(super) fn time(at: Option<Timestamp>) -> Value {
    at.map_or_else(String::new, |at| at.0.to_string()).into()
}

/// Reads a time; one that a script's arithmetic took past the end of time is at its end.
pub(super) fn read_time(bytes: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(bytes).ok()?;
    let exact = text.parse::<i64>().ok();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "saturates, which is what is wanted"
    )]
    exact
        .or_else(|| Some(text.parse::<f64>().ok()? as i64))
        .map(Timestamp)
}

/// Returns the answer's items; nothing is no items.
pub(super) fn items(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        Value::Null => Vec::new(),
        other => vec![other],
    }
}

/// Returns a text or number as bytes; nothing is nothing.
pub(super) fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        Value::Bytes(bytes) => Some(bytes.to_vec()),
        Value::Integer(number) => Some(number.to_string().into_bytes()),
        Value::Double(number) => Some(number.to_string().into_bytes()),
        _ => None,
    }
}

/// Returns a text or number as text.
pub(super) fn text(value: Value) -> Option<String> {
    bytes(value).and_then(|bytes| String::from_utf8(bytes).ok())
}

/// A hash as it was read.
pub(super) struct Fields(HashMap<String, Vec<u8>>);

impl Fields {
    /// Takes a hash's names and values, which alternate; nothing when there is no such hash.
    pub fn of(value: Value) -> Option<Self> {
        let mut fields = HashMap::new();
        let mut items = items(value).into_iter();
        while let (Some(name), Some(value)) = (items.next(), items.next()) {
            if let (Some(name), Some(value)) = (text(name), bytes(value)) {
                fields.insert(name, value);
            }
        }
        (!fields.is_empty()).then_some(Self(fields))
    }

    /// Returns a field.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// Returns a field that has to be there, as text.
    pub fn text(&self, name: &str) -> Result<&str, StoreError> {
        self.get(name)
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .ok_or_else(|| corrupt("record", format!("field `{name}` is missing")))
    }

    /// Returns a field that has to be there, as a time.
    pub fn time(&self, name: &str) -> Result<Timestamp, StoreError> {
        self.get(name)
            .and_then(read_time)
            .ok_or_else(|| corrupt("record", format!("field `{name}` is no time")))
    }
}

/// Returns the error of a record that cannot be read.
pub(super) fn corrupt(what: &str, why: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("a stored {what}: {why}"))
}

impl Seal {
    /// Writes a record's body.
    pub fn encode<T: Serialize + ?Sized>(&self, record: &T) -> Result<Value, StoreError> {
        // Only a map with keys that are not text cannot be written, and no record has one.
        let json = serde_json::to_vec(record)
            .map_err(|error| StoreError::Corrupt(format!("a record cannot be written: {error}")))?;
        Ok(Value::Bytes(self.close(json).into()))
    }

    /// Reads a record's body.
    pub fn decode<T: DeserializeOwned>(&self, body: &[u8], what: &str) -> Result<T, StoreError> {
        let json = self.open(body).map_err(|why| corrupt(what, why))?;
        serde_json::from_slice(&json).map_err(|error| corrupt(what, error))
    }

    /// Writes a job without what it was given.
    pub fn encode_job(&self, job: &Job) -> Result<Value, StoreError> {
        self.encode(&rest(job))
    }

    /// Writes what a job was given.
    pub fn encode_given(&self, job: &Job) -> Result<Value, StoreError> {
        self.encode(&given(job))
    }

    /// Reads a job from its two parts; nothing when there is no such job.
    pub fn decode_job(&self, id: JobId, parts: Value) -> Result<Option<Job>, StoreError> {
        let mut parts = items(parts).into_iter();
        let Some(body) = parts.next().and_then(bytes) else {
            return Ok(None);
        };
        let what = format!("job {id}");
        let mut job: Job = self.decode(&body, &what)?;
        let given = parts.next().and_then(bytes);
        let given = given.ok_or_else(|| corrupt(&what, "what it was given is not there"))?;
        self.decode::<Given>(&given, &what)?.give_to(&mut job);
        Ok(Some(job))
    }

    /// Returns a task's fields, names and values alternating.
    pub fn encode_task(&self, task: &Task) -> Result<Vec<Value>, StoreError> {
        let mut fields: Vec<Value> = Vec::with_capacity(26);
        let mut add = |name: &'static str, value: Value| {
            fields.push(name.into());
            fields.push(value);
        };
        let spec = &task.spec;
        add("g", self.encode(&Part(spec.as_ref(), is_parameter))?);
        add("b", self.encode(&without_parameters(task))?);
        add("s", status_text(task.status).into());
        add("qa", time(Some(task.queued_at)));
        add("aa", time(Some(task.available_at)));
        for (name, at) in [("dd", task.dispatch_deadline), ("rd", task.result_deadline)] {
            if at.is_some() {
                add(name, time(at));
            }
        }
        if let Some(lease) = &task.lease {
            add("lw", lease.worker.as_str().into());
            add("li", lease.id.to_string().into());
            for (name, at) in [
                ("ls", lease.since),
                ("lu", lease.until),
                ("ld", lease.deadline),
            ] {
                add(name, time(Some(at)));
            }
        }
        if let Some(report) = &task.report {
            add("r", self.encode(report)?);
        }
        if let Some(answer) = task.answer {
            add("a", answer_text(answer).into());
        }
        Ok(fields)
    }

    /// Reads a task; nothing when there is no such task.
    pub fn decode_task(&self, value: Value) -> Result<Option<Task>, StoreError> {
        let Some(fields) = Fields::of(value) else {
            return Ok(None);
        };
        let body = fields
            .get("b")
            .ok_or_else(|| corrupt("task", "it has no body"))?;
        let mut task: Task = self.decode(body, "task")?;
        let spec = Arc::make_mut(&mut task.spec);
        if let Some(given) = fields.get("g") {
            let given: Parameters = self.decode(given, "task")?;
            spec.params = given.params;
            spec.params_metadata = given.params_metadata;
            spec.security = given.security;
            spec.metadata = given.metadata;
        }
        task.status = read_status(fields.text("s")?)?;
        task.queued_at = fields.time("qa")?;
        task.available_at = fields.time("aa")?;
        task.dispatch_deadline = fields.get("dd").and_then(read_time);
        task.result_deadline = fields.get("rd").and_then(read_time);
        if fields.get("lw").is_some() {
            task.lease = Some(Lease {
                id: fields
                    .text("li")?
                    .parse()
                    .map_err(|e| corrupt("lease", e))?,
                worker: fields.text("lw")?.into(),
                since: fields.time("ls")?,
                until: fields.time("lu")?,
                deadline: fields.time("ld")?,
            });
        }
        if let Some(report) = fields.get("r") {
            task.report = Some(self.decode(report, "report")?);
        }
        if fields.get("a").is_some() {
            let answer = Json::from(fields.text("a")?);
            task.answer = serde_json::from_value(answer).map_err(|e| corrupt("answer", e))?;
        }
        Ok(Some(task))
    }

    /// Reads tasks; those that are not there are left out.
    pub fn decode_tasks(&self, value: Value) -> Result<Vec<Task>, StoreError> {
        items(value)
            .into_iter()
            .filter_map(|task| self.decode_task(task).transpose())
            .collect()
    }
}

impl RedisStore {
    /// Reads tasks among which one may be damaged: it is told and left out, so that it holds up
    /// nobody else's.
    pub(super) fn readable_tasks(&self, value: Value) -> Vec<Task> {
        let tasks = items(value).into_iter();
        let read = tasks.map(|task| self.seal.decode_task(task));
        self.damage.readable(read)
    }
}

/// Returns the task as its body has it: without what has fields of its own.
fn without_parameters(task: &Task) -> Task {
    let mut rest = task.clone();
    let spec = Arc::make_mut(&mut rest.spec);
    spec.params = Object::new();
    spec.params_metadata = None;
    spec.security = None;
    spec.metadata = None;
    rest.dispatch_deadline = None;
    rest.result_deadline = None;
    rest.lease = None;
    rest.report = None;
    rest.answer = None;
    rest
}

const fn status_text(status: TaskStatus) -> &'static str {
    match status {
        TaskStatus::Held => "h",
        TaskStatus::Queued => "q",
        TaskStatus::Leased => "l",
        TaskStatus::Ended => "e",
    }
}

fn read_status(text: &str) -> Result<TaskStatus, StoreError> {
    Ok(match text {
        "h" => TaskStatus::Held,
        "q" => TaskStatus::Queued,
        "l" => TaskStatus::Leased,
        "e" => TaskStatus::Ended,
        other => return Err(corrupt("task", format!("no status `{other}`"))),
    })
}

/// Returns an answer's text.
pub(super) fn answer_text(answer: Answer) -> String {
    match serde_json::to_value(answer) {
        Ok(Json::String(text)) => text,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordered_numbers_are_in_order_and_can_be_read() {
        let numbers = [
            0,
            1,
            9,
            15,
            16,
            255,
            256,
            65_536,
            u64::from(u32::MAX),
            u64::MAX,
        ];
        let texts = numbers.map(ordered);
        assert!(texts.is_sorted(), "{texts:?}");
        for (number, text) in numbers.into_iter().zip(&texts) {
            let rest = format!("{text}:x");
            assert_eq!(read_ordered(rest.as_bytes()), Some((number, &b":x"[..])));
        }
        for bad in ["", "b", "bz", "zz"] {
            assert_eq!(read_ordered(bad.as_bytes()), None, "{bad}");
        }
    }
}
