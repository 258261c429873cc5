//! What all servers have in common: a free port, a process that ends with the test, patience.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// Between two looks at whether a server is there.
const PAUSE: Duration = Duration::from_millis(10);
/// Looks before something counts as not coming: a minute, far more than is needed.
const LOOKS: u32 = 6_000;

/// Returns a port that is free now. Another process may take it before the server does: whoever
/// starts a server tries again with another.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// A server's process. Dropping it kills it and waits for its end.
pub(super) struct Launched {
    child: Child,
    log: PathBuf,
}

impl Launched {
    /// Starts a program, as another user if one is named; what it says goes to a file. The system
    /// kills it when the calling thread ends, so that a killed test leaves nothing behind.
    pub(super) fn start(
        program: &Path,
        arguments: &[String],
        user: Option<&str>,
        log: &Path,
    ) -> Self {
        let mut command = Command::new("setpriv");
        command.arg("--pdeathsig=KILL");
        if let Some(user) = user {
            command.args([&format!("--reuid={user}"), &format!("--regid={user}")]);
            command.arg("--init-groups");
        }
        let out = File::options().create(true).append(true).open(log);
        let out = out.expect("a log file");
        let child = command
            .arg("--")
            .arg(program)
            .args(arguments)
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("a second handle"))
            .stderr(out)
            .spawn()
            .expect("setpriv is there: tests/servers/install.sh installs it");
        Self {
            child,
            log: log.to_owned(),
        }
    }

    /// Waits until `is_ready` says so; tells false when the process has ended before.
    pub(super) fn comes_up(&mut self, mut is_ready: impl FnMut() -> bool) -> bool {
        for _ in 0..LOOKS {
            if self.child.try_wait().expect("its status").is_some() {
                return false;
            }
            if is_ready() {
                return true;
            }
            sleep(PAUSE);
        }
        panic!("it does not come up:\n{}", self.said());
    }

    /// Returns what the process has said so far.
    pub(super) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends a signal by name.
    pub(super) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &id])
            .status();
        assert!(sent.expect("kill runs").success(), "{}", self.said());
    }

    /// Sends a signal by name to the processes that it has started.
    pub(super) fn signal_children(&self, name: &str) {
        let id = self.child.id();
        let children = format!("/proc/{id}/task/{id}/children");
        let children = std::fs::read_to_string(children).expect("the kernel lists them");
        for child in children.split_whitespace() {
            // One that has ended meanwhile needs none.
            let _ = Command::new("kill")
                .args([&format!("-{name}"), child])
                .status();
        }
    }

    /// Waits for its end.
    pub(super) fn ended(&mut self) {
        for _ in 0..LOOKS {
            if self.child.try_wait().expect("its status").is_some() {
                return;
            }
            sleep(PAUSE);
        }
        panic!("it does not end:\n{}", self.said());
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        // Both fail only when it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something is as it should be; panics after a minute with what that is.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..LOOKS {
        if is_so() {
            return;
        }
        sleep(PAUSE);
    }
    panic!("not so after a minute: {what}");
}

/// Runs a program to its end and returns what it printed; panics with all that it said when it fails.
pub(super) fn run(command: &mut Command) -> String {
    let name = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{name}: {error}"));
    let (said, complained) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(output.status.success(), "{name}: {said}\n{complained}");
    said
}
