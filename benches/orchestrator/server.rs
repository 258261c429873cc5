//! Processes that are measured, and the process that measures them.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

/// The program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_avtomatika");

/// The original with the same blueprints.
const ORIGINAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/original/serve.py");

/// Longest wait until a server takes requests.
const READY_MAX: Duration = Duration::from_secs(30);

/// Pause between two questions whether it does.
const READY_PAUSE: Duration = Duration::from_millis(2);

/// A running orchestrator; dropping it ends it.
pub struct Server {
    child: Child,
    port: u16,
    /// From the start of the process to its first good answer.
    pub ready_after: Duration,
    _folder: TempDir,
}

impl Server {
    /// Starts this program on an empty store.
    pub fn ours() -> Result<Self, String> {
        let folder = folder()?;
        let blueprints = folder.path().join("blueprints");
        avtomatika::roles::bench::write_blueprints(&blueprints).map_err(told)?;
        let mut command = Command::new(PROGRAM);
        command
            .args(["orchestrator", "--log-level", "WARNING"])
            .env_clear()
            .env("BLUEPRINTS_DIR", blueprints)
            .env("DATA_DIR", folder.path().join("data"));
        Self::start(command, folder, |command, port| {
            command.args(["--port", &port.to_string()]);
        })
    }

    /// Starts the original on its memory store.
    pub fn original(python: &Path) -> Result<Self, String> {
        let mut command = Command::new(python);
        command.arg(ORIGINAL).env_clear().env("LOG_LEVEL", "ERROR");
        Self::start(command, folder()?, |command, port| {
            command.arg(port.to_string());
        })
    }

    fn start(
        mut command: Command,
        folder: TempDir,
        with_port: impl FnOnce(&mut Command, u16),
    ) -> Result<Self, String> {
        // Free a moment ago; nobody else on a machine that is measured takes it meanwhile.
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .map_err(told)?
            .port();
        with_port(&mut command, port);
        command
            .current_dir(folder.path())
            .env("RATE_LIMITING_ENABLED", "false")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let since = Instant::now();
        let mut child = command.spawn().map_err(told)?;
        while !is_ready(port) {
            if child.try_wait().map_err(told)?.is_some() || since.elapsed() > READY_MAX {
                return Err(format!("no orchestrator: {}", last_words(&mut child)));
            }
            std::thread::sleep(READY_PAUSE);
        }
        let ready_after = since.elapsed();
        drain(&mut child);
        Ok(Self {
            child,
            port,
            ready_after,
            _folder: folder,
        })
    }

    /// Runs `avtomatika bench` against it and returns the report; what it says of trouble is passed
    /// on, and trouble ends the measuring.
    pub fn bench(&self, arguments: &[&str]) -> Result<Value, String> {
        let ended = Command::new(PROGRAM)
            .args(["bench", "-o", "json"])
            .args(["--url", &format!("http://127.0.0.1:{}", self.port)])
            .args(["--pid", &self.child.id().to_string()])
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(told)?;
        let report: Value = serde_json::from_slice(&ended.stdout)
            .map_err(|_| format!("bench {} brought no report", arguments.join(" ")))?;
        if !ended.status.success() {
            let (totals, errors) = (&report["totals"], &report["errors"]);
            let what = arguments.join(" ");
            return Err(format!("bench {what}: totals {totals}, errors {errors}"));
        }
        Ok(report)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; its folder goes in any case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks over a connection of its own.
fn is_ready(port: u16) -> bool {
    use std::io::{Read as _, Write as _};
    let asked = std::net::TcpStream::connect(("127.0.0.1", port)).and_then(|mut stream| {
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET /_public/status HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok(head)
    });
    asked.is_ok_and(|head| &head == b"HTTP/1.1 200")
}

/// Reads what a process says on, so that it never waits for a reader.
fn drain(child: &mut Child) {
    if let Some(stderr) = child.stderr.take() {
        std::thread::spawn(move || BufReader::new(stderr).lines().for_each(drop));
    }
}

fn last_words(child: &mut Child) -> String {
    // It is of no use any more, and its stream ends with it.
    let _ = child.kill();
    let lines = child.stderr.take().map(|stderr| {
        let lines = BufReader::new(stderr).lines();
        lines.map_while(Result::ok).collect::<Vec<_>>().join("\n")
    });
    lines.unwrap_or_default()
}

fn folder() -> Result<TempDir, String> {
    tempfile::tempdir().map_err(told)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "fits `map_err`, whose error is a value"
)]
fn told(error: std::io::Error) -> String {
    error.to_string()
}
