//! Making tasks: what a blueprint asks for becomes a specification, and that a queued attempt.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::passage::{Next, Passage, Trouble, View};
use super::size::json_bytes;
use super::{Effect, codes};
use crate::base::TaskId;
use crate::base::ids::is_identifier;
use crate::blueprint::{Dispatch, Template};
use crate::domain::job::Waiting;
use crate::domain::task::Strategy;
use crate::domain::{EventKind, Object, Task, TaskSpec, TaskStatus};

impl Passage<'_> {
    /// Queues one task and waits for it.
    pub fn dispatch(&mut self, dispatch: &Dispatch, view: View<'_>) -> Result<Next, Trouble> {
        let spec = Arc::new(self.spec(dispatch, view)?);
        let task = self.first_attempt(dispatch, spec, None);
        let event = self.record(EventKind::TaskDispatched);
        event.task_id = Some(task.id.clone());
        event.attempt = Some(1);
        event
            .details
            .insert("skill".to_owned(), json!(task.spec.skill));
        let task_id = task.id.clone();
        self.effects.push(Effect::PutTask(Box::new(task)));
        Ok(self.rest(Waiting::Task { task_id }))
    }

    /// Renders what is to be done.
    pub fn spec(&self, dispatch: &Dispatch, view: View<'_>) -> Result<TaskSpec, Trouble> {
        let job = &self.job;
        let limits = self.world.limits;
        let skill = self.skill(dispatch, view)?;
        let params = self.params(dispatch, view)?;
        Ok(TaskSpec {
            params_metadata: params_metadata(job.data_metadata.as_ref(), &params),
            skill,
            params,
            strategy: self.strategy(&dispatch.strategy, view)?,
            priority: self
                .number("priority", &dispatch.priority, view)?
                .unwrap_or(0.0),
            max_cost: self.number("max_cost", &dispatch.max_cost, view)?,
            requires: dispatch.requires.clone(),
            custom_statuses: dispatch.custom_statuses().map(str::to_owned).collect(),
            execution_timeout_ms: dispatch
                .execution_timeout
                .map_or(limits.execution_timeout_ms, millis),
            retry: dispatch.retry.unwrap_or(limits.retry),
            max_deliveries: dispatch.max_deliveries.unwrap_or(limits.max_deliveries),
            policy: job.policy.clone(),
            security: job.security.clone(),
            metadata: job.metadata.clone(),
            tracing_context: job.tracing_context.clone(),
            step: job.step,
            depth: job.depth,
        })
    }

    /// Makes the first attempt of a task, queued now.
    pub fn first_attempt(
        &self,
        dispatch: &Dispatch,
        spec: Arc<TaskSpec>,
        branch: Option<u32>,
    ) -> Task {
        let job = &self.job;
        let now = self.world.now;
        let deadline = |own: Option<Duration>, default_ms: Option<u64>| {
            own.map(millis).or(default_ms).map(|ms| now.after_ms(ms))
        };
        Task {
            id: TaskId::derive(job.id, job.visit, branch, 1),
            job_id: job.id,
            visit: job.visit,
            branch,
            ordinal: 1,
            failures: 0,
            losses: 0,
            client: job.client.id.clone(),
            blueprint: job.blueprint.clone(),
            spec,
            status: TaskStatus::Queued,
            queued_at: now,
            available_at: now,
            dispatch_deadline: deadline(dispatch.dispatch_timeout, job.dispatch_timeout_ms),
            result_deadline: deadline(dispatch.result_timeout, job.result_timeout_ms),
            lease: None,
            report: None,
            answer: None,
        }
    }

    fn place(&self, field: &str) -> String {
        format!(
            "{}: states.{}.dispatch.{field}",
            self.job.blueprint, self.job.state
        )
    }

    fn skill(&self, dispatch: &Dispatch, view: View<'_>) -> Result<String, Trouble> {
        let skill = self
            .world
            .blueprint
            .compiled
            .text(&dispatch.skill, &self.scope(view))?;
        if !is_identifier(&skill) {
            return Err(Trouble::unusable(
                &self.place("skill"),
                "a skill's name",
                &json!(skill),
            ));
        }
        if let Some(allowed) = self.job.allowed_skills()
            && !allowed.contains(&skill.as_str())
        {
            let message = format!("the job's policy does not allow skill `{skill}`");
            return Err(Trouble {
                code: codes::SKILL_NOT_ALLOWED,
                message,
            });
        }
        Ok(skill)
    }

    fn params(&self, dispatch: &Dispatch, view: View<'_>) -> Result<Object, Trouble> {
        let params = self
            .world
            .blueprint
            .compiled
            .render(&dispatch.params, &self.scope(view))?;
        Trouble::unless_readable(&params, || format!("{} are", self.place("params")))?;
        let params = match params {
            Value::Object(params) => params,
            Value::Null => Object::new(),
            other => {
                return Err(Trouble::unusable(
                    &self.place("params"),
                    "an object",
                    &other,
                ));
            }
        };
        let (bytes, limit) = (json_bytes(&params), self.world.limits.payload_bytes_max);
        if bytes > limit {
            let message = format!(
                "{} are {bytes} bytes, the limit is {limit}",
                self.place("params")
            );
            return Err(Trouble {
                code: codes::PAYLOAD_TOO_LARGE,
                message,
            });
        }
        Ok(params)
    }

    /// An unknown strategy is the default one, as the original has it.
    fn strategy(&self, template: &Template, view: View<'_>) -> Result<Strategy, Trouble> {
        let value = self
            .world
            .blueprint
            .compiled
            .render(template, &self.scope(view))?;
        Ok(serde_json::from_value(value).unwrap_or_default())
    }

    fn number(
        &self,
        field: &str,
        template: &Template,
        view: View<'_>,
    ) -> Result<Option<f64>, Trouble> {
        let value = self
            .world
            .blueprint
            .compiled
            .render(template, &self.scope(view))?;
        if value.is_null() {
            return Ok(None);
        }
        let number = value.as_f64().filter(|number| number.is_finite());
        number
            .map(Some)
            .ok_or_else(|| Trouble::unusable(&self.place(field), "a number", &value))
    }
}

/// Returns the files among the parameters: what is known of them under the parameters' own keys.
fn params_metadata(known: Option<&Object>, params: &Object) -> Option<Object> {
    let files: Object = known?
        .iter()
        .filter(|(key, _)| params.contains_key(*key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    (!files.is_empty()).then_some(files)
}

/// Returns the length of time in whole milliseconds; the longest there is when it is longer.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
