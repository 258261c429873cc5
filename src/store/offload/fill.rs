//! On the way out of the job store: references are replaced by what they lead to.

use std::sync::Arc;

use serde_json::Value;

use super::payloads::{Payloads, is_reference};
use crate::base::JobId;
use crate::domain::{Job, Object, Task};
use crate::store::{BlobStore, StoreError};

/// Returns a job of an archive, which has references where values were heavy, with those values that are
/// still there. A reference whose value is gone, or is not what it was, stays.
///
/// Errors: `Unavailable` when the files cannot be read just now.
pub async fn fill_archived(blobs: Arc<dyn BlobStore>, job: Job) -> Result<Job, StoreError> {
    Payloads::of_archived(blobs).fill_job(job).await
}

impl Payloads {
    /// Returns the job with all its values.
    pub(super) async fn fill_job(&self, mut job: Job) -> Result<Job, StoreError> {
        let id = job.id;
        if refers(id, &job.initial_data) {
            let mut value = job.initial_data.as_ref().clone();
            self.fill_value(id, &mut value).await?;
            job.initial_data = Arc::new(value);
        }
        self.fill_members(id, &mut job.state_history).await?;
        for value in job.result.iter_mut().chain(&mut job.aggregation_results) {
            self.fill_value(id, value).await?;
        }
        Ok(job)
    }

    /// Returns the task with all its values.
    pub(super) async fn fill_task(&self, mut task: Task) -> Result<Task, StoreError> {
        let id = task.job_id;
        if task
            .spec
            .params
            .values()
            .any(|value| is_reference(id, value))
        {
            let spec = Arc::make_mut(&mut task.spec);
            self.fill_members(id, &mut spec.params).await?;
        }
        let report = task.report.as_mut();
        if let Some(data) = report.and_then(|report| report.data.as_mut()) {
            self.fill_members(id, data).await?;
        }
        Ok(task)
    }

    async fn fill_value(&self, job: JobId, value: &mut Value) -> Result<(), StoreError> {
        if is_reference(job, value) {
            // Nothing in it is looked at: what looks like a reference there is somebody's own.
            return self.fill(job, value).await;
        }
        match value {
            Value::Object(members) => self.fill_members(job, members).await,
            _ => Ok(()),
        }
    }

    async fn fill_members(&self, job: JobId, members: &mut Object) -> Result<(), StoreError> {
        for value in members.values_mut() {
            self.fill(job, value).await?;
        }
        Ok(())
    }
}

fn refers(job: JobId, value: &Value) -> bool {
    let members = value.as_object().into_iter().flat_map(Object::values);
    is_reference(job, value) || members.into_iter().any(|member| is_reference(job, member))
}
