//! A person's decision: asked for, given, or not given in time.

use serde_json::{Value, json};

use super::passage::{Next, Passage, Trouble, View};
use super::{Ignored, Outcome, World, codes, lifecycle, webhook};
use crate::base::crypto;
use crate::blueprint::{Action, Approve};
use crate::domain::job::Waiting;
use crate::domain::{EventKind, Job, Object};

/// The way out when nobody decides. It is no decision: nobody can give it.
const TIMEOUT: &str = "timeout";

impl Passage<'_> {
    /// Asks for a decision and waits for it. The token is single-use: leaving the state forgets it.
    pub fn ask(&mut self, approve: &Approve, view: View<'_>) -> Result<Next, Trouble> {
        let message = self
            .world
            .blueprint
            .compiled
            .text(&approve.message, &self.scope(view))?;
        let token = crypto::base64url(&self.world.seed);
        let decisions: Vec<&String> = approve.on.keys().filter(|key| *key != TIMEOUT).collect();
        let wake_at = approve.timeout.map(|timeout| self.world.now.after(timeout));
        let event = self.record(EventKind::ApprovalRequired);
        event
            .details
            .insert("integration".to_owned(), json!(approve.integration));
        event.details.insert("message".to_owned(), json!(message));
        event
            .details
            .insert("decisions".to_owned(), json!(decisions));
        let id = event.event_id;
        let waiting = Waiting::Human {
            token: token.clone(),
            integration: approve.integration.clone(),
            message: message.clone(),
        };
        let next = self.rest(waiting);
        self.job.wake_at = wake_at;
        let base = self.world.public_url.trim_end_matches('/');
        let approval = json!({
            "token": token,
            "message": message,
            "integration": approve.integration,
            "decisions": decisions,
            "form": approve.form,
            "link": format!("{base}/_public/webhooks/approval/{}", self.job.id),
            "expires_at": wake_at.map(crate::base::Timestamp::as_secs),
        });
        webhook::approval_required(self, id, approval);
        Ok(next)
    }

    /// Goes on without a decision.
    pub fn approval_timed_out(&mut self) {
        let to = approve_of(&self.world, &self.job).and_then(|approve| approve.on.get(TIMEOUT));
        self.job.failed_state = Some(self.job.state.clone());
        self.settle();
        let next = match to {
            Some(to) => self.go(to),
            None => self.fail(codes::APPROVAL_TIMEOUT, "nobody decided in time"),
        };
        self.follow(next, None);
    }
}

fn approve_of<'w>(world: &World<'w>, job: &Job) -> Option<&'w Approve> {
    match &world.blueprint.body(&job.state, &job.path)?.action {
        Action::Approve(approve) => Some(approve),
        _ => None,
    }
}

/// Takes a decision. Only a job that waits for a person takes one (fixes HQ2).
pub(super) fn decided(
    world: &World<'_>,
    job: Job,
    decision: &str,
    metadata: Option<Object>,
    security: Option<Value>,
) -> Outcome {
    if job.status.is_terminal() {
        return Outcome::Ignored(lifecycle::ended_reason(&job));
    }
    let approve = match &job.waiting {
        Some(Waiting::Human { .. }) => approve_of(world, &job),
        _ => None,
    };
    let Some(approve) = approve else {
        return Outcome::Ignored(Ignored::NotWaiting);
    };
    let Some(to) = approve.on.get(decision).filter(|_| decision != TIMEOUT) else {
        return Outcome::Ignored(Ignored::UnknownDecision);
    };
    let answer = Value::Object(metadata.clone().unwrap_or_default());
    if let Some(form) = &approve.form
        && world.blueprint.check_form(form, &answer).is_err()
    {
        return Outcome::Ignored(Ignored::InvalidForm);
    }
    let mut passage = Passage::new(world, job);
    let event = passage.record(EventKind::ApprovalReceived);
    event.details.insert("decision".to_owned(), json!(decision));
    passage.settle();
    passage.job.failed_state = None;
    if let Some(metadata) = metadata {
        // Merged into an empty object when the job has none (fixes HQ3).
        passage
            .job
            .metadata
            .get_or_insert_default()
            .extend(metadata);
    }
    if security.is_some() {
        passage.job.security = security;
    }
    let event = json!({ "decision": decision, "metadata": answer });
    let next = passage.go(to);
    passage.follow(next, Some(&event));
    lifecycle::advanced(passage)
}
