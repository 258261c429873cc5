//! On the way into the job store: heavy values are stored as blobs and replaced by references.

use std::sync::Arc;

use serde_json::Value;

use super::payloads::{Payloads, looks_like_reference};
use crate::base::JobId;
use crate::domain::{Job, Object};
use crate::engine::Effect;
use crate::store::StoreError;

impl Payloads {
    /// Returns the job as its record is to be, when that is another.
    pub(super) async fn lighten_job(&self, job: &Job) -> Result<Option<Job>, StoreError> {
        let id = job.id;
        let initial_data = self.lighten(id, &job.initial_data).await?;
        let history = self.lighten_members(id, &job.state_history).await?;
        let result = self.lighten_some(id, job.result.as_ref()).await?;
        let aggregation = self
            .lighten_some(id, job.aggregation_results.as_ref())
            .await?;
        let is_light = initial_data.is_none()
            && history.is_none()
            && result.is_none()
            && aggregation.is_none();
        if is_light {
            return Ok(None);
        }
        let mut light = job.clone();
        if let Some(value) = initial_data {
            light.initial_data = Arc::new(value);
        }
        if let Some(members) = history {
            light.state_history = members;
        }
        light.result = result.or(light.result);
        light.aggregation_results = aggregation.or(light.aggregation_results);
        Ok(Some(light))
    }

    /// Returns the effects as they are to be stored, when one is another.
    pub(super) async fn lighten_effects(
        &self,
        job: JobId,
        effects: &[Effect],
    ) -> Result<Option<Vec<Effect>>, StoreError> {
        let mut light: Option<Vec<Effect>> = None;
        for (index, effect) in effects.iter().enumerate() {
            if let Some(changed) = self.lighten_effect(job, effect).await? {
                light.get_or_insert_with(|| effects.to_vec())[index] = changed;
            }
        }
        Ok(light)
    }

    async fn lighten_effect(
        &self,
        job: JobId,
        effect: &Effect,
    ) -> Result<Option<Effect>, StoreError> {
        match effect {
            Effect::PutTask(task) => {
                let Some(params) = self.lighten_members(job, &task.spec.params).await? else {
                    return Ok(None);
                };
                let mut task = task.clone();
                Arc::make_mut(&mut task.spec).params = params;
                Ok(Some(Effect::PutTask(task)))
            }
            Effect::EndTask {
                id,
                answer,
                report: Some(report),
            } => {
                let Some(data) = &report.data else {
                    return Ok(None);
                };
                let Some(data) = self.lighten_members(job, data).await? else {
                    return Ok(None);
                };
                let mut report = report.clone();
                report.data = Some(data);
                Ok(Some(Effect::EndTask {
                    id: id.clone(),
                    answer: *answer,
                    report: Some(report),
                }))
            }
            _ => Ok(None),
        }
    }

    async fn lighten_some(
        &self,
        job: JobId,
        value: Option<&Value>,
    ) -> Result<Option<Value>, StoreError> {
        match value {
            Some(value) => self.lighten(job, value).await,
            None => Ok(None),
        }
    }

    /// Replaces the heavy members of an object, or any other heavy value whole.
    async fn lighten(&self, job: JobId, value: &Value) -> Result<Option<Value>, StoreError> {
        match value {
            Value::Object(members) if !looks_like_reference(value) => {
                Ok(self.lighten_members(job, members).await?.map(Value::Object))
            }
            value if self.is_heavy(value) => self.stored(job, value).await.map(Some),
            _ => Ok(None),
        }
    }

    async fn lighten_members(
        &self,
        job: JobId,
        members: &Object,
    ) -> Result<Option<Object>, StoreError> {
        let heavy: Vec<&String> = members
            .iter()
            .filter(|(_, value)| self.is_heavy(value))
            .map(|(name, _)| name)
            .collect();
        if heavy.is_empty() {
            return Ok(None);
        }
        let mut light = Object::new();
        for (name, value) in members {
            let value = if heavy.contains(&name) {
                self.stored(job, value).await?
            } else {
                value.clone()
            };
            light.insert(name.clone(), value);
        }
        Ok(Some(light))
    }
}
