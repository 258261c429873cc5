//! `process_blobs`: writes what it is given to files of its own and measures them. A worker with an
//! S3 server fetches inputs from there and stores the files; without one they are cleared up, and
//! `s3://` inputs are refused.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;

use crate::base::crypto;
use crate::domain::worker::SkillInfo;
use crate::domain::{Object, TaskErrorCode};
use crate::roles::worker::skill::{Outcome, Skill, TaskContext, describe};
use crate::roles::worker::transfer::name_of;

/// The most inputs of one task.
const INPUTS_MAX: usize = 1_000;
/// Bytes of a file that are in memory at once.
const PIECE_BYTES: usize = 1 << 18;

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
        let inputs = match inputs(params, task.folder.as_deref()) {
            Ok(inputs) => inputs,
            Err(refusal) => return *refusal,
        };
        let name = name_of(&task.task_id);
        let processed = if let Some(folder) = &task.folder {
            process(folder, &inputs, task).await
        } else {
            let scratch = Scratch(self.folder.join(name));
            process(&scratch.0, &inputs, task).await
        };
        match processed {
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

/// One input.
enum Content {
    /// As it came with the task.
    Text(String),
    /// Fetched from a blob store.
    File(PathBuf),
}

/// Reads the inputs: `inputs` as an object of texts, or one text as `content`.
fn inputs(params: &Object, folder: Option<&Path>) -> Result<Vec<(String, Content)>, Box<Outcome>> {
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
    let content = |text: String| match folder {
        Some(folder) if Path::new(&text).starts_with(folder) => Content::File(text.into()),
        _ => Content::Text(text),
    };
    let found = found.into_iter();
    Ok(found.map(|(name, text)| (name, content(text))).collect())
}

async fn process(
    folder: &Path,
    inputs: &[(String, Content)],
    task: &TaskContext,
) -> std::io::Result<Vec<Value>> {
    tokio::fs::create_dir_all(folder).await?;
    let mut blobs = Vec::with_capacity(inputs.len());
    for (index, (name, content)) in inputs.iter().enumerate() {
        // All tasks of a job share one place on the server.
        let path = folder.join(format!("{}-{index}.bin", name_of(&task.task_id)));
        match content {
            Content::Text(text) => tokio::fs::write(&path, text).await?,
            Content::File(from) => drop(tokio::fs::copy(from, &path).await?),
        }
        let (bytes, sha256) = measured(&path).await?;
        let mut blob = json!({"name": name, "size": bytes, "sha256": sha256});
        if task.folder.is_some() {
            // Its address on the server takes this place.
            blob["file"] = json!(path);
        }
        blobs.push(blob);
        #[expect(clippy::cast_precision_loss, reason = "at most a thousand inputs")]
        let share = (index + 1) as f64 / inputs.len() as f64;
        task.progress(share, &format!("{name} processed")).await;
    }
    Ok(blobs)
}

/// Reads a file piece by piece; returns its size and digest.
async fn measured(path: &Path) -> std::io::Result<(u64, String)> {
    let mut file = tokio::fs::File::open(path).await?;
    let (mut bytes, mut hasher) = (0, Sha256::new());
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece).await? {
            0 => return Ok((bytes, crypto::hex(&hasher.finalize()))),
            count => {
                bytes += count as u64;
                hasher.update(&piece[..count]);
            }
        }
    }
}
