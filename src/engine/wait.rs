//! Waiting for time to pass or for a named event, and being woken.

use std::time::Duration;

use serde_json::Value;

use super::passage::{Next, Passage, Trouble, View};
use super::{Ignored, Outcome, World, codes, lifecycle};
use crate::base::Timestamp;
use crate::blueprint::{Action, Wait, WaitFor};
use crate::domain::Job;
use crate::domain::job::Waiting;

/// The ways out of a `wait`.
const DONE: &str = "done";
const EVENT: &str = "event";
const TIMEOUT: &str = "timeout";

impl Passage<'_> {
    /// Waits. A time that has passed already is not waited for.
    pub fn wait(&mut self, wait: &Wait, view: View<'_>) -> Result<Next, Trouble> {
        let now = self.world.now;
        let (waiting, wake_at) = match &wait.wait_for {
            WaitFor::Duration(duration) => (Waiting::Timer, Some(now.after(*duration))),
            WaitFor::Until(template) => {
                let value = self
                    .world
                    .blueprint
                    .compiled
                    .render(template, &self.scope(view))?;
                let at = time(&value).ok_or_else(|| {
                    let place = format!(
                        "{}: states.{}.wait.until",
                        self.job.blueprint, self.job.state
                    );
                    Trouble::unusable(&place, "RFC 3339 text or ms since the Unix epoch", &value)
                })?;
                (Waiting::Timer, Some(at))
            }
            WaitFor::Event { name, timeout } => {
                let wake_at = timeout.map(|timeout: Duration| now.after(timeout));
                (Waiting::Event { name: name.clone() }, wake_at)
            }
        };
        if waiting == Waiting::Timer && wake_at.is_some_and(|at| at <= now) {
            return Ok(self.leave_wait(wait, DONE));
        }
        self.job.wake_at = wake_at;
        Ok(self.rest(waiting))
    }

    fn leave_wait(&mut self, wait: &Wait, way: &str) -> Next {
        match wait.on.get(way) {
            Some(to) => self.go(to),
            None if way == TIMEOUT => {
                self.fail(codes::WAIT_TIMEOUT, "the event did not come in time")
            }
            None => {
                let message = format!("state `{}` has no way out for `{way}`", self.job.state);
                self.fail(codes::UNHANDLED_STATUS, message)
            }
        }
    }

    /// Goes on after a wait.
    fn wait_over(&mut self, way: &str, event: Option<&Value>) {
        self.settle();
        self.job.failed_state = (way == TIMEOUT).then(|| self.job.state.clone());
        let next = if let Some(wait) = wait_of(&self.world, &self.job) {
            self.leave_wait(wait, way)
        } else {
            let message = format!("state `{}` is no wait", self.job.state);
            self.quarantine(codes::BLUEPRINT_MISMATCH, message)
        };
        self.follow(next, event);
    }
}

fn wait_of<'w>(world: &World<'w>, job: &Job) -> Option<&'w Wait> {
    match &world.blueprint.body(&job.state, &job.path)?.action {
        Action::Wait(wait) => Some(wait),
        _ => None,
    }
}

/// Reads a time: RFC 3339 text, or milliseconds since the Unix epoch.
fn time(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => Timestamp::parse_rfc3339(text),
        Value::Number(number) => number.as_i64().map(Timestamp),
        _ => None,
    }
}

/// Takes the passing of the job's `wake_at`.
pub(super) fn woken(world: &World<'_>, job: Job) -> Outcome {
    if job.status.is_terminal() {
        return Outcome::Ignored(lifecycle::ended_reason(&job));
    }
    if job.wake_at.is_none_or(|at| at > world.now) {
        return Outcome::Ignored(Ignored::NotDue);
    }
    let mut passage = Passage::new(world, job);
    match passage.job.waiting.clone() {
        Some(Waiting::Timer) => passage.wait_over(DONE, None),
        Some(Waiting::Event { .. }) => passage.wait_over(TIMEOUT, None),
        Some(Waiting::Human { .. }) => passage.approval_timed_out(),
        Some(Waiting::Child { job_id }) => passage.child_timed_out(job_id),
        Some(Waiting::Retry { failures, event }) => {
            passage.evaluate_again(failures, event.as_ref());
        }
        // Tasks have deadlines of their own.
        Some(Waiting::Task { .. } | Waiting::Branches(_)) | None => {
            return Outcome::Ignored(Ignored::NotDue);
        }
    }
    lifecycle::advanced(passage)
}

/// Takes a named event from outside.
pub(super) fn event_received(world: &World<'_>, job: Job, name: &str, payload: &Value) -> Outcome {
    if job.status.is_terminal() {
        return Outcome::Ignored(lifecycle::ended_reason(&job));
    }
    if !matches!(&job.waiting, Some(Waiting::Event { name: awaited }) if awaited == name) {
        return Outcome::Ignored(Ignored::NotWaiting);
    }
    let mut passage = Passage::new(world, job);
    passage.wait_over(EVENT, Some(payload));
    lifecycle::advanced(passage)
}
