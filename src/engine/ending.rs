//! The one way in which a job ends, whatever the cause (fixes EQ4, EQ22): tasks and children are
//! stopped, the history gets its terminal event, the client its webhook, the parent its answer.

use serde_json::json;

use super::passage::{Next, Passage, Trouble, View};
use super::size::json_bytes;
use super::{ChildEnd, Effect, Signal, codes, webhook};
use crate::blueprint::{End, Outcome};
use crate::domain::job::Waiting;
use crate::domain::{EventKind, JobError, JobStatus};

impl Passage<'_> {
    /// Ends the job as failed, in the state where it stands.
    pub fn fail(&mut self, code: &str, message: impl Into<String>) -> Next {
        self.job.failed_state = Some(self.job.state.clone());
        self.end(JobStatus::Failed, Some(self.error(code, message)))
    }

    /// Ends the job as quarantined, in the state where it stands.
    pub fn quarantine(&mut self, code: &str, message: impl Into<String>) -> Next {
        self.job.failed_state = Some(self.job.state.clone());
        self.end(JobStatus::Quarantined, Some(self.error(code, message)))
    }

    /// Ends the job as cancelled.
    pub fn cancel(&mut self, code: &str, message: impl Into<String>) -> Next {
        self.job.failed_state = None;
        self.end(JobStatus::Cancelled, Some(self.error(code, message)))
    }

    /// Ends the job as its `end` state says.
    pub fn end_state(&mut self, end: &End, view: View<'_>) -> Result<Next, Trouble> {
        let compiled = &self.world.blueprint.compiled;
        let scope = self.scope(view);
        let result = match &end.result {
            Some(template) => Some(compiled.render(template, &scope)?),
            None => self.gathered_result(),
        };
        let reason = end
            .error
            .as_ref()
            .map(|text| compiled.text(text, &scope))
            .transpose()?;
        if let Some(result) = &result {
            Trouble::unless_readable(result, || "the result is".to_owned())?;
        }
        let limit = self.world.limits.payload_bytes_max;
        let bytes = result.as_ref().map_or(0, json_bytes);
        if bytes > limit {
            let message = format!("the result is {bytes} bytes, the limit is {limit}");
            return Err(Trouble {
                code: codes::PAYLOAD_TOO_LARGE,
                message,
            });
        }
        self.job.result = result;
        Ok(match end.outcome {
            Outcome::Finished => self.finish(),
            Outcome::Failed => {
                let reason =
                    reason.unwrap_or_else(|| format!("ended in state `{}`", self.job.state));
                // A retry from here would only say the same again: it goes on from the state whose
                // work failed, or else from the one that led here.
                if self.job.failed_state.is_none() {
                    self.job.failed_state = Some(
                        self.previous
                            .clone()
                            .unwrap_or_else(|| self.job.state.clone()),
                    );
                }
                self.end(
                    JobStatus::Failed,
                    Some(self.error(codes::ENDED_FAILED, reason)),
                )
            }
        })
    }

    /// Ends the job well, if its result is what the blueprint promises.
    fn finish(&mut self) -> Next {
        let result = self.job.result.as_ref().unwrap_or(&serde_json::Value::Null);
        if let Err(reason) = self.world.blueprint.check_output(result) {
            let message = format!("the result does not match the blueprint's output: {reason}");
            let failed_state = self.previous.clone();
            self.fail(codes::OUTPUT_CONTRACT_VIOLATION, message);
            if failed_state.is_some() {
                self.job.failed_state = failed_state;
            }
            return Next::Rest;
        }
        self.job.failed_state = None;
        self.end(JobStatus::Finished, None)
    }

    /// Returns what the original takes for the result when the blueprint names none: what the state
    /// history has under the end state's own name, else what was added to it last.
    /// Source: engine-semantics §6.
    fn gathered_result(&self) -> Option<serde_json::Value> {
        let history = &self.job.state_history;
        history
            .get(&self.job.state)
            .or_else(|| history.values().next_back())
            .cloned()
    }

    fn error(&self, code: &str, message: impl Into<String>) -> JobError {
        JobError {
            code: code.to_owned(),
            message: message.into(),
            state: Some(self.job.state.clone()),
        }
    }

    /// Stops whatever the job waits for.
    fn stop_waiting(&mut self) {
        let visit = self.job.visit;
        match self.job.waiting.take() {
            Some(Waiting::Task { .. } | Waiting::Branches(_)) => {
                self.effects.push(Effect::EndTasks { visit });
            }
            Some(Waiting::Child { job_id }) => {
                let reason = format!("the parent has ended in state `{}`", self.job.state);
                let signal = Signal::CancelChild {
                    child: job_id,
                    reason,
                };
                self.effects.push(Effect::Signal(signal));
            }
            _ => {}
        }
    }

    fn end(&mut self, status: JobStatus, error: Option<JobError>) -> Next {
        self.stop_waiting();
        let now = self.world.now;
        let retention_ms = self
            .world
            .blueprint
            .retention
            .map_or(self.world.limits.retention_ms, |keep| {
                u64::try_from(keep.as_millis()).unwrap_or(u64::MAX)
            });
        self.job.status = status;
        self.job.error = error;
        self.job.wake_at = None;
        self.job.path.clear();
        self.job.progress = None;
        self.job.progress_message = None;
        self.job.ended_at = Some(now);
        self.job.keep_until = Some(now.after_ms(retention_ms));
        let kind = match status {
            JobStatus::Finished => EventKind::JobFinished,
            JobStatus::Quarantined => EventKind::JobQuarantined,
            JobStatus::Cancelled => EventKind::JobCancelled,
            _ => EventKind::JobFailed,
        };
        let details = self.job.error.as_ref().map(|error| {
            [
                ("code", json!(error.code)),
                ("message", json!(error.message)),
            ]
        });
        let duration = now.since(self.job.created_at);
        let event = self.record(kind);
        event.duration_ms = u64::try_from(duration.as_millis()).ok();
        for (key, value) in details.into_iter().flatten() {
            event.details.insert(key.to_owned(), value);
        }
        let id = event.event_id;
        webhook::job_ended(self, id);
        self.tell_parent();
        Next::Rest
    }

    /// Tells the parent, once (I11): the end after a manual retry is not its affair any more.
    fn tell_parent(&mut self) {
        let Some(parent) = self.job.parent.as_ref().filter(|_| self.job.retries == 0) else {
            return;
        };
        let end = ChildEnd {
            child: self.job.id,
            visit: parent.visit,
            finished: self.job.status == JobStatus::Finished,
            final_state: self.job.state.clone(),
            result: self.job.result.clone(),
            error: self.job.error.clone(),
        };
        let signal = Signal::ChildEnded {
            parent: parent.job_id,
            end,
        };
        self.effects.push(Effect::Signal(signal));
    }
}
