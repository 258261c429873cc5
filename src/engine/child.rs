//! Children: jobs that a job starts and waits for.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::passage::{Next, Passage, Trouble, View};
use super::{Effect, Limits, Signal, Submission, codes};
use crate::base::JobId;
use crate::blueprint::{Action, Run};
use crate::domain::job::Waiting;
use crate::domain::{EventKind, Job, JobError, Object, ParentLink};

/// What a parent is told of its child. Also what the outbox carries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChildEnd {
    /// The child.
    pub child: JobId,
    /// The parent's visit that started it.
    pub visit: u64,
    /// Whether it ended in a state whose outcome is `finished`.
    pub finished: bool,
    /// Its last state.
    pub final_state: String,
    /// Its result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// Why it did not end well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
}

/// A child to be started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChildStart {
    /// The child's id, derived from the parent's.
    pub child: JobId,
    /// The parent.
    pub parent: JobId,
    /// The parent's visit.
    pub visit: u64,
    /// The child's blueprint, by name; its newest revision at the time of the start.
    pub blueprint: String,
    /// The child's `initial_data`.
    pub input: Value,
}

/// The ways out of a `run`.
const SUCCESS: &str = "success";
const FAILURE: &str = "failure";

/// Returns what the child is made from: the start's input, and what it inherits of its parent.
///
/// Inherited: owner, policy, security, metadata, data_metadata, trace context, `max_transitions`,
/// and, beyond the original, labels and the tasks' default time limits, which are meant for all of
/// the client's work. Not inherited: the webhook. Source: engine-semantics §11.
#[must_use]
pub fn submission(parent: &Job, start: &ChildStart, limits: &Limits) -> Submission {
    Submission {
        id: start.child,
        client: parent.client.clone(),
        initial_data: start.input.clone(),
        webhook_url: None,
        dispatch_timeout_ms: parent.dispatch_timeout_ms,
        result_timeout_ms: parent.result_timeout_ms,
        policy: parent.policy.clone(),
        security: parent.security.clone(),
        metadata: parent.metadata.clone(),
        data_metadata: parent.data_metadata.clone(),
        max_transitions: Some(parent.transitions_of_a_run().min(limits.max_transitions)),
        labels: parent.labels.clone(),
        tracing_context: parent.tracing_context.clone(),
        depth: parent.depth.saturating_add(1),
        parent: Some(ParentLink {
            job_id: start.parent,
            visit: start.visit,
        }),
        idempotency: None,
        quota: None,
    }
}

/// Returns what the parent is told when its child cannot be made: its blueprint is unknown, or
/// refuses the input.
#[must_use]
pub fn refused(start: &ChildStart, reason: &str) -> ChildEnd {
    ChildEnd {
        child: start.child,
        visit: start.visit,
        finished: false,
        final_state: String::new(),
        result: None,
        error: Some(JobError {
            code: codes::CHILD_REFUSED.to_owned(),
            message: format!("child blueprint `{}`: {reason}", start.blueprint),
            state: None,
        }),
    }
}

impl Passage<'_> {
    /// Starts a child and waits for it.
    pub fn start_child(&mut self, run: &Run, view: View<'_>) -> Result<Next, Trouble> {
        let limits = self.world.limits;
        let depth = self.job.depth.saturating_add(1);
        if depth > limits.max_depth {
            return self.too_deep(run, depth);
        }
        let input = self
            .world
            .blueprint
            .compiled
            .render(&run.input, &self.scope(view))?;
        Trouble::unless_readable(&input, || "the child's input is".to_owned())?;
        let bytes = super::size::json_bytes(&input);
        if bytes > limits.payload_bytes_max {
            let limit = limits.payload_bytes_max;
            let message = format!("the child's input is {bytes} bytes, the limit is {limit}");
            return Err(Trouble {
                code: codes::PAYLOAD_TOO_LARGE,
                message,
            });
        }
        let now = self.world.now;
        let child = self.job.id.child(self.job.visit, now);
        let start = ChildStart {
            child,
            parent: self.job.id,
            visit: self.job.visit,
            blueprint: run.blueprint.clone(),
            input,
        };
        let event = self.record(EventKind::ChildStarted);
        event.details.insert("child".to_owned(), json!(child));
        event
            .details
            .insert("blueprint".to_owned(), json!(run.blueprint));
        self.effects.push(Effect::Signal(Signal::StartChild(start)));
        self.job.child_job_id = Some(child);
        self.job.wake_at = run.timeout.map(|timeout| now.after(timeout));
        Ok(self.rest(Waiting::Child { job_id: child }))
    }

    fn too_deep(&mut self, run: &Run, depth: u32) -> Result<Next, Trouble> {
        let limit = self.world.limits.max_depth;
        let message = format!("a child at depth {depth} is deeper than the limit of {limit}");
        let Some(to) = run.on.get(FAILURE) else {
            return Ok(self.quarantine(codes::DEPTH_EXCEEDED, message));
        };
        let error = json!({ "code": codes::DEPTH_EXCEEDED, "message": message });
        self.note_child(json!({
            "job_id": null, "outcome": FAILURE, "result": null, "error": error, "final_state": null,
        }))?;
        self.job.failed_state = Some(self.job.state.clone());
        Ok(self.go(to))
    }

    /// Keeps what became of the child under `children`, by the state that started it.
    fn note_child(&mut self, entry: Value) -> Result<(), Trouble> {
        let mut children = match self.job.state_history.get("children") {
            Some(Value::Object(children)) => children.clone(),
            _ => Object::new(),
        };
        children.insert(self.job.state.clone(), entry);
        self.add_history("children", Value::Object(children))
    }

    /// Goes on after the child's end.
    pub fn child_ended(&mut self, end: &ChildEnd) {
        let outcome = if end.finished { SUCCESS } else { FAILURE };
        let event = self.record(EventKind::ChildFinished);
        event.details.insert("child".to_owned(), json!(end.child));
        event.details.insert("outcome".to_owned(), json!(outcome));
        event
            .details
            .insert("final_state".to_owned(), json!(end.final_state));
        if let Some(error) = &end.error {
            event.details.insert("code".to_owned(), json!(error.code));
            event
                .details
                .insert("message".to_owned(), json!(error.message));
        }
        self.settle();
        let to = match &self.waiting_run() {
            Some(run) => run.on.get(outcome).cloned(),
            None => None,
        };
        let entry = json!({
            "job_id": end.child,
            "outcome": outcome,
            "result": end.result,
            "error": end.error,
            "final_state": Some(&end.final_state).filter(|state| !state.is_empty()),
        });
        let mark = self.mark();
        if let Err(trouble) = self.note_child(entry.clone()) {
            self.roll_back(&mark);
            self.quarantine(trouble.code, trouble.message);
            return;
        }
        self.job.failed_state = (!end.finished).then(|| self.job.state.clone());
        let next = match to {
            Some(to) => self.go(&to),
            None => self.no_way_out(end),
        };
        self.follow(next, Some(&entry));
    }

    fn no_way_out(&mut self, end: &ChildEnd) -> Next {
        if end.finished {
            let message = format!("state `{}` has no way out for `success`", self.job.state);
            return self.fail(codes::UNHANDLED_STATUS, message);
        }
        let reason = end
            .error
            .as_ref()
            .map_or("it did not finish", |error| error.message.as_str());
        self.fail(
            codes::CHILD_FAILED,
            format!("child job {} failed: {reason}", end.child),
        )
    }

    /// Gives the child up: its time is over.
    pub fn child_timed_out(&mut self, child: JobId) {
        let reason = format!("the parent waits no longer in state `{}`", self.job.state);
        let signal = Signal::CancelChild { child, reason };
        self.effects.push(Effect::Signal(signal));
        self.child_ended(&ChildEnd {
            child,
            visit: self.job.visit,
            finished: false,
            final_state: String::new(),
            result: None,
            error: Some(JobError {
                code: codes::CHILD_TIMEOUT.to_owned(),
                message: "the child did not end in time".to_owned(),
                state: None,
            }),
        });
    }

    fn waiting_run(&self) -> Option<&Run> {
        match &self
            .world
            .blueprint
            .body(&self.job.state, &self.job.path)?
            .action
        {
            Action::Run(run) => Some(run),
            _ => None,
        }
    }
}
