//! What a skill is, and what it may know of the task that it runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::base::crypto;
use crate::domain::Object;
use crate::domain::TaskErrorCode;
use crate::domain::task::{TaskError, status};
use crate::domain::worker::SkillInfo;

/// How a run of a skill ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// `success`, `failure`, `cancelled` or a status that the blueprint knows.
    pub status: String,
    /// The result; an object, as the wire wants it.
    pub data: Option<Object>,
    /// Why it failed.
    pub error: Option<TaskError>,
    /// Files that the data name, by their place in it; empty until they have been stored.
    pub files: Object,
}

impl Outcome {
    /// Returns a success.
    #[must_use]
    pub fn success(data: Object) -> Self {
        Self::status(status::SUCCESS, data)
    }

    /// Returns an end with a status of the blueprint's own.
    #[must_use]
    pub fn status(status: &str, data: Object) -> Self {
        Self {
            status: status.to_owned(),
            data: Some(data),
            error: None,
            files: Object::new(),
        }
    }

    /// Returns a failure.
    #[must_use]
    pub fn failure(code: TaskErrorCode, message: impl Into<String>) -> Self {
        let error = TaskError {
            code: code.as_str().to_owned(),
            message: message.into(),
            details: None,
        };
        Self {
            status: status::FAILURE.to_owned(),
            data: None,
            error: Some(error),
            files: Object::new(),
        }
    }

    /// Returns the end of a task that was stopped on request.
    #[must_use]
    pub fn cancelled() -> Self {
        Self {
            status: status::CANCELLED.to_owned(),
            data: None,
            error: None,
            files: Object::new(),
        }
    }
}

/// Where progress goes.
#[async_trait]
pub(super) trait Progress: Send + Sync {
    /// Sends one event; trouble is the sender's own.
    async fn send(&self, task: &TaskContext, payload: Object);
}

/// The task as its skill sees it.
pub struct TaskContext {
    /// The job.
    pub job_id: String,
    /// This attempt.
    pub task_id: String,
    /// When the orchestrator stops waiting. Units: seconds since the Unix epoch.
    pub deadline: Option<i64>,
    /// Divides simulated durations; 1 is the original's pace.
    pub speed: f64,
    /// Whether chance is switched off for the whole worker.
    pub deterministic: bool,
    /// A folder for the files of this run, which goes with it: those that the parameters named are
    /// in it, and those of it that the data name are stored. None when the worker moves no files.
    pub folder: Option<PathBuf>,
    /// W3C trace context of this run: `traceparent`, `tracestate`, `baggage`.
    pub trace: BTreeMap<String, String>,
    pub(super) cancel: CancellationToken,
    pub(super) progress: Arc<dyn Progress>,
}

impl TaskContext {
    /// Says how far the task is: `share` from 0 to 1.
    pub async fn progress(&self, share: f64, message: &str) {
        let mut payload = Object::new();
        payload.insert("progress".to_owned(), json!(share));
        payload.insert("message".to_owned(), json!(message));
        self.progress.send(self, payload).await;
    }

    /// Completes when the task has been cancelled. A skill need not look: its run is dropped then.
    pub async fn cancelled(&self) {
        self.cancel.cancelled().await;
    }

    /// Waits as long as simulated work takes at the worker's speed.
    pub async fn work(&self, duration: Duration) {
        tokio::time::sleep(duration.div_f64(self.speed)).await;
    }

    /// Returns a share in 0..1 that the task's id decides, so that a run can be repeated.
    #[must_use]
    pub fn chance(&self, label: &str) -> f64 {
        crypto::share(&[label.as_bytes(), self.task_id.as_bytes()])
    }

    /// Tells whether this task asks for no chance, or the whole worker does.
    #[must_use]
    pub fn is_deterministic(&self, params: &Object) -> bool {
        self.deterministic || params.get("deterministic").and_then(Value::as_bool) == Some(true)
    }
}

/// Something that a worker can do.
#[async_trait]
pub trait Skill: Send + Sync + 'static {
    /// Describes the skill; its name must be an identifier.
    fn info(&self) -> SkillInfo;

    /// Does the work. Dropping the run stops it; a panic fails the task only.
    async fn run(&self, task: &TaskContext, params: &Object) -> Outcome;
}

/// Returns a description with the name as its type.
pub(super) fn describe(name: &str, description: &str, input_schema: &Value) -> SkillInfo {
    SkillInfo {
        name: name.to_owned(),
        kind: Some(name.to_owned()),
        description: Some(description.to_owned()),
        input_schema: input_schema.as_object().cloned(),
        ..SkillInfo::default()
    }
}

/// The skills of a worker, in order of registration.
#[derive(Clone, Default)]
pub struct Registry {
    order: Vec<String>,
    skills: BTreeMap<String, Arc<dyn Skill>>,
}

impl Registry {
    /// Adds a skill; one of the same name is replaced.
    pub fn add(&mut self, skill: Arc<dyn Skill>) {
        let name = skill.info().name;
        if self.skills.insert(name.clone(), skill).is_none() {
            self.order.push(name);
        }
    }

    /// Returns the skill of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<dyn Skill>> {
        self.skills.get(name).cloned()
    }

    /// Returns the names in order.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.order
    }

    /// Returns the descriptions in order.
    #[must_use]
    pub fn infos(&self) -> Vec<SkillInfo> {
        self.order
            .iter()
            .filter_map(|name| self.skills.get(name))
            .map(|s| s.info())
            .collect()
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.order).finish()
    }
}
