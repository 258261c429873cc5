//! `transcode_video`: simulated, in five steps, with every way in which a task can end.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::domain::worker::SkillInfo;
use crate::domain::{Object, TaskErrorCode};
use crate::roles::worker::skill::{Outcome, Skill, TaskContext, describe};

const STEPS: u32 = 5;
const STEP: Duration = Duration::from_millis(600);
/// The step after which a trigger takes effect, so that progress is seen first.
const TRIGGER_STEP: u32 = 2;
/// How often a job's `transient` trigger fails before it lets the work succeed.
const TRANSIENT_FAILURES: u32 = 2;
/// Jobs whose transient failures are remembered.
const JOBS_MAX: usize = 1_024;

/// Transcodes nothing, at the pace of the original's demonstration.
#[derive(Default)]
pub struct TranscodeVideo {
    /// The wire carries no number of the attempt, so failures are counted here, by job.
    failed: Mutex<VecDeque<(String, u32)>>,
}

impl TranscodeVideo {
    /// Counts a transient failure of the job; tells whether it should fail once more.
    fn fails_again(&self, job_id: &str) -> bool {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, count)) = failed.iter_mut().find(|(job, _)| job == job_id) {
            *count += 1;
            return *count <= TRANSIENT_FAILURES;
        }
        if failed.len() == JOBS_MAX {
            failed.pop_front();
        }
        failed.push_back((job_id.to_owned(), 1));
        true
    }

    /// Returns how the trigger ends the task, if it does.
    fn triggered(&self, trigger: &str, task: &TaskContext, params: &Object) -> Option<Outcome> {
        let failure = |code, message: &str| Some(Outcome::failure(code, message));
        match trigger {
            "transient" if self.fails_again(&task.job_id) => failure(
                TaskErrorCode::TransientError,
                "the encoder lost its device for a moment",
            ),
            "security" => failure(
                TaskErrorCode::SecurityError,
                "the input fails its virus check",
            ),
            "resource" => failure(
                TaskErrorCode::ResourceExhaustedError,
                "the device is out of memory",
            ),
            "permanent" => failure(
                TaskErrorCode::PermanentError,
                "the input's codec is unknown",
            ),
            "needs_review" => Some(Self::review(params)),
            _ => None,
        }
    }

    fn review(params: &Object) -> Outcome {
        let mut data = result(params);
        data.insert(
            "review_reason".to_owned(),
            json!("picture quality below the threshold"),
        );
        Outcome::status("needs_review", data)
    }
}

/// Returns what a finished run reports.
fn result(params: &Object) -> Object {
    let input = params
        .get("input_path")
        .and_then(Value::as_str)
        .unwrap_or("input");
    let name = input.rsplit('/').next().unwrap_or(input);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let mut data = Object::new();
    data.insert(
        "output_path".to_owned(),
        json!(format!("/transcoded/{stem}.mp4")),
    );
    data.insert("duration".to_owned(), json!(120));
    data
}

#[async_trait]
impl Skill for TranscodeVideo {
    fn info(&self) -> SkillInfo {
        let input = json!({
            "type": "object",
            "properties": {
                "input_path": {"type": "string", "minLength": 1},
                // Empty is none: a template has to say something.
                "trigger": {"enum": ["", "transient", "permanent", "security", "resource", "needs_review"]},
                "deterministic": {"type": "boolean"},
            },
            "required": ["input_path"],
        });
        let output = json!({
            "type": "object",
            "properties": {
                "output_path": {"type": "string"},
                "duration": {"type": "integer", "minimum": 0},
            },
            "required": ["output_path", "duration"],
        });
        SkillInfo {
            output_schema: output.as_object().cloned(),
            output_statuses: Some(vec![
                "success".to_owned(),
                "failure".to_owned(),
                "needs_review".to_owned(),
            ]),
            ..describe(
                "transcode_video",
                "Simulates transcoding a video in five steps.",
                &input,
            )
        }
    }

    async fn run(&self, task: &TaskContext, params: &Object) -> Outcome {
        let trigger = params
            .get("trigger")
            .and_then(Value::as_str)
            .unwrap_or_default();
        for step in 1..=STEPS {
            task.work(STEP).await;
            let share = f64::from(step) / f64::from(STEPS);
            task.progress(share, &format!("Step {step} of {STEPS} complete."))
                .await;
            if step == TRIGGER_STEP
                && let Some(outcome) = self.triggered(trigger, task, params)
            {
                return outcome;
            }
        }
        if trigger.is_empty() && !task.is_deterministic(params) {
            match task.chance("transcode") {
                share if share < 0.1 => {
                    return Outcome::failure(
                        TaskErrorCode::PermanentError,
                        "the encoder gave up (one task in ten, by chance)",
                    );
                }
                share if share < 0.2 => return Self::review(params),
                _ => {}
            }
        }
        Outcome::success(result(params))
    }
}
