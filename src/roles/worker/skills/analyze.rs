//! `analyze_file`: simulated; reliable, or failing for every second task.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::domain::worker::SkillInfo;
use crate::domain::{Object, TaskErrorCode};
use crate::roles::worker::skill::{Outcome, Skill, TaskContext, describe};

const WORK: Duration = Duration::from_secs(1);

/// Looks at a file's name and makes up the rest, the same for the same name.
pub struct AnalyzeFile {
    /// The share of tasks that fail for good, 0 to 1; the task's id decides which.
    pub failing_share: f64,
}

#[async_trait]
impl Skill for AnalyzeFile {
    fn info(&self) -> SkillInfo {
        let input = json!({
            "type": "object",
            "properties": {
                "file_name": {"type": "string", "minLength": 1},
                "deterministic": {"type": "boolean"},
            },
            "required": ["file_name"],
        });
        let analysis = json!({
            "type": "object",
            "properties": {
                "file_name": {"type": "string"},
                "codec": {"type": "string"},
                "size_kb": {"type": "integer", "minimum": 0},
                "location": {"enum": ["s3", "local"]},
            },
            "required": ["file_name", "codec", "size_kb", "location"],
        });
        let output = json!({
            "type": "object",
            "properties": {"analysis": analysis},
            "required": ["analysis"],
        });
        SkillInfo {
            output_schema: output.as_object().cloned(),
            ..describe(
                "analyze_file",
                "Simulates the analysis of a media file.",
                &input,
            )
        }
    }

    async fn run(&self, task: &TaskContext, params: &Object) -> Outcome {
        let Some(name) = params.get("file_name").and_then(Value::as_str) else {
            return Outcome::failure(
                TaskErrorCode::InvalidInputError,
                "`file_name` must be a string",
            );
        };
        task.work(WORK).await;
        let by_chance = !task.is_deterministic(params);
        if by_chance && task.chance("analyze") < self.failing_share {
            return Outcome::failure(
                TaskErrorCode::PermanentError,
                format!("the analyzer crashed on {name}"),
            );
        }
        let analysis = json!({
            "file_name": name,
            "codec": codec(name),
            "size_kb": size_kb(name),
            "location": if name.starts_with("s3://") { "s3" } else { "local" },
        });
        let mut data = Object::new();
        data.insert("analysis".to_owned(), analysis);
        Outcome::success(data)
    }
}

/// Returns the codec that a file's ending stands for.
fn codec(name: &str) -> &str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("h264" | "mp4" | "mov" | "mkv") => "h264",
        Some("aac" | "m4a") => "aac",
        Some("srt") => "subrip",
        Some(ending) if !ending.is_empty() && ending.len() <= 8 => ending,
        _ => "unknown",
    }
}

/// Returns a size between 100 and 4,999 that the name decides.
fn size_kb(name: &str) -> u64 {
    let share = crate::base::crypto::share(&[b"size", name.as_bytes()]);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of 4,900 is small and not negative"
    )]
    let offset = (share * 4_900.0) as u64;
    100 + offset
}
