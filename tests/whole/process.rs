//! Processes of the real binary: started, listened to line by line, told to stop, never left behind.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Longest wait for anything: far more than is needed, so that a slow machine fails no test.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A process of the binary. Dropping it kills it.
pub(crate) struct Process {
    name: String,
    pub(crate) child: Child,
    stdout: watch::Receiver<Vec<String>>,
    stderr: watch::Receiver<Vec<String>>,
    /// Who reads the two streams.
    readers: JoinSet<()>,
}

/// How a process ended and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Checks the exit code.
    pub(crate) fn with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// Reads standard output as one JSON document.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Makes a command of the binary with an empty environment, in a folder of its own.
pub(crate) fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_avtomatika"));
    command
        .args(arguments)
        .env_clear()
        .env("TMPDIR", folder)
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Runs a command to its end.
pub(crate) async fn run(command: Command) -> Ended {
    Process::start(command).ended().await
}

impl Process {
    /// Starts a command.
    pub(crate) fn start(mut command: Command) -> Self {
        let name = format!("{:?}", command.as_std());
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut readers = JoinSet::new();
        let stdout = gather(&mut readers, child.stdout.take().expect("piped"));
        let stderr = gather(&mut readers, child.stderr.take().expect("piped"));
        Self {
            name,
            child,
            stdout,
            stderr,
            readers,
        }
    }

    /// Waits for a line on standard error and returns it.
    pub(crate) async fn says(&self, text: &str) -> String {
        self.line(self.stderr.clone(), text).await
    }

    /// Waits for a line on standard output and returns it.
    pub(crate) async fn prints(&self, text: &str) -> String {
        self.line(self.stdout.clone(), text).await
    }

    async fn line(&self, mut lines: watch::Receiver<Vec<String>>, text: &str) -> String {
        let mut found = None;
        let has_come = lines.wait_for(|lines| {
            found = lines.iter().find(|line| line.contains(text)).cloned();
            found.is_some()
        });
        let came = tokio::time::timeout(PATIENCE, has_come).await;
        let came = matches!(came, Ok(Ok(_)));
        let (stdout, stderr) = (self.stdout.borrow(), self.stderr.borrow());
        assert!(
            came,
            "{} did not say `{text}`:\n{}\n{}",
            self.name,
            stdout.join("\n"),
            stderr.join("\n")
        );
        drop((stdout, stderr));
        found.expect("it has come")
    }

    /// Sends a signal by name.
    pub(crate) async fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &id])
            .status()
            .await
            .expect("kill runs");
        assert!(sent.success(), "{}", self.name);
    }

    /// Tells it to stop as an operator would, and waits for its end.
    pub(crate) async fn stop(self) -> Ended {
        self.signal("TERM").await;
        self.ended().await
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> Ended {
        let waited = tokio::time::timeout(PATIENCE * 2, self.child.wait()).await;
        let status = waited
            .unwrap_or_else(|_| panic!("{} has not ended", self.name))
            .expect("it has an end");
        while self.readers.join_next().await.is_some() {}
        Ended {
            code: status.code(),
            stdout: self.stdout.borrow().join("\n"),
            stderr: self.stderr.borrow().join("\n"),
        }
    }
}

/// Gathers a stream's lines.
fn gather(
    readers: &mut JoinSet<()>,
    stream: impl AsyncRead + Unpin + Send + 'static,
) -> watch::Receiver<Vec<String>> {
    let (sender, receiver) = watch::channel(Vec::new());
    readers.spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            sender.send_modify(|lines| lines.push(line));
        }
    });
    receiver
}
