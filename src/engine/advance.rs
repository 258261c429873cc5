//! Running states forward, from one to the next, until the job waits or has ended.

use serde_json::{Value, json};

use super::passage::{Next, Passage, Trouble, View};
use super::{codes, failure, webhook};
use crate::blueprint::{Action, Body, Choice};
use crate::domain::EventKind;
use crate::domain::job::Waiting;
use crate::domain::task::RetryPolicy;

/// Names the `else` of a `choose` in a job's path.
pub(super) const OTHERWISE: u16 = u16::MAX;

impl<'w> Passage<'w> {
    /// Goes where `next` says, and on from there, until the job comes to rest. Every state that is
    /// run on the way sees `event`.
    pub fn follow(&mut self, mut next: Next, event: Option<&Value>) {
        while let Next::State(state) = next {
            next = if self.enter(state) {
                self.run_state(View {
                    event,
                    attempt: 1,
                    locals: &[],
                })
            } else {
                Next::Rest
            };
        }
    }

    /// Leaves the present state for another.
    pub fn go(&mut self, to: &str) -> Next {
        let entered_at = self.job.entered_at;
        let left = self.job.state.clone();
        let duration = self.world.now.since(entered_at);
        let event = self.record(EventKind::StateFinished);
        event.previous_state = Some(left.clone());
        event.next_state = Some(to.to_owned());
        event.duration_ms = u64::try_from(duration.as_millis()).ok();
        self.previous = Some(left);
        Next::State(to.to_owned())
    }

    /// Enters a state, unless the job has entered as many as it may.
    fn enter(&mut self, state: String) -> bool {
        if self.job.step >= self.job.max_transitions {
            let message = format!(
                "entering state `{state}` would exceed {} transitions",
                self.job.max_transitions
            );
            self.fail(codes::MAX_TRANSITIONS_EXCEEDED, message);
            self.job.failed_state = Some(state);
            return false;
        }
        self.job.state = state;
        self.job.step += 1;
        self.job.visit += 1;
        self.job.path.clear();
        self.job.entered_at = self.world.now;
        let previous = self.previous.clone();
        let event = self.record(EventKind::StateStarted);
        event.previous_state = previous;
        event.attempt = Some(1);
        true
    }

    /// Evaluates the present state. Either all of it counts or, when it cannot be run to its end,
    /// nothing does.
    pub fn run_state(&mut self, view: View<'_>) -> Next {
        let mark = self.mark();
        match self.perform(view) {
            Ok(next) => next,
            Err(trouble) => {
                self.roll_back(&mark);
                self.state_failed(&trouble, view)
            }
        }
    }

    fn perform(&mut self, view: View<'_>) -> Result<Next, Trouble> {
        let blueprint = self.world.blueprint;
        let Some(state) = blueprint.state(&self.job.state) else {
            let message = format!("the blueprint has no state `{}`", self.job.state);
            return Err(Trouble {
                code: codes::BLUEPRINT_MISMATCH,
                message,
            });
        };
        let mut body = &state.body;
        loop {
            self.side_lines(body, view)?;
            let Action::Choose {
                branches,
                otherwise,
            } = &body.action
            else {
                return self.act(&body.action, view);
            };
            body = self.choose(branches, otherwise.as_deref(), view)?;
        }
    }

    fn act(&mut self, action: &'w Action, view: View<'_>) -> Result<Next, Trouble> {
        match action {
            Action::GoTo(state) => Ok(self.go(state)),
            Action::Dispatch(dispatch) => self.dispatch(dispatch, view),
            Action::Parallel(parallel) => self.fan_out(parallel, view),
            Action::Run(run) => self.start_child(run, view),
            Action::Approve(approve) => self.ask(approve, view),
            Action::Wait(wait) => self.wait(wait, view),
            Action::End(end) => self.end_state(end, view),
            Action::Choose { .. } => unreachable!("perform() has followed every choose"),
        }
    }

    /// Takes the first branch whose condition holds, and remembers which.
    fn choose(
        &mut self,
        branches: &'w [Choice],
        otherwise: Option<&'w Body>,
        view: View<'_>,
    ) -> Result<&'w Body, Trouble> {
        let compiled = &self.world.blueprint.compiled;
        for (index, branch) in branches.iter().enumerate() {
            if compiled.test(branch.when, &self.scope(view))? {
                self.job
                    .path
                    .push(u16::try_from(index).unwrap_or(OTHERWISE));
                return Ok(&branch.body);
            }
        }
        let Some(body) = otherwise else {
            let message = format!(
                "state `{}`: no condition holds and there is no else",
                self.job.state
            );
            return Err(Trouble {
                code: codes::NO_BRANCH_TAKEN,
                message,
            });
        };
        self.job.path.push(OTHERWISE);
        Ok(body)
    }

    /// Does what a body does besides its action.
    fn side_lines(&mut self, body: &Body, view: View<'_>) -> Result<(), Trouble> {
        let compiled = &self.world.blueprint.compiled;
        for (key, template) in &body.set {
            let value = compiled.render(template, &self.scope(view))?;
            self.add_history(key, value)?;
        }
        for put in &body.put {
            let key = compiled.text(&put.key, &self.scope(view))?;
            let value = compiled.render(&put.value, &self.scope(view))?;
            self.put_data(&put.store, key, value)?;
        }
        if let Some(log) = &body.log {
            let text = compiled.text(log, &self.scope(view))?;
            self.record(EventKind::Log)
                .details
                .insert("message".to_owned(), Value::String(text));
        }
        for emit in &body.emit {
            let payload = compiled.render(&emit.payload, &self.scope(view))?;
            Trouble::unless_readable(&payload, || format!("event `{}` is", emit.event_type))?;
            if let Err(reason) = self.world.blueprint.check_event(&emit.event_type, &payload) {
                let message = format!("event `{}`: {reason}", emit.event_type);
                return Err(Trouble {
                    code: codes::EVENT_CONTRACT_VIOLATION,
                    message,
                });
            }
            let event = self.record(EventKind::Emitted);
            event
                .details
                .insert("type".to_owned(), json!(emit.event_type));
            let id = event.event_id;
            webhook::emitted(self, id, &emit.event_type, payload);
        }
        Ok(())
    }

    /// Deals with a state that could not be run: later again when the state's task says how often,
    /// else the job is quarantined.
    fn state_failed(&mut self, trouble: &Trouble, view: View<'_>) -> Next {
        let attempt = view.attempt;
        let event = self.record(EventKind::StateFailed);
        event.attempt = Some(attempt);
        event.details.insert("code".to_owned(), json!(trouble.code));
        event
            .details
            .insert("message".to_owned(), json!(trouble.message));
        let policy = self.evaluation_retry().filter(|policy| {
            trouble.code == codes::EVALUATION_FAILED && attempt < policy.max_attempts
        });
        let Some(policy) = policy else {
            return self.quarantine(trouble.code, trouble.message.clone());
        };
        self.job.path.clear();
        let seed = format!("{}:{}:{attempt}", self.job.id, self.job.visit);
        self.job.wake_at = Some(self.world.now.after(failure::delay(
            &policy.backoff,
            attempt,
            &seed,
        )));
        self.rest(Waiting::Retry {
            failures: attempt,
            event: view.event.cloned(),
        })
    }

    /// Returns the retry policy of the task whose making failed, if it names one.
    fn evaluation_retry(&self) -> Option<RetryPolicy> {
        match &self
            .world
            .blueprint
            .body(&self.job.state, &self.job.path)?
            .action
        {
            Action::Dispatch(dispatch) => dispatch.retry,
            _ => None,
        }
    }

    /// Evaluates the present state again, with the event that led into it.
    pub fn evaluate_again(&mut self, failures: u32, event: Option<&Value>) {
        self.settle();
        let attempt = failures.saturating_add(1);
        let next = self.run_state(View {
            event,
            attempt,
            locals: &[],
        });
        self.follow(next, event);
    }
}
