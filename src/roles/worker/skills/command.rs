//! A skill that runs an executable: parameters as JSON on standard input, the result as JSON on
//! standard output, the exit code as status (0 success, 75 transient failure, other permanent).
//!
//! The process gets a group of its own, which is killed when the run ends in any way.

use std::process::Stdio;

use async_trait::async_trait;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use crate::domain::task::TaskError;
use crate::domain::worker::SkillInfo;
use crate::domain::{Object, TaskErrorCode};
use crate::protocol::parse_json;
use crate::roles::worker::skill::{Outcome, Skill, TaskContext, describe};

/// Exit code of a failure that may pass: `EX_TEMPFAIL` of `sysexits.h`.
const TRANSIENT_EXIT: i32 = 75;
/// The largest result. Units: bytes.
const STDOUT_BYTES_MAX: usize = 1024 * 1024;
/// The part of standard error that is kept, from its end. Units: bytes.
const STDERR_BYTES_MAX: usize = 4 * 1024;

/// The part of a complaint that goes into the error's message. Units: characters.
const LINE_CHARS_MAX: usize = 200;

/// Variables that hold this worker's own secrets, or those of an orchestrator on the same machine.
const SECRET_VARIABLES: [&str; 11] = [
    "WORKER_TOKEN",
    "WORKER_INDIVIDUAL_TOKEN",
    "ORCHESTRATORS_CONFIG",
    "ORCHESTRATOR_SECRET_KEY",
    "SECRET_KEY",
    "CLIENT_TOKEN",
    "GLOBAL_WORKER_TOKEN",
    "S3_ACCESS_KEY",
    "S3_SECRET_KEY",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
];

/// Runs a command line through the shell.
pub struct CommandSkill {
    /// The skill's name.
    pub name: String,
    /// The command line.
    pub command: String,
    /// What parameters it takes; any object when missing.
    pub input_schema: Option<Object>,
}

/// A process group; killed when dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // An error means that nobody is left in the group.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

#[async_trait]
impl Skill for CommandSkill {
    fn info(&self) -> SkillInfo {
        // Never the command line: the description is shown to every client, and a command line may
        // hold what is none of their business.
        let any = || json!({"type": "object"});
        let input = self.input_schema.clone().map_or_else(any, Value::Object);
        describe(&self.name, "Runs an executable of the worker's.", &input)
    }

    async fn run(&self, task: &TaskContext, params: &Object) -> Outcome {
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(&self.command)
            .env("AVTOMATIKA_JOB_ID", &task.job_id)
            .env("AVTOMATIKA_TASK_ID", &task.task_id)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        // As OpenTelemetry carries context to processes.
        for (name, text) in &task.trace {
            command.env(name.to_uppercase(), text);
        }
        if let Some(folder) = &task.folder {
            command.env("AVTOMATIKA_TASK_DIR", folder);
        }
        for name in SECRET_VARIABLES {
            command.env_remove(name);
        }
        match command.spawn() {
            Ok(child) => finish(child, params).await,
            Err(error) => Outcome::failure(
                TaskErrorCode::DependencyMissingError,
                format!("cannot start the command: {error}"),
            ),
        }
    }
}

/// Feeds the process, waits for its end and reads what it says.
async fn finish(mut child: Child, params: &Object) -> Outcome {
    let leader = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    let group = Group(leader);
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            let text = serde_json::to_vec(params).expect("a JSON object serialises");
            // A command that does not read its input closes it early, which is its right.
            let _ = stdin.write_all(&text).await;
        }
    };
    let end = async {
        let status = child.wait().await;
        // Children that it left behind would keep its output open for ever.
        drop(group);
        status
    };
    let ((), status, result, complaints) =
        tokio::join!(feed, end, read_head(stdout), read_tail(stderr));
    let status = match status {
        Ok(status) => status,
        Err(error) => {
            return Outcome::failure(
                TaskErrorCode::TransientError,
                format!("lost the command: {error}"),
            );
        }
    };
    match status.code() {
        Some(0) => success(result),
        Some(code) => exited(code, complaints),
        None => failure(
            TaskErrorCode::TransientError,
            format!("the command was killed ({status})"),
            complaints,
        ),
    }
}

fn success(result: Option<Vec<u8>>) -> Outcome {
    let Some(bytes) = result else {
        return Outcome::failure(
            TaskErrorCode::LimitExceededError,
            format!("the command wrote more than {STDOUT_BYTES_MAX} bytes"),
        );
    };
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Outcome::success(Object::new());
    }
    match parse_json(&bytes) {
        Ok(Value::Object(data)) => Outcome::success(data),
        // The wire wants an object.
        Ok(other) => {
            let mut data = Object::new();
            data.insert("result".to_owned(), other);
            Outcome::success(data)
        }
        Err(error) => Outcome::failure(
            TaskErrorCode::ContractViolationError,
            format!("the command's output is {error}"),
        ),
    }
}

fn exited(code: i32, complaints: String) -> Outcome {
    let class = if code == TRANSIENT_EXIT {
        TaskErrorCode::TransientError
    } else {
        TaskErrorCode::PermanentError
    };
    // The last line says in most cases why; all of it is in the details.
    let last = complaints.lines().rfind(|line| !line.trim().is_empty());
    let message = match last {
        Some(line) => format!(
            "the command exited with code {code}: {}",
            line.trim().chars().take(LINE_CHARS_MAX).collect::<String>()
        ),
        None => format!("the command exited with code {code}"),
    };
    failure(class, message, complaints)
}

fn failure(code: TaskErrorCode, message: String, complaints: String) -> Outcome {
    let mut outcome = Outcome::failure(code, message);
    if !complaints.is_empty()
        && let Some(TaskError { details, .. }) = &mut outcome.error
    {
        let mut object = Object::new();
        object.insert("stderr".to_owned(), Value::String(complaints));
        *details = Some(object);
    }
    outcome
}

/// Reads a stream to its end; nothing when it is longer than a result may be. The rest is read and
/// dropped, so that the command does not block on a full pipe.
async fn read_head(stream: Option<impl AsyncRead + Unpin>) -> Option<Vec<u8>> {
    let mut kept = Vec::new();
    let mut stream = stream?;
    let mut buffer = [0_u8; 8192];
    let mut too_long = false;
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        too_long |= kept.len() + count > STDOUT_BYTES_MAX;
        if !too_long {
            kept.extend_from_slice(&buffer[..count]);
        }
    }
    (!too_long).then_some(kept)
}

/// Reads a stream to its end and keeps its tail as text.
async fn read_tail(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut kept = Vec::new();
    let Some(mut stream) = stream else {
        return String::new();
    };
    let mut buffer = [0_u8; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..count]);
        let surplus = kept.len().saturating_sub(STDERR_BYTES_MAX);
        kept.drain(..surplus);
    }
    String::from_utf8_lossy(&kept).trim_end().to_owned()
}
