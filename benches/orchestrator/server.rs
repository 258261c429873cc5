//! Processes that are measured, and the process that measures them.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::Settings;
use crate::backing::Backing;
use crate::tell::line;

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
    /// What it is on; ends after it.
    pub backing: Rc<Backing>,
    folder: TempDir,
}

impl Server {
    /// Starts this program on an empty store.
    pub fn ours(settings: &Settings) -> Result<Self, String> {
        let backing = Backing::start(settings.store, settings.has_history);
        Self::ours_on(&Rc::new(backing))
    }

    /// Starts this program on servers that others may be on too; jobs are embedded without any.
    pub fn ours_on(backing: &Rc<Backing>) -> Result<Self, String> {
        Self::ours_with(backing, Vec::new())
    }

    /// Likewise, with more settings.
    pub fn ours_with(
        backing: &Rc<Backing>,
        settings: Vec<(&'static str, String)>,
    ) -> Result<Self, String> {
        let folder = folder()?;
        let blueprints = folder.path().join("blueprints");
        avtomatika::roles::bench::write_blueprints(&blueprints).map_err(told)?;
        let mut command = Command::new(PROGRAM);
        command
            .args(["orchestrator", "--log-level", "WARNING"])
            .env_clear()
            .env("BLUEPRINTS_DIR", blueprints)
            .env("DATA_DIR", folder.path().join("data"))
            .env("ORCHESTRATOR_SECRET_KEY", "the same everywhere")
            .envs(backing.settings())
            .envs(settings);
        Self::start(command, (folder, Rc::clone(backing)), |command, port| {
            command.args(["--port", &port.to_string()]);
        })
    }

    /// Starts the original on its memory store, or on Redis.
    pub fn original(python: &Path, settings: &Settings) -> Result<Self, String> {
        let backing = Rc::new(Backing::start(settings.store, false));
        let mut command = Command::new(python);
        command.arg(ORIGINAL).env_clear().env("LOG_LEVEL", "ERROR");
        let redis = backing.redis_url();
        Self::start(command, (folder()?, backing), |command, port| {
            command.arg(port.to_string()).args(redis);
        })
    }

    /// Returns its process's id.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Returns its port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Gives it a blueprint, which it finds by itself.
    pub fn write_blueprint(&self, name: &str, text: &str) -> Result<(), String> {
        let path = self.folder.path().join("blueprints").join(name);
        std::fs::write(path, text).map_err(told)
    }

    /// Returns its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn start(
        mut command: Command,
        (folder, backing): (TempDir, Rc<Backing>),
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
            backing,
            folder,
        })
    }

    /// Runs `avtomatika bench` against it and returns the report; what it says of trouble is passed
    /// on, and trouble ends the measuring.
    pub fn bench(&self, arguments: &[&str]) -> Result<Value, String> {
        let (report, trouble) = self.run(arguments)?;
        trouble.map_or(Ok(report), Err)
    }

    /// As [`Server::bench`], but trouble is only told: the original loses jobs on Redis.
    pub fn bench_anyhow(&self, arguments: &[&str]) -> Result<Value, String> {
        let (report, trouble) = self.run(arguments)?;
        if let Some(trouble) = trouble {
            line(&format!("the original: {trouble}"));
        }
        Ok(report)
    }

    /// Runs `avtomatika bench` against it and does something else meanwhile, whose result it returns.
    pub fn bench_beside<T>(
        &self,
        arguments: &[&str],
        work: impl FnOnce() -> Result<T, String>,
    ) -> Result<T, String> {
        let mut done = None;
        let (_, trouble) = self.run_beside(arguments, || done = Some(work()))?;
        match (done, trouble) {
            (Some(Ok(done)), None) => Ok(done),
            (Some(Err(why)), _) | (_, Some(why)) => Err(why),
            (None, None) => unreachable!("it was done before the end"),
        }
    }

    fn run(&self, arguments: &[&str]) -> Result<(Value, Option<String>), String> {
        self.run_beside(arguments, || ())
    }

    fn run_beside(
        &self,
        arguments: &[&str],
        work: impl FnOnce(),
    ) -> Result<(Value, Option<String>), String> {
        let running = Command::new(PROGRAM)
            .args(["bench", "-o", "json"])
            .args(["--url", &self.url()])
            .args(["--pid", &self.child.id().to_string()])
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(told)?;
        work();
        let ended = running.wait_with_output().map_err(told)?;
        let report: Value = serde_json::from_slice(&ended.stdout)
            .map_err(|_| format!("bench {} brought no report", arguments.join(" ")))?;
        let trouble = (!ended.status.success()).then(|| {
            let (totals, errors) = (&report["totals"], &report["errors"]);
            let what = arguments.join(" ");
            format!("bench {what}: totals {totals}, errors {errors}")
        });
        Ok((report, trouble))
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
