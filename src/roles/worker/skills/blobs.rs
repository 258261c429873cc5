//! `process_blobs`: writes the texts that it is given to files of its own, measures them and
//! clears up. Works on inline data only; without a blob store, `s3://` inputs are refused.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::base::crypto;
use crate::domain::worker::SkillInfo;
use crate::domain::{Object, TaskErrorCode};
use crate::roles::worker::skill::{Outcome, Skill, TaskContext, describe};

/// The most inputs of one task.
const INPUTS_MAX: usize = 1_000;

/// Hashes inline inputs through files in a folder of the task's own.
pub struct ProcessBlobs {
    /// Below it, each task gets a folder named after itself.
    pub folder: PathBuf,
}

/// Removes the folder whatever way the run ends.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left for the operator; the task's result is not touched by it.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[async_trait]
impl Skill for ProcessBlobs {
    fn info(&self) -> SkillInfo {
        let input = json!({
            "type": "object",
            "properties": {
                "inputs": {
                    "type": "object",
                    "additionalProperties": {"type": "string"},
                    "maxProperties": INPUTS_MAX,
                },
                "content": {"type": "string"},
            },
            "anyOf": [{"required": ["inputs"]}, {"required": ["content"]}],
        });
        describe(
            "process_blobs",
            "Stores the texts of `inputs` (or `content`) as files and returns size and SHA-256 of each.",
            &input,
        )
    }

    async fn run(&self, task: &TaskContext, params: &Object) -> Outcome {
        let inputs = match inputs(params) {
            Ok(inputs) => inputs,
            Err(refusal) => return *refusal,
        };
        // The id comes from outside; its hash is a safe file name.
        let folder = self
            .folder
            .join(&crypto::sha256_hex(task.task_id.as_bytes())[..32]);
        let scratch = Scratch(folder);
        match process(&scratch.0, &inputs, task).await {
            Ok(blobs) => {
                let mut data = Object::new();
                data.insert("count".to_owned(), json!(blobs.len()));
                data.insert("blobs".to_owned(), Value::Array(blobs));
                Outcome::success(data)
            }
            Err(error) => Outcome::failure(
                TaskErrorCode::ResourceExhaustedError,
                format!("cannot use the scratch folder: {error}"),
            ),
        }
    }
}

/// Reads the inputs: `inputs` as an object of texts, or one text as `content`.
fn inputs(params: &Object) -> Result<Vec<(String, String)>, Box<Outcome>> {
    let invalid =
        |message: &str| Box::new(Outcome::failure(TaskErrorCode::InvalidInputError, message));
    let mut found = Vec::new();
    match (params.get("inputs"), params.get("content")) {
        (Some(Value::Object(inputs)), _) => {
            for (name, content) in inputs {
                let text = content
                    .as_str()
                    .ok_or_else(|| invalid(&format!("`inputs.{name}` must be a string")))?;
                found.push((name.clone(), text.to_owned()));
            }
        }
        (None, Some(Value::String(text))) => found.push(("content".to_owned(), text.clone())),
        _ => {
            return Err(invalid(
                "expected `inputs` (an object of strings) or `content` (a string)",
            ));
        }
    }
    if found.len() > INPUTS_MAX {
        return Err(invalid(&format!("more than {INPUTS_MAX} inputs")));
    }
    if let Some((name, _)) = found.iter().find(|(_, text)| text.starts_with("s3://")) {
        return Err(Box::new(Outcome::failure(
            TaskErrorCode::DependencyMissingError,
            format!("`{name}` is in a blob store, but this worker has none"),
        )));
    }
    Ok(found)
}

async fn process(
    folder: &Path,
    inputs: &[(String, String)],
    task: &TaskContext,
) -> std::io::Result<Vec<Value>> {
    tokio::fs::create_dir_all(folder).await?;
    let mut blobs = Vec::with_capacity(inputs.len());
    for (index, (name, text)) in inputs.iter().enumerate() {
        let path = folder.join(format!("{index}.bin"));
        tokio::fs::write(&path, text).await?;
        let stored = tokio::fs::read(&path).await?;
        blobs.push(json!({
            "name": name,
            "size": stored.len(),
            "sha256": crypto::sha256_hex(&stored),
        }));
        #[expect(clippy::cast_precision_loss, reason = "at most a thousand inputs")]
        let share = (index + 1) as f64 / inputs.len() as f64;
        task.progress(share, &format!("{name} processed")).await;
    }
    Ok(blobs)
}
