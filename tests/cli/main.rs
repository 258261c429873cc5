//! The real binary from outside: what it prints, where, and how it ends.

mod compose;
mod known;
mod kubernetes;
mod offline;
mod online;
mod servers;
mod service;
mod slots;
mod stub;

use std::process::{Output, Stdio};

use tokio::process::Command;

/// Starts the binary with an empty environment, in the package's root.
fn binary(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_avtomatika"));
    command
        .args(arguments)
        .env_clear()
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Runs the binary to its end.
async fn run(arguments: &[&str]) -> Ended {
    let output = binary(arguments).output().await.expect("the binary starts");
    Ended::from(output)
}

/// How a run ended.
#[derive(Debug)]
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ended {
    /// Checks the exit code and that each stream holds a text.
    fn check(&self, code: i32, in_stdout: &str, in_stderr: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(
            self.stdout.contains(in_stdout),
            "`{in_stdout}` is not in stdout of {self:?}"
        );
        assert!(
            self.stderr.contains(in_stderr),
            "`{in_stderr}` is not in stderr of {self:?}"
        );
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
